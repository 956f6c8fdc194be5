"""How a site backs its databases up, and from what it makes one that is lost."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import evolve, frozen

from infrastructure.object_storage.options import BACKUP_STORAGE, ExternalOptions
from kit.formats import BackupAge, Generation, Moment, Schedule, VolumeSize
from kit.options import When, option, required, section


class BackupStore(StrEnum):
    """Where backups are kept."""

    WITH_MEDIA = "with-media"
    MINIO = "minio"
    EXTERNAL = "external"


@frozen(kw_only=True)
class BackupStorageOptions:
    """Where backups are kept: what is lost with it must not be what they are for."""

    backend: BackupStore = option(
        BackupStore.WITH_MEDIA,
        "`with-media`: in the object storage of media, whose fate they share. `minio`: in a second MinIO, in `namespaces.backups`; they survive "
        "the loss of the first one and of the namespace, not of the cluster. `external`: in any other S3.",
        opens=(BACKUP_STORAGE,),
    )
    external: ExternalOptions | None = option(
        None,
        only_with=When("backups.object_storage.backend", BackupStore.EXTERNAL),
        needed_with=When("backups.object_storage.backend", BackupStore.EXTERNAL),
    )


@frozen(kw_only=True)
class RestoreOptions:
    """What the database is made from where the cluster has none. A database that is there is not touched: the section may stay."""

    generation: Generation = required("The generation that wrote the backups.")
    time: Moment | None = option(None, "The time to which it is restored, in quotes.", otherwise="the last that was archived")


@frozen(kw_only=True)
class BackupOptions:
    """Backups of the databases, beside the continuous archive of their write-ahead logs."""

    schedule: Schedule = option(
        "0 0 2 * * SUN", "When a base backup is taken, in UTC: six cron fields, of which the first is seconds. The first is taken at once."
    )
    retention: BackupAge = option("14d", "How far back a database can be restored: days (d), weeks (w) or months (m).")
    generation: Generation = option(
        1, "The life of the databases: each archives in a place of its own. Raise it when you restore one: docs/05-BACKUP-RESTORE.md."
    )
    restore: RestoreOptions | None = option(None)
    write_ahead_log_per_day: VolumeSize | None = option(
        None,
        "What the archive of the write-ahead log of the main database grows by in a day, compressed. The store must have room for it: "
        "docs/05-BACKUP-RESTORE.md.",
        otherwise="50 messages in a day for each concurrent user of the profile",
    )
    object_storage: BackupStorageOptions = section(BackupStorageOptions)

    @property
    def of_a_copy(self) -> "BackupOptions":
        """The same for a database that is never restored, since it is made again from another: the last base backup is enough."""
        return evolve(self, generation=1, restore=None, retention="1d")
