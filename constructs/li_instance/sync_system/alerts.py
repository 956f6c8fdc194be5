"""What li_sync's metrics tell people: whether the instance shows what main has, and whether main keeps what the instance has yet to read.

Names and labels: services/li_sync/status.py and follow.py.
"""

from collections.abc import Mapping

from kit.monitoring import Alert, Severity

_TASKS = ("LiTaskFails", "LiTaskOverdue")
_MISSED = "The task {{ $labels.task }} of li_sync has not succeeded for {{ $value | humanizeDuration }}."
_BEHIND = 64 * 2**20
_ERRORS = 'increase(li_sync_subscription_errors_total{{kind=~"{}"}}[1h])'


def overdue(seconds: int) -> int:
    """After how long a task has been missed that comes every so many seconds, whatever held it up: some runs of it, or one and some hours."""
    return max(900, min(6 * seconds, seconds + 3 * 3600))


def _late(intervals: Mapping[str, int]) -> str:
    """A series of each task that has not succeeded for too long."""
    since = 'time() - max by (namespace, task) (li_sync_task_success_timestamp_seconds{{task="{}"}}) > {}'
    return " or ".join(since.format(task, overdue(seconds)) for task, seconds in intervals.items())


def alerts(intervals: Mapping[str, int]) -> tuple[Alert, ...]:
    """Those of a system whose tasks come every so many seconds."""
    return (*_ALERTS, Alert("LiTaskOverdue", _late(intervals), 5, Severity.WARNING, _MISSED))


_ALERTS = (
    Alert(
        "LiSlotLost",
        "max by (namespace) (li_sync_slot_lost) == 1",
        0,
        Severity.CRITICAL,
        "Main has thrown away what the lawful-intercept instance had yet to read: it stays as it is until it is made anew.",
        ("LiReplicationOff", "LiApplyErrors", "LiBehind", *_TASKS),
    ),
    Alert(
        "LiSlotFills",
        "max by (namespace) (li_sync_slot_kept_bytes / ((li_sync_slot_safe_bytes >= 0) + li_sync_slot_kept_bytes)) > 0.5",
        5,
        Severity.CRITICAL,
        "{{ $value | humanizePercentage }} of what main may keep for the lawful-intercept instance is used: then it has to be made anew.",
    ),
    Alert(
        "LiConflict",
        f"sum by (namespace) ({_ERRORS.format('conflict')}) > 0",
        0,
        Severity.CRITICAL,
        "Something else than the replication has written into the database of the lawful-intercept instance, which has stopped therefore.",
        ("LiReplicationOff", "LiApplyErrors", "LiBehind", *_TASKS),
    ),
    Alert(
        "LiReplicationOff",
        "max by (namespace) (li_sync_subscription_enabled) < 1 or max by (namespace) (li_sync_subscription_working) < 1",
        5,
        Severity.CRITICAL,
        "The lawful-intercept instance gets nothing of what happens on main.",
        ("LiApplyErrors", "LiBehind", *_TASKS),
    ),
    Alert(
        "LiDatabaseUnreachable",
        "max by (namespace) (li_sync_up_li_database) < 1 or max by (namespace) (li_sync_up_main_database) < 1",
        5,
        Severity.CRITICAL,
        "li_sync does not reach both databases: nobody sees whether the lawful-intercept instance is current.",
        _TASKS,
    ),
    Alert(
        "LiFeederStopped",
        "time() - max by (namespace) (li_follow_last_poll_timestamp_seconds) > 120",
        2,
        Severity.CRITICAL,
        "Nobody tells Synapse of the lawful-intercept instance what has come: what officers have open stands still.",
        ("LiNobodyListens",),
    ),
    Alert(
        "LiNobodyListens",
        "max by (namespace) (li_follow_receivers) < 1",
        10,
        Severity.CRITICAL,
        "Synapse of the lawful-intercept instance does not hear what has come: what officers have open stands still.",
    ),
    Alert(
        "LiApplyErrors",
        f"sum by (namespace) ({_ERRORS.format('apply|copy')}) > 5",
        0,
        Severity.WARNING,
        "The replication to the lawful-intercept instance has failed {{ $value | humanize }} times in an hour.",
    ),
    Alert(
        "LiBehind",
        f"max by (namespace) (li_sync_slot_lag_bytes) > {_BEHIND}",
        10,
        Severity.WARNING,
        "The lawful-intercept instance has yet to confirm {{ $value | humanize1024 }}B of main's log.",
    ),
    Alert(
        "LiTaskFails",
        "max by (namespace, task) (li_sync_task_failed) == 1",
        15,
        Severity.WARNING,
        "The task {{ $labels.task }} of li_sync fails.",
    ),
    Alert(
        "LiUnknownStreams",
        "max by (namespace) (li_follow_unknown_streams) > 0",
        5,
        Severity.WARNING,
        "Main has {{ $value }} streams that li_sync does not know: what they bring is not shown at once.",
    ),
)
