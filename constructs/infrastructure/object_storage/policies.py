"""Who may do what with which bucket: policy documents, and the request for the program that makes them (services/buckets)."""

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from kit.quantities import Bytes

KEYS_FOLDER = "/run/secrets/buckets"
"""Where the program finds keys: a folder for each user and one for the administrator, each with the files `access-key` and `secret-key`."""

ADMINISTRATOR = "administrator"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, less the dots, which break virtual-host TLS.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@frozen
class Access:
    """What one program does with its bucket: the S3 actions on its objects and on the bucket itself."""

    on_objects: tuple[str, ...]
    on_bucket: tuple[str, ...] = ()

    def policy(self, bucket: str) -> dict[str, Any]:
        """The policy document that allows this on one bucket, and nothing else."""
        the_bucket, its_objects = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"
        parts = [("Allow", self.on_bucket, the_bucket), ("Allow", self.on_objects, its_objects)]
        if "s3:DeleteObject" in self.on_objects and "s3:DeleteObjectVersion" not in self.on_objects:
            # MinIO takes s3:DeleteObject as leave to delete versions too, unless that is denied (cmd/auth-handler.go, authorizeRequest).
            parts.append(("Deny", ("s3:DeleteObjectVersion",), its_objects))
        statements = [{"Effect": effect, "Action": sorted(actions), "Resource": [on]} for effect, actions, on in parts if actions]
        return {"Version": "2012-10-17", "Statement": statements}


# HeadObject is allowed by s3:GetObject and HeadBucket by s3:ListBucket. Whoever may put an object may put it in parts, and must be able
# to abort that, or the parts of a failed upload stay.
_READ, _WRITE, _DELETE, _LIST = ("s3:GetObject",), ("s3:PutObject", "s3:AbortMultipartUpload"), ("s3:DeleteObject",), ("s3:ListBucket",)

MEDIA = Access(_READ + _WRITE, _LIST)
"""Synapse with synapse-s3-storage-provider 1.7.0: upload_file and get_object, and head_object in s3_media_upload. Neither that module nor
Synapse ever deletes from the bucket. With s3:ListBucket a missing object is 404 on every S3; AWS says 403 without."""

MEDIA_SWEEP = Access(("s3:DeleteObject", "s3:DeleteObjectVersion"), ("s3:ListBucketVersions",))
"""services/media_sweep: list_object_versions and delete_objects with versions. It reads no file and writes none."""

MEDIA_SWEEP_KEEPING = Access(("s3:DeleteObject",), ("s3:ListBucketVersions",))
"""The same where a bucket has what was removed for some days more: it destroys no version."""

MEDIA_READER = Access(_READ)
"""A Synapse that only fetches another instance's media. MinIO says 404 for a missing object without s3:ListBucket; AWS does not."""

MEDIA_SOURCE = Access(_READ, _LIST)
"""services/li_sync, of the bucket that it copies from: it lists it and gets what is new."""

MEDIA_COPY = Access(_READ + _WRITE + _DELETE, _LIST)
"""services/li_sync, of the bucket that it copies to: what is gone at the source goes here too."""

BACKUPS = Access(_READ + _WRITE + _DELETE, _LIST)
"""barman-cloud 3.19.1 (cloud_providers/aws_s3.py): head_bucket, list_objects_v2, head_object, get, put_object with If-None-Match, multipart
with abort, delete_objects; no versions. With `keep_deleted_days` an intruder who has these keys cannot destroy the backups."""

LOGS = Access(_READ + _WRITE + _DELETE, _LIST)
"""Loki: https://grafana.com/docs/loki/latest/operations/storage/ (Cloud Storage Permissions, S3); the compactor deletes."""


@frozen
class ProvisionedBucket:
    """A bucket to be made.

    `keep_deleted_days`: how long an object that was deleted or overwritten can be brought back (None: not at all). Such a bucket has
    versioning, and object lock without a retention, so that its users cannot destroy versions.
    `expire_days`: the age at which objects go (None: never). Both are at least 1.
    `quota`: what it may fill (None: as much as there is).
    """

    name: str
    keep_deleted_days: int | None = None
    expire_days: int | None = None
    quota: Bytes | None = None

    def __attrs_post_init__(self) -> None:
        if not _BUCKET_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no bucket name: 3 to 63 lower-case letters, digits and hyphens")
        if self.quota is not None and self.quota.count < 1:
            raise ValueError(f"bucket {self.name}: a quota of nothing would be none")
        for days in (self.keep_deleted_days, self.expire_days):
            if days is not None and days < 1:
                raise ValueError(f"bucket {self.name}: {days} days; S3 counts from 1")


@frozen
class BucketUser:
    """Somebody who uses one bucket. The name is also that of its policy, and of its folder in `KEYS_FOLDER`."""

    name: str
    bucket: str
    access: Access

    @property
    def keys(self) -> str:
        """The folder where its keys are mounted."""
        return f"{KEYS_FOLDER}/{self.name}"


@frozen
class Storage:
    """Where the buckets are. `administered`: it is a MinIO whose root keys we have; otherwise rights can only be checked.

    Raises ValueError for an endpoint that S3 clients cannot use.
    """

    endpoint: str
    region: str
    path_style: bool = True
    ca_file: str | None = None
    administered: bool = True

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"{self.endpoint!r} is no endpoint: give http(s)://host[:port]")
        if parts.hostname.endswith("."):
            # botocore signs the host as it is written, and urllib3 sends it without the final dot: SignatureDoesNotMatch.
            raise ValueError(f"{self.endpoint!r}: boto3, and so Synapse and barman-cloud, cannot sign for a host name that ends with a dot")


@frozen
class Provisioning:
    """Everything that one object storage shall have. Raises ValueError where it does not fit together."""

    storage: Storage
    buckets: tuple[ProvisionedBucket, ...]
    users: tuple[BucketUser, ...]

    def __attrs_post_init__(self) -> None:
        buckets, users = [bucket.name for bucket in self.buckets], [user.name for user in self.users]
        if repeated := [*_repeated(buckets), *_repeated(users)]:
            raise ValueError(f"declared twice: {', '.join(repeated)}")
        for user in self.users:
            if user.bucket not in buckets:
                raise ValueError(f"user {user.name} uses the bucket {user.bucket}, which is not declared")
            if user.name == ADMINISTRATOR:
                raise ValueError(f"a user cannot be called {ADMINISTRATOR}: that is the folder of the root keys")

    def request(self) -> str:
        """The request file (JSON) for `python -m services.buckets.provision`. It holds no secret."""
        storage = self.storage
        document = {
            "endpoint": storage.endpoint.rstrip("/"),
            "region": storage.region,
            "path_style": storage.path_style,
            "ca_file": storage.ca_file,
            "administrator": f"{KEYS_FOLDER}/{ADMINISTRATOR}" if storage.administered else None,
            "buckets": [
                {
                    "name": bucket.name,
                    "keep_deleted_days": bucket.keep_deleted_days,
                    "expire_days": bucket.expire_days,
                    "quota": bucket.quota.count if bucket.quota else None,
                }
                for bucket in self.buckets
            ],
            "users": [
                {"name": user.name, "keys": user.keys, "policy": {"name": user.name, "document": user.access.policy(user.bucket)}}
                for user in self.users
            ],
        }
        return json.dumps(document, indent=2) + "\n"


def _repeated(names: Iterable[str]) -> list[str]:
    found = list(names)
    return sorted({name for name in found if found.count(name) > 1})
