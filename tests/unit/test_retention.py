"""What an archive keeps at most: schedules as the operator reads them, and a retention played through day by day."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.postgresql.options import BackupOptions
from infrastructure.postgresql.retention import BASE_PERCENT, IDLE, MESSAGES, PER_MESSAGE, kept, room
from infrastructure.postgresql.schedule import firings
from kit.quantities import Bytes, gib

WEEKLY = "0 0 2 * * SUN"


@pytest.mark.parametrize(
    ("schedule", "pause", "in_a_week", "in_a_month"),
    [
        ("0 0 2 * * *", 24, 8, 32),
        (WEEKLY, 168, 2, 5),
        ("0 0 2 ? * 0", 168, 2, 5),
        ("0 30 4 * * MON,THU", 96, 3, 10),
        ("0 0 */6 * * *", 6, 29, 125),
        ("0 0 3 1 * *", 744, 1, 2),
        # Either of the two days, since neither is a star (robfig/cron, dayMatches).
        ("0 0 3 1 * SUN", 168, 3, 7),
        # And both of them, since one is: `*/2` is a star too.
        ("0 0 3 */2 * SUN", 504, 2, 3),
        ("0 0 3 1/10 * *", 240, 2, 5),
        ("0 0 3 29 2 *", 35064, 1, 1),
    ],
)
def test_a_schedule_fires_as_the_operator_reads_it(schedule: str, pause: int, in_a_week: int, in_a_month: int) -> None:
    found = firings(schedule)
    assert (found.longest_pause, found.most_within(7), found.most_within(31)) == (pause, in_a_week, in_a_month)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="never comes"):
        firings("0 0 2 30 2 *")


def _fires(schedule: str, now: datetime) -> bool:
    return {"0 0 2 * * *": True, WEEKLY: now.isoweekday() == 7, "0 0 2 1 * *": now.day == 1}[schedule]


def played(schedule: str, retention: int, undeleted: int, begin: datetime) -> tuple[int, timedelta]:
    """The most base backups in a bucket at once, and the oldest of one: each day what barman and the bucket do, for two years."""
    times = [begin.replace(hour=2) + timedelta(day) for day in range(800)]
    present: list[datetime] = []
    deleted: dict[datetime, datetime] = {}
    most, oldest = 0, timedelta()
    for now in times:
        if _fires(schedule, now):
            present.append(now)
        # The newest that is older than the recovery window is needed to reach its beginning; those before it are not.
        past = [one for one in present if one < now - timedelta(retention)]
        for one in past[:-1]:
            present.remove(one)
            deleted[one] = now
        # The bucket's own rule runs once a day, and does not count the first one.
        deleted = {one: at for one, at in deleted.items() if now - at <= timedelta(undeleted)}
        there = [*present, *deleted]
        most = max(most, len(there))
        oldest = max(oldest, max((now - one for one in there), default=timedelta()))
    return most, oldest


@settings(max_examples=40)
@given(
    st.sampled_from(["0 0 2 * * *", WEEKLY, "0 0 2 1 * *"]),
    st.integers(1, 90),
    st.integers(1, 30),
    st.integers(0, 730).map(lambda day: datetime(2027, 1, 1, tzinfo=UTC) + timedelta(day)),
)
def test_no_more_is_ever_kept_than_is_counted(schedule: str, retention: int, undeleted: int, begin: datetime) -> None:
    counted = kept(BackupOptions(schedule=schedule, retention=f"{retention}d"), undeleted)
    most, oldest = played(schedule, retention, undeleted, begin)
    # One is counted besides, which is taken by hand.
    assert most <= counted.full_backups - 1
    assert oldest <= timedelta(counted.log_days)


def test_what_is_counted_does_happen() -> None:
    """Or the store would be asked for more than it ever needs."""
    for schedule, retention in ((WEEKLY, 14), (WEEKLY, 30), ("0 0 2 * * *", 30)):
        counted = kept(BackupOptions(schedule=schedule, retention=f"{retention}d"), 7)
        most, oldest = played(schedule, retention, 7, datetime(2027, 1, 1, tzinfo=UTC))
        assert most >= counted.full_backups - 3
        assert oldest >= timedelta(counted.log_days - 9)


@given(st.integers(1, 4000), st.integers(1, 20_000), st.integers(1, 400), st.integers(1, 30))
def test_the_room_grows_with_each_of_what_it_is_made_of(volume: int, users: int, retention: int, undeleted: int) -> None:
    def of(volume: int = volume, users: int = users, retention: int = retention, undeleted: int = undeleted) -> int:
        backups = BackupOptions(retention=f"{retention}d")
        return room(gib(volume), users, backups, kept(backups, undeleted)).count

    assert of() < of(volume=volume + 1)
    assert of() < of(users=users + 1)
    assert of() <= of(retention=retention + 1) <= of(retention=retention + 7)
    assert of() < of(retention=retention + 7)
    assert of() < of(undeleted=undeleted + 7)


def test_the_room_is_its_base_backups_and_its_log() -> None:
    backups = BackupOptions(retention="14d")
    most = kept(backups, 7)
    assert (most.full_backups, most.log_days) == (6, 29)
    log = most.log_days * (IDLE.count + 1000 * MESSAGES * PER_MESSAGE.count)
    assert abs(room(gib(60), 1000, backups, most).count - (6 * gib(60).count * BASE_PERCENT / 100 * 0.9 + log)) < 100
    said = BackupOptions(retention="14d", write_ahead_log_per_day=Bytes(10**9))
    assert room(gib(60), 1000, backups, most).count - room(gib(60), 1000, said, most).count == log - 29 * 10**9
