"""Where a site keeps its objects."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Bucket, Image, Name, Region, Url
from kit.options import When, option, required, section

OBJECT_STORAGE = "object-storage"
"""The way out of the cluster to an S3 that exists."""
BACKUP_STORAGE = "backup-storage"
"""The same to one that has backups alone."""


class ObjectStorageBackend(StrEnum):
    """Where objects are kept."""

    MINIO = "minio"
    EXTERNAL = "external"


@frozen(kw_only=True)
class MinioOptions:
    """The MinIO that the platform runs."""

    image: Image | None = option(None, "Server image in place of the platform's own choice.", otherwise="that of `images.toml`")
    one_server_per_node: bool = option(
        False,
        "Whether two servers of a tenant may never share a node. It needs a node for each: docs/02-SCALING-GUIDE.md says how many.",
    )


@frozen(kw_only=True)
class ExternalOptions:
    """An S3 that exists."""

    endpoint: Url = required("Its URL.")
    region: Region = option("us-east-1", "Its region.")
    ca_secret: Name | None = option(
        None, "Secret with `ca.crt`, the authority of its certificate, in each namespace.", otherwise="public authorities"
    )


@frozen(kw_only=True)
class BucketNames:
    """Bucket names, all different."""

    media: Bucket = option("matrix-media", "Media of the homeserver.")
    backups: Bucket = option("matrix-backups", "Database backups.")
    logs: Bucket = option("matrix-logs", "Logs of all pods, with `features.monitoring`.")
    media_li: Bucket = option("matrix-li-media", "Media of the lawful-interception instance.")
    backups_li: Bucket = option("matrix-li-backups", "Database backups of the lawful-interception instance.")


@frozen(kw_only=True)
class ObjectStorageOptions:
    """Where media, backups and logs are kept. Credentials come in Secrets."""

    backend: ObjectStorageBackend = option(
        ObjectStorageBackend.MINIO, "`minio`: the platform runs it. `external`: any S3 that exists.", opens=(OBJECT_STORAGE,)
    )
    minio: MinioOptions = section(MinioOptions, only_with=When("object_storage.backend", ObjectStorageBackend.MINIO))
    external: ExternalOptions | None = option(
        None,
        only_with=When("object_storage.backend", ObjectStorageBackend.EXTERNAL),
        needed_with=When("object_storage.backend", ObjectStorageBackend.EXTERNAL),
    )
    buckets: BucketNames = section(BucketNames, distinct=True)
