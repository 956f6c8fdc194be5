"""Which PostgreSQL a site has; how it backs its own up, and from what it makes one that is lost."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import evolve, frozen

from infrastructure.object_storage.options import BACKUP_STORAGE, ExternalOptions
from kit.formats import BackupAge, Cidr, Generation, HostName, Moment, Name, Schedule, VolumeSize
from kit.options import Number, Text, When, option, required, section

POSTGRESQL = "postgresql"
"""The way out of the cluster to a PostgreSQL that exists."""

Port = Annotated[int, Number("the number of a port", 1, 65_535, "5432")]
# Names that need no quotes in SQL, and no escapes in a password file.
Identifier = Annotated[str, Text("a name in PostgreSQL", "[a-z_][a-z0-9_-]{0,62}", "synapse")]


class BackupStore(StrEnum):
    """Where backups are kept."""

    WITH_MEDIA = "with-media"
    MINIO = "minio"
    SILO = "silo"
    EXTERNAL = "external"


@frozen(kw_only=True)
class BackupStorageOptions:
    """Where backups are kept: what is lost with it must not be what they are for."""

    backend: BackupStore = option(
        BackupStore.WITH_MEDIA,
        "`with-media`: in the object storage of media, whose fate they share. `minio`: in a second MinIO, in `namespaces.backups`; they survive "
        "the loss of the first one and of the namespace, not of the cluster. `silo`: the same without MinIO's operator. `external`: in any other S3.",
        opens=(BACKUP_STORAGE,),
    )
    external: ExternalOptions | None = option(
        None,
        only_with=When("backups.object_storage.backend", BackupStore.EXTERNAL),
        needed_with=When("backups.object_storage.backend", BackupStore.EXTERNAL),
    )

    @property
    def second(self) -> bool:
        """Whether backups have a MinIO of the platform for themselves."""
        return self.backend in (BackupStore.MINIO, BackupStore.SILO)


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
        return evolve(self, restore=None, retention="1d")


class PostgresqlBackend(StrEnum):
    """Who runs it."""

    CLOUDNATIVE_PG = "cloudnative-pg"
    EXTERNAL = "external"


@frozen(kw_only=True)
class ExternalPostgresqlOptions:
    """A PostgreSQL that exists, with TLS: who runs it also backs it up and upgrades it. Passwords: docs/01-DEPLOYMENT-GUIDE.md."""

    host: HostName = required("Its name, which stands in its certificate: where it can be written, also after a failover.")
    port: Port = option(5432, "Where it listens.")
    cidrs: tuple[Cidr, ...] = required("Addresses at which it is reached.")
    ca_secret: Name = required("Secret with `ca.crt`, the authority of its certificate.")
    database: Identifier = option("synapse", "Synapse's database: encoding UTF8, LC_COLLATE and LC_CTYPE C.")
    user: Identifier = option("synapse", "Who owns it.")
    authentication_database: Identifier = option(
        "authentication_service", "The database of the Matrix Authentication Service, with `features.authentication_service`."
    )
    authentication_user: Identifier = option("authentication_service", "Who owns that.")


@frozen(kw_only=True)
class PostgresqlOptions:
    """Where accounts, rooms and messages are kept."""

    backend: PostgresqlBackend = option(
        PostgresqlBackend.CLOUDNATIVE_PG,
        "`cloudnative-pg`: the platform runs it. `external`: any PostgreSQL with TLS; not with `features.li`, which follows the platform's own.",
        opens=(POSTGRESQL,),
    )
    external: ExternalPostgresqlOptions | None = option(
        None,
        only_with=When("postgresql.backend", PostgresqlBackend.EXTERNAL),
        needed_with=When("postgresql.backend", PostgresqlBackend.EXTERNAL),
    )
