"""The bucket program against an S3 in this process (moto) and a stub of MinIO's admin API that speaks its encryption.

The stub knows users, policies and who holds which; an event hook of botocore refuses what those do not allow, as MinIO would.
The same program runs against a real MinIO in tests/live/test_bucket_provisioning.py.
"""

import hashlib
import io
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from attrs import define, field
from botocore.exceptions import ClientError
from minio import crypto
from minio.crypto import decrypt
from moto import mock_aws
from urllib3 import BaseHTTPResponse

from infrastructure.object_storage.policies import BACKUPS, LOGS, MEDIA, MEDIA_READER, BucketUser, ProvisionedBucket, Provisioning, Storage
from kit.quantities import gib
from services.buckets import provision as program
from services.buckets.request import Keys, read_request
from services.buckets.storage import Administration

ROOT = ("root", "the-root-secret")
REGION = "us-east-1"
BUCKETS = (ProvisionedBucket("media"), ProvisionedBucket("backups", keep_deleted_days=7), ProvisionedBucket("logs", expire_days=30))
USERS = (
    BucketUser("synapse-media", "media", MEDIA),
    BucketUser("synapse-li", "media", MEDIA_READER),
    BucketUser("postgres-backup", "backups", BACKUPS),
    BucketUser("loki", "logs", LOGS),
)
NEEDS = {
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "CreateMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}


@define
class MinioState:
    """What a MinIO knows beside its buckets, and the changes that were asked of it."""

    users: dict[str, dict[str, str]] = field(factory=dict)
    policies: dict[str, Any] = field(factory=dict)
    changes: list[str] = field(factory=list)
    refusals: list[int] = field(factory=list)
    """Answers that come first, each once, e.g. 503."""
    quotas: dict[str, int] = field(factory=dict)
    unlimited: set[str] = field(factory=set)
    """Users who may do anything, whatever their policies."""

    def allows(self, access_key: str, action: str, bucket: str) -> bool:
        if access_key in self.unlimited:
            return True
        names = filter(None, self.users[access_key].get("policyName", "").split(","))
        statements = [statement for name in names for statement in self.policies[name]["Statement"]]
        resources = {f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"}
        return any(action in statement["Action"] and resources & set(statement["Resource"]) for statement in statements)

    def answer(self, command: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        """One request to `/minio/admin/v3/<command>`, as cmd/admin-handlers-users.go answers it."""
        user = self.users.get(query.get("accessKey", query.get("userOrGroup", "")))
        match command:
            case "info-canned-policy":
                policy = self.policies.get(query["name"])
                return (200, policy) if policy else (404, {"Code": "XMinioAdminNoSuchPolicy"})
            case "add-canned-policy":
                document = json.loads(body)
                for statement in document["Statement"]:
                    statement["Action"].sort(reverse=True)  # MinIO gives them back in any order
                self.policies[query["name"]] = document
            case "user-info":
                return (200, {key: user[key] for key in user if key != "secretKey"}) if user else (404, {"Code": "XMinioAdminNoSuchUser"})
            case "add-user":
                secret = json.loads(decrypt(cast(BaseHTTPResponse, Body(body)), ROOT[1]))["secretKey"]
                if len(secret) < 8:
                    return 400, {"Code": "XMinioAdminInvalidSecretKey"}
                self.users.setdefault(query["accessKey"], {}).update(secretKey=secret, status="enabled")
            case "set-user-or-group-policy":
                assert user is not None
                user["policyName"] = query["policyName"]
            case "get-bucket-quota":
                return 200, {"quota": self.quotas.get(query["bucket"], 0), "size": 0, "rate": 0, "requests": 0}
            case "set-bucket-quota":
                self.quotas[query["bucket"]] = json.loads(body)["quota"]
            case _:
                return 501, {"Code": "NotImplemented"}
        self.changes.append(command)
        return 200, {}


class Body(io.BytesIO):
    """A request body in the shape that the library decrypts."""

    def release_conn(self) -> None: ...


@pytest.fixture
def minio() -> Iterator[tuple[str, MinioState]]:
    """The stub's URL and state."""
    state = MinioState()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if state.refusals:
                status, answer = state.refusals.pop(0), {"Code": "XMinioServerNotInitialized"}
            elif url.path == "/minio/health/cluster":
                status, answer = 200, {}
            else:
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                status, answer = state.answer(url.path.removeprefix("/minio/admin/v3/"), query, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", state
        server.shutdown()


@pytest.fixture
def s3(minio: tuple[str, MinioState], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the S3 behind the stub's URL, which refuses the program's clients what MinIO would refuse."""
    endpoint, state = minio
    monkeypatch.setenv("MOTO_S3_CUSTOM_ENDPOINTS", endpoint)

    def authorize(model: Any, params: Mapping[str, Any], request_signer: Any, **_: Any) -> None:
        keys, operation, bucket = request_signer._credentials, model.name, urlsplit(params["url"]).path.split("/")[1]
        if (keys.access_key, keys.secret_key) == ROOT:
            return
        user = state.users.get(keys.access_key)
        if user is None or user["status"] != "enabled":
            raise refusal(403, "InvalidAccessKeyId", operation)
        if user["secretKey"] != keys.secret_key:
            raise refusal(403, "SignatureDoesNotMatch", operation)
        if operation != "ListBuckets" and not state.allows(keys.access_key, NEEDS[operation], bucket):
            raise refusal(403, "AccessDenied", operation)

    with mock_aws():
        session = boto3.session.Session()
        session.events.register("before-call.s3", authorize)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        yield boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=ROOT[0], aws_secret_access_key=ROOT[1])


def refusal(status: int, code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


@define
class Job:
    """The program with its request and its mounted keys, as a pod has them."""

    folder: Path
    provisioning: Provisioning
    secrets: dict[str, str] = field(factory=lambda: {ROOT[0]: ROOT[1]} | {user.name: f"secret-of-{user.name}" for user in USERS})

    def run(self, *options: str) -> int:
        """Mount everything and run to the end; the exit code."""
        document = json.loads(self.provisioning.request())
        for user in document["users"]:
            user["keys"] = self._mount(user["name"], user["name"])
        if document["administrator"]:
            document["administrator"] = self._mount("administrator", ROOT[0])
        request = self.folder / "request.json"
        request.write_text(json.dumps(document))
        return program.main([str(request), "--time-limit", "3", *options])

    def _mount(self, name: str, access_key: str) -> str:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "access-key").write_text(access_key + "\n")
        (folder / "secret-key").write_text(self.secrets[access_key])
        return str(folder)


@pytest.fixture
def job(minio: tuple[str, MinioState], s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:  # noqa: ARG001 - the storage
    # Not by Argon2, which takes a second each time; the first test has the real one.
    monkeypatch.setattr(crypto, "_generate_key", lambda secret, salt: hashlib.sha256(secret + salt).digest())
    monkeypatch.setattr(program, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(program, "_SETTLE_SECONDS", 0.05)
    return Job(tmp_path, Provisioning(Storage(minio[0], REGION), BUCKETS, USERS))


@pytest.fixture
def state(minio: tuple[str, MinioState]) -> MinioState:
    return minio[1]


def test_a_secret_key_travels_encrypted_as_minio_wants_it(minio: tuple[str, MinioState], tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(Provisioning(Storage(minio[0], REGION), (), ()).request())
    administration = Administration.of(read_request(tmp_path / "request.json"), Keys(*ROOT))
    administration.set_user(Keys("loki", "the-secret-of-loki"))
    assert minio[1].users["loki"]["secretKey"] == "the-secret-of-loki"


def test_everything_that_is_missing_is_made_and_every_right_is_tried(
    job: Job, state: MinioState, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.run() == 0
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"backups", "logs", "media"}
    assert {name: user["policyName"] for name, user in state.users.items()} == {user.name: user.name for user in USERS}
    assert s3.get_bucket_versioning(Bucket="backups")["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket="media")
    table = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[0] in {user.name for user in USERS}]
    assert ["synapse-li", "media", "-", "yes", "-", "-"] in table
    assert ["postgres-backup", "backups", "yes", "yes", "yes", "yes"] in table
    assert len(table) == len(USERS) * len(BUCKETS)
    assert sum(row[2:] != ["-"] * 4 for row in table) == len(USERS), "each user has rights on one bucket"


def test_a_second_run_changes_nothing(job: Job, state: MinioState, s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    job.run()
    state.changes.clear()
    before = s3.get_bucket_lifecycle_configuration(Bucket="backups")["Rules"]
    capsys.readouterr()
    assert job.run() == 0
    assert state.changes == []
    assert s3.get_bucket_lifecycle_configuration(Bucket="backups")["Rules"] == before
    assert "nothing to change" in capsys.readouterr().out


def test_a_changed_secret_key_is_set_and_the_others_stay(job: Job, state: MinioState) -> None:
    job.run()
    state.changes.clear()
    job.secrets["loki"] = "another-secret"
    assert job.run() == 0
    assert state.users["loki"]["secretKey"] == "another-secret"
    assert state.changes == ["add-user"]


def test_a_policy_that_somebody_widened_is_set_right(job: Job, state: MinioState) -> None:
    job.run()
    state.policies["synapse-li"]["Statement"][0]["Action"].append("s3:PutObject")
    state.users["loki"]["policyName"] = "loki,consoleAdmin"
    state.changes.clear()
    assert job.run() == 0
    assert state.policies["synapse-li"]["Statement"][0]["Action"] == ["s3:GetObject"]
    assert state.users["loki"]["policyName"] == "loki"
    assert sorted(state.changes) == ["add-canned-policy", "set-user-or-group-policy"]


def test_what_the_request_does_not_name_is_left_alone(job: Job, state: MinioState, s3: Any) -> None:
    s3.create_bucket(Bucket="photos")
    s3.create_bucket(Bucket="backups")
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket="backups", LifecycleConfiguration={"Rules": [theirs]})
    s3.put_object(Bucket="backups", Key="base.tar", Body=b"kept")
    state.users["somebody"] = {"secretKey": "whatever", "status": "enabled", "policyName": "readwrite"}
    state.policies["readwrite"] = {"Version": "2012-10-17", "Statement": []}
    assert job.run() == 0
    assert state.users["somebody"] == {"secretKey": "whatever", "status": "enabled", "policyName": "readwrite"}
    assert "readwrite" in state.policies
    assert "photos" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.get_object(Bucket="backups", Key="base.tar")["Body"].read() == b"kept"
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket="backups")["Rules"]}
    assert rules["theirs"]["Expiration"] == {"Days": 1}
    assert rules["platform-deleted"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7


def test_a_changed_age_replaces_our_rule_and_no_age_removes_it(job: Job, s3: Any) -> None:
    job.run()
    storage = job.provisioning.storage
    job.provisioning = Provisioning(storage, (*BUCKETS[:2], ProvisionedBucket("logs", expire_days=90)), USERS)
    assert job.run() == 0
    rules = s3.get_bucket_lifecycle_configuration(Bucket="logs")["Rules"]
    assert [(rule["ID"], rule["Expiration"]["Days"]) for rule in rules] == [("platform-expire", 90)]
    job.provisioning = Provisioning(storage, (*BUCKETS[:2], ProvisionedBucket("logs")), USERS)
    assert job.run() == 0
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="logs")


def test_a_quota_is_set_changed_and_taken_off(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    for quota, said in ((gib(1), "quota of 1073741824 bytes"), (gib(2), "quota of 2147483648 bytes"), (None, "quota taken off")):
        job.provisioning = Provisioning(job.provisioning.storage, (ProvisionedBucket("media", quota=quota), *BUCKETS[1:]), USERS)
        assert job.run() == 0
        assert state.quotas["media"] == (quota.count if quota else 0)
        assert f"bucket media: {said}" in capsys.readouterr().out
    assert state.quotas.keys() == {"media"}, "the others were never touched"


def test_versioning_is_never_switched_off(job: Job, s3: Any) -> None:
    job.run()
    job.provisioning = Provisioning(job.provisioning.storage, (BUCKETS[0], ProvisionedBucket("backups"), BUCKETS[2]), USERS)
    assert job.run() == 0
    assert s3.get_bucket_versioning(Bucket="backups")["Status"] == "Enabled"


def test_a_tenant_that_is_still_starting_is_waited_for(job: Job, state: MinioState) -> None:
    state.refusals = [503, 503, 200, 503, 500, 429]
    assert job.run() == 0


def test_a_tenant_that_never_comes_is_given_up_with_a_reason(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    state.refusals = [503] * 10_000
    assert job.run("--time-limit", "0.2") == 1
    assert "FAILED: waited in vain: " in capsys.readouterr().out
    assert state.changes == []


def test_nobody_at_the_address_is_given_up_with_a_reason(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.provisioning = Provisioning(Storage("http://127.0.0.1:1", REGION), BUCKETS, USERS)
    assert job.run("--time-limit", "0.1") == 1
    assert "FAILED: waited in vain: " in capsys.readouterr().out


def test_what_is_refused_for_one_user_holds_up_no_other(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    job.secrets["synapse-media"] = "short"
    assert job.run() == 1
    assert (
        "FAILED: user synapse-media: XMinioAdminInvalidSecretKey (MinIO wants a secret key of 8 characters or more)"
        in capsys.readouterr().out
    )
    assert set(state.users) == {"synapse-li", "postgres-backup", "loki"}


def test_a_disabled_user_stays_disabled_and_is_reported(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    job.run()
    state.users["loki"]["status"] = "disabled"
    assert job.run() == 1
    assert state.users["loki"]["status"] == "disabled"
    assert "FAILED: user loki: disabled by an administrator" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["access-key", "secret-key"])
def test_a_key_file_that_is_missing_or_empty_is_named(job: Job, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken = job.folder / "request.json"
    job.run("--time-limit", "0.1")
    (job.folder / "loki" / file).write_text("")
    assert program.main([str(broken)]) == 1
    assert f"loki/{file} is empty" in capsys.readouterr().out
    (job.folder / "loki" / file).unlink()
    assert program.main([str(broken)]) == 1
    assert f"loki/{file} cannot be read: FileNotFoundError" in capsys.readouterr().out


def test_a_check_makes_nothing(job: Job, state: MinioState, s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    state.users |= {user.name: {"secretKey": job.secrets[user.name], "status": "enabled"} for user in USERS}
    assert job.run("--check") == 1
    assert state.changes == []
    assert s3.list_buckets()["Buckets"] == []
    assert "FAILED: user loki, bucket logs: may not list and read and write and delete" in capsys.readouterr().out


def test_a_check_of_foreign_storage_warns_of_rights_too_many_and_fails_for_one_too_few(
    job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]
) -> None:
    job.run()
    everything = {"Effect": "Allow", "Action": list(NEEDS.values()), "Resource": ["arn:aws:s3:::logs", "arn:aws:s3:::media"]}
    state.policies["loki"] = {"Version": "2012-10-17", "Statement": [everything]}
    job.provisioning = Provisioning(Storage(job.provisioning.storage.endpoint, REGION, administered=False), BUCKETS, USERS)
    capsys.readouterr()
    assert job.run("--check") == 0
    assert "WARNING: user loki, bucket media: may list and read and write and delete, which it need not" in capsys.readouterr().out
    state.policies["synapse-li"]["Statement"] = []
    assert job.run("--check") == 1
    assert "FAILED: user synapse-li, bucket media: may not read; AWS answers so" in capsys.readouterr().out


def test_storage_that_others_run_is_only_checked(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    job.provisioning = Provisioning(Storage(job.provisioning.storage.endpoint, REGION, administered=False), BUCKETS, USERS)
    assert job.run() == 1
    assert "only --check can be done" in capsys.readouterr().out
    assert state.changes == []


def test_rights_that_the_policy_does_not_say_fail_the_run(job: Job, state: MinioState, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as those of a group, which the program does not look at."""
    job.run()
    state.unlimited.add("loki")
    assert job.run() == 1
    assert (
        "FAILED: user loki, bucket media: may list and read and write and delete, which its policy does not say" in capsys.readouterr().out
    )


def test_no_secret_key_is_ever_printed(job: Job, state: MinioState, capfd: pytest.CaptureFixture[str]) -> None:
    job.run()
    job.secrets["loki"] = "short"
    job.run()
    job.secrets["root"] = "wrong-root-secret"
    job.run()
    state.refusals = [503] * 10_000
    job.run("--time-limit", "0.1")
    said = "".join(capfd.readouterr())
    assert said.count("FAILED") >= 3
    assert not [secret for secret in [*job.secrets.values(), *(f"secret-of-{user.name}" for user in USERS), ROOT[1]] if secret in said]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"endpoint": "http://x"}', '{"endpoint": 1, "region": 2, "path_style": true, "ca_file": null}']
)
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "request.json"
    file.write_text(text)
    assert program.main([str(file)]) == 1
    assert "FAILED: " in capsys.readouterr().out
