"""The bucket program against a real MinIO: what it makes, what it leaves, and what each user can then do."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from attrs import define, evolve, field
from botocore.config import Config
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from infrastructure.object_storage.policies import BACKUPS, LOGS, MEDIA, MEDIA_READER, BucketUser, ProvisionedBucket, Provisioning, Storage
from kit.quantities import mib
from tests.live.minio_server import ROOT_PASSWORD, ROOT_USER, Minio, minio_process, minio_program, running_minio
from tests.live.processes import free_ports, wait_for
from tests.live.programs import installed

# Building MinIO, where it is not there yet, takes minutes.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(1200)]

REGION = "us-east-1"
REPOSITORY = Path(__file__).parents[2]
BUCKETS = (ProvisionedBucket("media"), ProvisionedBucket("backups", keep_deleted_days=7), ProvisionedBucket("logs", expire_days=30))
USERS = {
    user.name: user
    for user in [
        BucketUser("synapse-media", "media", MEDIA),
        BucketUser("synapse-li", "media", MEDIA_READER),
        BucketUser("postgres-backup", "backups", BACKUPS),
        BucketUser("loki", "logs", LOGS),
    ]
}
LARGE = b"x" * (9 * 1024 * 1024)
"""More than boto3 sends in one piece (8 MiB)."""

VERBS: dict[str, Callable[[Any, str], Any]] = {
    "list": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "head bucket": lambda s3, bucket: s3.head_bucket(Bucket=bucket),
    "get": lambda s3, bucket: s3.get_object(Bucket=bucket, Key="kept")["Body"].read(),
    "get missing": lambda s3, bucket: _missing(lambda: s3.get_object(Bucket=bucket, Key="none")),
    "head": lambda s3, bucket: s3.head_object(Bucket=bucket, Key="kept"),
    "put": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="new", Body=b"1"),
    "put if absent": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="absent", Body=b"1", IfNoneMatch="*"),
    "put in parts": lambda s3, bucket: _in_parts(s3, bucket),
    "abort": lambda s3, bucket: s3.abort_multipart_upload(
        Bucket=bucket, Key="a", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    ),
    "delete": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="new"),
    "delete many": lambda s3, bucket: _delete_many(s3, bucket, {}),
    "overwrite": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="kept", Body=b"kept"),
    "delete version": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="kept", VersionId="null"),
    "delete versions": lambda s3, bucket: _delete_many(s3, bucket, {"VersionId": "null"}),
    "list versions": lambda s3, bucket: s3.list_object_versions(Bucket=bucket),
    "list uploads": lambda s3, bucket: s3.list_multipart_uploads(Bucket=bucket),
    "get tags": lambda s3, bucket: s3.get_object_tagging(Bucket=bucket, Key="kept"),
    "put tags": lambda s3, bucket: s3.put_object_tagging(Bucket=bucket, Key="kept", Tagging={"TagSet": []}),
    "versioning": lambda s3, bucket: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}),
    "get lifecycle": lambda s3, bucket: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
    "lifecycle": lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket),
    "bucket policy": lambda s3, bucket: s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
    "make bucket": lambda s3, bucket: s3.create_bucket(Bucket=f"{bucket}-too"),
    "drop bucket": lambda s3, bucket: s3.delete_bucket(Bucket=bucket),
}
READING = {"get", "get missing", "head"}
# Who may list objects may list their versions (cmd/auth-handler.go).
LISTING = {"list", "head bucket", "list versions"}
WRITING = {"put", "put if absent", "put in parts", "abort", "overwrite"}
DELETING = {"delete", "delete many"}
# By hand, from what the programs call (policies.py names the sources), not from the policies.
MAY = {
    "synapse-media": READING | LISTING | WRITING,
    "synapse-li": READING,
    "postgres-backup": READING | LISTING | WRITING | DELETING,
    "loki": READING | LISTING | WRITING | DELETING,
}


def _missing(get: Callable[[], Any]) -> None:
    """Accept what Synapse takes for `not there`."""
    try:
        get()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise


def _in_parts(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate([LARGE, b"the rest"], start=1)
    ]
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})


def _delete_many(s3: Any, bucket: str, version: dict[str, str]) -> None:
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key, **version} for key in ("absent", "parts")], "Quiet": True})
    for error in answer.get("Errors", []):
        raise ClientError({"Error": error}, "DeleteObjects")


@define
class Installation:
    """A MinIO and the Job that provisions it."""

    minio: Minio
    folder: Path
    ca_file: str | None = None
    buckets: tuple[ProvisionedBucket, ...] = BUCKETS
    secrets: dict[str, str] = field(factory=lambda: {ROOT_USER: ROOT_PASSWORD} | {name: f"secret-key-of-{name}" for name in USERS})

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start the program with its request and keys mounted as in the Job."""
        storage = Storage(self.minio.endpoint, REGION, ca_file=self.ca_file)
        document = json.loads(Provisioning(storage, self.buckets, tuple(USERS.values())).request())
        document["administrator"] = self._mount("administrator", ROOT_USER)
        for user in document["users"]:
            user["keys"] = self._mount(user["name"], user["name"])
        request = self.folder / "request.json"
        request.write_text(json.dumps(document))
        command = [sys.executable, "-m", "services.buckets.provision", str(request), "--time-limit", "60", *options]
        return subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, *options: str) -> tuple[int, str]:
        """Run the program to its end: its exit code and what it printed."""
        process = self.start(*options)
        try:
            printed, _ = process.communicate(timeout=120)
        finally:
            process.kill()
        return process.returncode, printed

    def s3(self, user: str, secret: str | None = None) -> Any:
        """A client that signs with a user's keys."""
        keys = {"aws_access_key_id": user, "aws_secret_access_key": secret or self.secrets[user]}
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        return boto3.client("s3", endpoint_url=self.minio.endpoint, region_name=REGION, verify=self.ca_file, config=config, **keys)

    @property
    def admin(self) -> MinioAdmin:
        """The administration of this MinIO."""
        return MinioAdmin(
            endpoint=self.minio.endpoint.partition("//")[2], credentials=StaticProvider(ROOT_USER, self.secrets[ROOT_USER]), secure=False
        )

    def state(self) -> dict[str, Any]:
        """All that the program could change, as MinIO tells it."""
        root = self.s3(ROOT_USER)
        users = json.loads(self.admin.user_list())
        lifecycles = {bucket.name: root.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"] for bucket in BUCKETS[1:]}
        return {
            "buckets": [(bucket["Name"], bucket["CreationDate"]) for bucket in root.list_buckets()["Buckets"]],
            "versioning": {bucket.name: root.get_bucket_versioning(Bucket=bucket.name).get("Status") for bucket in BUCKETS},
            "lifecycles": lifecycles,
            "users": users,
            "policies": {name: self.policy(name) for name in json.loads(self.admin.policy_list())},
        }

    def policy(self, name: str) -> list[str]:
        """The statements of a policy, in an order of their own: MinIO gives lists in any order."""
        statements = json.loads(self.admin.policy_info(name))["Statement"]
        return sorted(json.dumps({key: sorted(value) for key, value in statement.items()}, sort_keys=True) for statement in statements)

    def _mount(self, name: str, access_key: str) -> str:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "access-key").write_text(access_key)
        (folder / "secret-key").write_text(self.secrets[access_key])
        return str(folder)


@pytest.fixture(scope="module")
def program() -> Path:
    return minio_program()


@pytest.fixture
def installation(program: Path, tmp_path: Path) -> Iterator[Installation]:
    with running_minio(program, tmp_path) as minio:
        yield Installation(minio, tmp_path)


def test_each_user_can_do_what_its_program_does_and_nothing_else(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = installation.run()
    assert code == 0, printed
    root, table, wrong = installation.s3(ROOT_USER), [], []
    for name, user in USERS.items():
        s3 = installation.s3(name)
        for bucket in [bucket.name for bucket in BUCKETS]:
            for verb, attempt in VERBS.items():
                root.put_object(Bucket=bucket, Key="kept", Body=b"kept")
                allowed = _allowed(attempt, s3, bucket)
                table.append(f"{name:16} {bucket:8} {verb:14} {'yes' if allowed else '-'}")
                if allowed != (bucket == user.bucket and verb in MAY[name]):
                    wrong.append(table[-1])
    with capsys.disabled():
        print("\n" + "\n".join(line for line in table if line.endswith("yes")))
        print(f"{len(table)} attempts; every one that is not listed was denied")
    assert not wrong
    assert {bucket["Name"] for bucket in root.list_buckets()["Buckets"]} == {"media", "backups", "logs"}


def _allowed(attempt: Callable[[Any, str], Any], s3: Any, bucket: str) -> bool:
    try:
        attempt(s3, bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"AccessDenied", "403"}:
            raise
        return False
    return True


def test_a_second_run_changes_nothing(installation: Installation) -> None:
    code, printed = installation.run()
    assert code == 0, printed
    assert "bucket media: created" in printed
    before = installation.state()
    code, printed = installation.run()
    assert code == 0, printed
    assert "nothing to change" in printed
    assert installation.state() == before


def test_media_end_at_their_quota_and_the_archive_goes_on(program: Path, tmp_path: Path) -> None:
    """MinIO counts what a bucket holds as its scanner goes round."""
    with running_minio(program, tmp_path, environment={"MINIO_SCANNER_SPEED": "fastest", "MINIO_PROMETHEUS_AUTH_TYPE": "public"}) as minio:
        installation = Installation(minio, tmp_path, buckets=(evolve(BUCKETS[0], quota=mib(20)), *BUCKETS[1:]))
        code, printed = installation.run()
        assert (code, "bucket media: quota of 20971520 bytes" in printed) == (0, True), printed
        media, archive = installation.s3("synapse-media"), installation.s3("postgres-backup")

        def refused() -> str | None:
            try:
                media.put_object(Bucket="media", Key=f"{time.monotonic()}", Body=LARGE)
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            time.sleep(1)
            return None

        assert wait_for(refused, 300, "the quota to be noticed") == "XMinioAdminBucketQuotaExceeded"
        archive.put_object(Bucket="backups", Key="wal", Body=LARGE)
        with urllib.request.urlopen(f"{minio.endpoint}/minio/v2/metrics/cluster", timeout=20) as told:
            assert 'minio_s3_requests_4xx_errors_total{api="putobject"' in told.read().decode(), (
                "what the alert ObjectStorageRefuses looks at"
            )
        assert "nothing to change" in installation.run()[1]


def test_a_changed_secret_key_replaces_the_old_one(installation: Installation) -> None:
    installation.run()
    old, installation.secrets["loki"] = installation.secrets["loki"], "another-secret-key-of-loki"
    code, printed = installation.run()
    assert code == 0, printed
    assert "user loki: secret key replaced" in printed
    assert "1 change(s)" in printed
    installation.s3("loki").list_objects_v2(Bucket="logs")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        installation.s3("loki", old).list_objects_v2(Bucket="logs")


def test_rights_that_somebody_added_are_taken_away_and_foreign_ones_stay(installation: Installation) -> None:
    installation.run()
    admin = installation.admin
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}
    admin.policy_add("synapse-li", policy=wide)
    admin.policy_set("loki,consoleAdmin", user="loki")
    admin.user_add("somebody", "secret-of-somebody")
    admin.policy_set("readwrite", user="somebody")
    code, printed = installation.run()
    assert code == 0, printed
    assert "2 change(s)" in printed
    state = installation.state()
    assert [json.loads(statement)["Action"] for statement in state["policies"]["synapse-li"]] == [["s3:GetObject"]]
    assert state["users"]["loki"]["policyName"] == "loki"
    assert state["users"]["somebody"]["policyName"] == "readwrite"


def test_a_right_that_comes_from_a_group_is_found(installation: Installation) -> None:
    installation.run()
    installation.admin.group_add("operators", ["synapse-li"])  # type: ignore[arg-type]
    installation.admin.policy_set("readwrite", group="operators")
    code, printed = installation.run()
    assert code == 1
    assert "FAILED: user synapse-li, bucket backups: may list and read and write and delete, which its policy does not say" in printed


def test_backups_that_their_user_deletes_or_overwrites_can_be_brought_back(installation: Installation) -> None:
    installation.run()
    intruder, root = installation.s3("postgres-backup"), installation.s3(ROOT_USER)
    version = root.put_object(Bucket="backups", Key="main/base.tar", Body=b"the backup")["VersionId"]
    intruder.put_object(Bucket="backups", Key="main/base.tar", Body=b"garbage")
    intruder.delete_object(Bucket="backups", Key="main/base.tar")
    with pytest.raises(ClientError, match="AccessDenied"):
        intruder.delete_object(Bucket="backups", Key="main/base.tar", VersionId=version)
    for prefix in ("main/base.tar", "main/"):
        with pytest.raises(ClientError, match="force-delete is forbidden"):
            force_delete(intruder, "backups", prefix)
    assert root.get_object(Bucket="backups", Key="main/base.tar", VersionId=version)["Body"].read() == b"the backup"


def test_a_bucket_that_was_made_without_object_lock_does_not_protect_and_is_warned_of(installation: Installation) -> None:
    root = installation.s3(ROOT_USER)
    root.create_bucket(Bucket="backups")
    code, printed = installation.run()
    assert code == 0, printed
    assert "WARNING: bucket backups: it was made without object lock" in printed
    version = root.put_object(Bucket="backups", Key="base.tar", Body=b"the backup")["VersionId"]
    force_delete(installation.s3("postgres-backup"), "backups", "base.tar")
    with pytest.raises(ClientError, match="NoSuchVersion"):
        root.get_object(Bucket="backups", Key="base.tar", VersionId=version)


def force_delete(s3: Any, bucket: str, key: str) -> None:
    """Delete all versions of all that begins with a key, as MinIO alone knows it."""
    with_header = "before-sign.s3.DeleteObject"
    s3.meta.events.register(with_header, _force, unique_id="force")
    try:
        s3.delete_object(Bucket=bucket, Key=key)
    finally:
        s3.meta.events.unregister(with_header, unique_id="force")


def _force(request: Any, **_: Any) -> None:
    request.headers["x-minio-force-delete"] = "true"


def test_trying_out_rights_leaves_nothing_behind(installation: Installation) -> None:
    installation.run()
    installation.run("--check")
    root = installation.s3(ROOT_USER)
    for bucket in BUCKETS:
        assert not {"Versions", "DeleteMarkers"} & set(root.list_object_versions(Bucket=bucket.name))
        assert "Uploads" not in root.list_multipart_uploads(Bucket=bucket.name)


def test_a_disabled_user_stays_disabled(installation: Installation) -> None:
    installation.run()
    installation.admin.user_disable("loki")
    code, printed = installation.run()
    assert code == 1
    assert "FAILED: user loki: disabled by an administrator, and left so" in printed
    assert json.loads(installation.admin.user_info("loki"))["status"] == "disabled"


def test_wrong_root_keys_are_said_and_nothing_is_made(installation: Installation) -> None:
    installation.secrets[ROOT_USER] = "not-the-root-password"
    code, printed = installation.run()
    assert code == 1
    assert "FAILED: bucket media: 403" in printed
    assert "SignatureDoesNotMatch (the server has another secret key for this access key)" in printed
    installation.secrets[ROOT_USER] = ROOT_PASSWORD
    assert installation.s3(ROOT_USER).list_buckets()["Buckets"] == []
    assert json.loads(installation.admin.user_list()) == {}


def test_a_tenant_that_starts_later_is_waited_for(program: Path, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with minio_process(program, tmp_path, port=port) as minio:
        minio.program.kill()
        early = Installation(minio, tmp_path).start()
        try:
            with minio_process(program, tmp_path, port=port):
                printed, _ = early.communicate(timeout=120)
        finally:
            early.kill()
    assert early.returncode == 0, printed
    assert "user loki: created" in printed


def test_a_private_authority_is_trusted_and_a_foreign_one_is_not(program: Path, tmp_path: Path) -> None:
    installed("openssl")
    (certificates := tmp_path / "certificates").mkdir()
    for name, key in {"public": "private", "foreign": "foreign"}.items():
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={name}"
        command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key}.key -out {name}.crt"
        subprocess.run(command.split(), cwd=certificates, check=True, capture_output=True, timeout=30)
    with running_minio(program, tmp_path, certificates=certificates) as minio:
        code, printed = Installation(minio, tmp_path, ca_file=str(certificates / "public.crt")).run()
        assert code == 0, printed
        code, printed = Installation(minio, tmp_path, ca_file=str(certificates / "foreign.crt")).run("--time-limit", "1")
        assert code == 1
        assert "FAILED: waited in vain: " in printed
        assert "CERTIFICATE_VERIFY_FAILED" in printed


def test_four_parity_drives_need_eight_drives(program: Path, tmp_path: Path) -> None:
    """What the rules of a profile refuse (overlays/profile.py), MinIO refuses too."""
    parity = {"MINIO_STORAGE_CLASS_STANDARD": "EC:4"}
    for folder in ("eight", "four"):
        (tmp_path / folder).mkdir()
    with minio_process(program, tmp_path / "eight", drives=8, environment=parity) as minio:
        headers = minio.program.ready(minio.health, 60)
    assert headers is not None
    assert headers["X-Minio-Write-Quorum"] == "5", "with as much parity as data, a write needs one drive more than half"
    with minio_process(program, tmp_path / "four", drives=4, environment=parity) as minio:
        assert minio.program.process.wait(60) == 1
        assert "should be less than or equal to 2" in minio.program.output()
