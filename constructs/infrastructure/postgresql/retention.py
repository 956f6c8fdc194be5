"""How much room the archive of a database takes at most: what its store must have before anything is deployed."""

from math import ceil

from attrs import frozen

from infrastructure.postgresql.options import BackupOptions
from infrastructure.postgresql.schedule import firings
from kit.quantities import Bytes, mib

# Measured by tests/live/test_backup_sizes.py: a real Synapse with encrypted messages, PostgreSQL 18, gzip as barman-cloud does it.
BASE_PERCENT = 33
"""Of a database's files, what a base backup of them takes."""
PER_MESSAGE = Bytes(16 * 1024)
"""What an archived message takes in the write-ahead log: each touches pages that the log has whole once after each checkpoint."""
IDLE = mib(64)
"""What a day without messages takes: a file every five minutes, nearly empty."""

MESSAGES = 50
"""How many a concurrent user sends in a day, where the site does not say what its archive grows by."""

_FULL_PERCENT = 90
"""How full a volume can be before somebody is told (the alert VolumeFull)."""
_DAYS = {"d": 1, "w": 7, "m": 31}
"""barman, retention_policies.py."""


@frozen
class Kept:
    """What is in an archive at most: base backups, and days of the write-ahead log."""

    full_backups: int
    log_days: int


def kept(backups: BackupOptions, undeleted_days: int, besides: int = 1) -> Kept:
    """What a schedule and a retention come to, in a bucket where what is deleted stays for some days.

    A base backup goes when the next one is older than the retention (barman's recovery window), and with it the log before the next one. The
    bucket has it for `undeleted_days` more, and one for its daily round. `besides`: base backups off the schedule, the first or one by hand.
    """
    times = firings(backups.schedule)
    window = int(backups.retention[:-1]) * _DAYS[backups.retention[-1]] + undeleted_days + 1
    return Kept(times.most_within(window) + 1 + besides, window + ceil(times.longest_pause / 24))


def room(volume: Bytes, users: int, backups: BackupOptions, most: Kept) -> Bytes:
    """What the archive of a database takes when its volume is full. `users`: concurrent ones."""
    a_day = backups.write_ahead_log_per_day or IDLE + PER_MESSAGE * (MESSAGES * users)
    return Bytes(volume.count * _FULL_PERCENT * BASE_PERCENT // 10_000 * most.full_backups) + a_day * most.log_days
