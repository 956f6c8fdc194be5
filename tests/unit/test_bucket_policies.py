"""Each user of a bucket gets the actions that its program calls, on that bucket and no other."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.object_storage.policies import (
    ADMINISTRATOR,
    BACKUPS,
    LOGS,
    MEDIA,
    MEDIA_READER,
    Access,
    BucketUser,
    ProvisionedBucket,
    Provisioning,
    Storage,
)
from kit.quantities import Bytes
from services.buckets.request import User, read_request

ACCESSES = {"MEDIA": MEDIA, "MEDIA_READER": MEDIA_READER, "BACKUPS": BACKUPS, "LOGS": LOGS}
ENDPOINT = "http://minio.matrix.svc.cluster.local"
BUCKET_NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True)


def actions(access: Access) -> set[str]:
    """What a policy allows."""
    return {action for statement in access.policy("some")["Statement"] if statement["Effect"] == "Allow" for action in statement["Action"]}


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_a_policy_names_every_action_and_only_its_own_bucket(access: Access) -> None:
    for statement in access.policy("some")["Statement"]:
        assert not any("*" in action for action in statement["Action"])
        assert set(statement["Resource"]) <= {"arn:aws:s3:::some", "arn:aws:s3:::some/*"}
    assert "*" not in json.dumps(access.policy("some")).replace("arn:aws:s3:::some/*", "")


def test_a_reader_of_media_can_change_nothing() -> None:
    assert actions(MEDIA_READER) == {"s3:GetObject"}


def test_synapse_cannot_delete_what_it_has_stored() -> None:
    assert actions(MEDIA) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket"}


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_nobody_can_destroy_a_version_or_change_how_a_bucket_keeps_them(access: Access) -> None:
    allowed = {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListBucket"}
    assert actions(access) <= allowed
    denied = [statement["Action"] for statement in access.policy("some")["Statement"] if statement["Effect"] == "Deny"]
    assert denied == ([["s3:DeleteObjectVersion"]] if "s3:DeleteObject" in actions(access) else [])


def test_whoever_may_start_an_upload_may_abort_it() -> None:
    for access in ACCESSES.values():
        assert ("s3:PutObject" in actions(access)) == ("s3:AbortMultipartUpload" in actions(access))


@st.composite
def provisionings(draw: st.DrawFn) -> Provisioning:
    days, quotas = st.none() | st.integers(1, 3650), st.none() | st.builds(Bytes, st.integers(1, 2**50))
    names = draw(st.lists(BUCKET_NAMES, min_size=1, max_size=4, unique=True))
    buckets = [ProvisionedBucket(name, draw(days), draw(days), draw(quotas)) for name in names]
    user_names = draw(st.lists(BUCKET_NAMES.filter(lambda name: name != ADMINISTRATOR), max_size=5, unique=True))
    users = [BucketUser(name, draw(st.sampled_from(names)), draw(st.sampled_from(list(ACCESSES.values())))) for name in user_names]
    storage = Storage(ENDPOINT, "us-east-1", draw(st.booleans()), draw(st.none() | st.just("/etc/ca.crt")), draw(st.booleans()))
    return Provisioning(storage, tuple(buckets), tuple(users))


@given(provisioning=provisionings())
def test_the_program_reads_from_the_request_exactly_what_was_declared(
    provisioning: Provisioning, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("request") / "request.json"
    file.write_text(provisioning.request())
    read = read_request(file)
    assert (read.endpoint, read.region, read.path_style) == (ENDPOINT, "us-east-1", provisioning.storage.path_style)
    assert (str(read.ca_file) if read.ca_file else None) == provisioning.storage.ca_file
    assert (read.administrator is not None) == provisioning.storage.administered
    assert [(b.name, b.keep_deleted_days, b.expire_days, b.quota) for b in read.buckets] == [
        (b.name, b.keep_deleted_days, b.expire_days, b.quota.count if b.quota else None) for b in provisioning.buckets
    ]
    assert [(u.name, str(u.keys), u.policy_name) for u in read.users] == [(u.name, u.keys, u.name) for u in provisioning.users]
    for declared, user in zip(provisioning.users, read.users, strict=True):
        for bucket in provisioning.buckets:
            assert rights(user, bucket.name) == (
                set(declared.access.on_bucket + declared.access.on_objects) if bucket.name == declared.bucket else set()
            )


def rights(user: User, bucket: str) -> set[str]:
    """What the program takes a policy to allow on a bucket, of all actions that any of them names."""
    named = {"s3:ListBucket": "", "s3:GetObject": "/*", "s3:PutObject": "/*", "s3:AbortMultipartUpload": "/*", "s3:DeleteObject": "/*"}
    return {action for action, part in named.items() if user.may(action, f"arn:aws:s3:::{bucket}{part}")}


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio.example.com",
        "s3://media",
        "https://",
        "https://s3.example.com/media",
        "https://user@s3.example.com",
        "https://s3.example.com?x=1",
    ],
)
def test_an_endpoint_is_a_scheme_and_a_host(endpoint: str) -> None:
    with pytest.raises(ValueError, match="no endpoint"):
        Storage(endpoint, "us-east-1")


@pytest.mark.parametrize("endpoint", ["http://minio.matrix.svc.cluster.local.", "http://minio.matrix.svc.cluster.local.:9000"])
def test_a_host_that_ends_with_a_dot_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="cannot sign"):
        Storage(endpoint, "us-east-1")


@pytest.mark.parametrize("name", ["ab", "Media", "-media", "media-", "me.dia", "me_dia", "m" * 64, "media\n"])
def test_a_bucket_name_that_s3_refuses_is_refused_here(name: str) -> None:
    with pytest.raises(ValueError, match="no bucket name"):
        ProvisionedBucket(name)


@pytest.mark.parametrize("days", [0, -1])
def test_days_count_from_one(days: int) -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        ProvisionedBucket("media", keep_deleted_days=days)
    with pytest.raises(ValueError, match="counts from 1"):
        ProvisionedBucket("media", expire_days=days)


def test_what_does_not_fit_together_is_refused() -> None:
    storage, media = Storage(ENDPOINT, "us-east-1"), ProvisionedBucket("media")
    with pytest.raises(ValueError, match="declared twice: media"):
        Provisioning(storage, (media, media), ())
    with pytest.raises(ValueError, match="declared twice: synapse"):
        Provisioning(storage, (media,), (BucketUser("synapse", "media", MEDIA), BucketUser("synapse", "media", MEDIA_READER)))
    with pytest.raises(ValueError, match="uses the bucket logs, which is not declared"):
        Provisioning(storage, (media,), (BucketUser("loki", "logs", LOGS),))
    with pytest.raises(ValueError, match="root keys"):
        Provisioning(storage, (media,), (BucketUser(ADMINISTRATOR, "media", MEDIA),))
