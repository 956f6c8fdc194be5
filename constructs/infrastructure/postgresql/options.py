"""How a site backs its databases up, and from what it makes one that is lost."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import evolve, frozen

from kit.formats import BackupAge, Generation, Moment, Schedule
from kit.options import option, required


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
    retention: BackupAge = option("30d", "How far back a database can be restored: days (d), weeks (w) or months (m).")
    generation: Generation = option(
        1, "The life of the databases: each archives in a place of its own. Raise it when you restore one: docs/05-BACKUP-RESTORE.md."
    )
    restore: RestoreOptions | None = option(None)

    @property
    def of_a_copy(self) -> "BackupOptions":
        """The same for a database that is never restored, since it is made again from another."""
        return evolve(self, generation=1, restore=None)
