"""How a site backs its databases up."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import frozen

from kit.formats import BackupAge, Schedule
from kit.options import option


@frozen(kw_only=True)
class BackupOptions:
    """Backups of the databases, beside the continuous archive of their write-ahead logs."""

    schedule: Schedule = option("0 0 2 * * *", "When a base backup is taken, in UTC: six cron fields, of which the first is seconds.")
    retention: BackupAge = option("30d", "How far back a database can be restored: days (d), weeks (w) or months (m).")
