"""Where a site keeps its objects."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import Bucket, Image, Name, OthersPods, Region, Url, VolumeSize
from kit.options import Number, When, option, required, section

OBJECT_STORAGE = "object-storage"
"""The way out of the cluster to an S3 that exists."""
BACKUP_STORAGE = "backup-storage"
"""The same to one that has backups alone."""


class ObjectStorageBackend(StrEnum):
    """Where objects are kept."""

    MINIO = "minio"
    SILO = "silo"
    EXTERNAL = "external"


@frozen(kw_only=True)
class MinioOptions:
    """The MinIO that the platform runs, with its operator or without."""

    image: Image | None = option(None, "Server image in place of the platform's own choice.", otherwise="that of `images.toml`")
    one_server_per_node: bool = option(
        False,
        "Whether two servers of a tenant may never share a node, with `silo` two of a pool. It needs a node for each: "
        "docs/02-SCALING-GUIDE.md says how many.",
    )


@frozen(kw_only=True)
class Pool:
    """Servers of MinIO that were added at one time. It keeps the servers and drives that it was formatted with."""

    servers: Annotated[int, Number("a number of servers", 4, 1000, "4")] = required("How many.")
    drives: Annotated[int, Number("a number of drives", 1, 16, "2")] = option(2, "Volumes of each server.")
    drive: VolumeSize = required("Each volume. It may grow, where the StorageClass can.")


OWN = When("object_storage.backend", ObjectStorageBackend.MINIO, (ObjectStorageBackend.SILO,))
"""The platform runs it."""


@frozen(kw_only=True)
class Pools:
    """The pools that each MinIO of the platform has, in their order: no size changes them. A size that needs more has one more pool."""

    main: tuple[Pool, ...] = option((), "Of `minio-main`.", otherwise="one, of the profile's shape", only_with=OWN)
    li: tuple[Pool, ...] = option((), "Of `minio-li`.", otherwise="one, of the profile's shape", only_with=OWN)
    backups: tuple[Pool, ...] = option(
        (),
        "Of `minio-backups`.",
        otherwise="one, of the profile's shape",
        only_with=When("backups.object_storage.backend", "minio", ("silo",)),
    )


@frozen(kw_only=True)
class ExternalOptions:
    """An S3 that exists."""

    endpoint: Url = required("Its URL.")
    region: Region = option("us-east-1", "Its region.")
    ca_secret: Name | None = option(
        None, "Secret with `ca.crt`, the authority of its certificate, in each namespace.", otherwise="public authorities"
    )
    pods: OthersPods | None = option(
        None,
        "Where it is, if in this cluster. Policies are held to the port where its pods listen, not to that of the Service before them.",
        otherwise="outside the cluster",
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
        ObjectStorageBackend.MINIO,
        "`minio`: the platform runs it, by MinIO's operator. `silo`: the same servers without that operator, which is archived: "
        "docs/02-SCALING-GUIDE.md. `external`: any S3 that exists.",
        opens=(OBJECT_STORAGE,),
    )
    minio: MinioOptions = section(MinioOptions, only_with=OWN)
    external: ExternalOptions | None = option(
        None,
        only_with=When("object_storage.backend", ObjectStorageBackend.EXTERNAL),
        needed_with=When("object_storage.backend", ObjectStorageBackend.EXTERNAL),
    )
    buckets: BucketNames = section(BucketNames, distinct=True)
