"""What a site has to be told of its choices, though each of them can be deployed."""

from collections.abc import Iterator

from app.site import Site
from infrastructure.postgresql.options import BackupStore


def cautions(site: Site) -> Iterator[str]:
    """What the choices of a site cannot survive: one line each."""
    if site.postgresql.external:
        return
    media = site.object_storage.external
    store = f"the S3 at {media.endpoint}" if media else "the MinIO"
    match site.backups.object_storage.backend:
        case BackupStore.WITH_MEDIA:
            beyond = "" if media else ", nor of the cluster"
            yield (
                f"backups.object_storage.backend: with-media: backups are in {store} that keeps media, and do not survive its loss{beyond}; "
                "give them an S3 elsewhere: docs/05-BACKUP-RESTORE.md"
            )
        case BackupStore.MINIO | BackupStore.SILO as chosen:
            yield (
                f"backups.object_storage.backend: {chosen}: backups are in the cluster, and do not survive its loss; give them an S3 elsewhere, or "
                "copy them there: docs/05-BACKUP-RESTORE.md"
            )
