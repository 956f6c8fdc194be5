"""What CloudNativePG's exporter tells people of a cluster. Names and labels: cloudnative-pg 1.30, default monitoring queries."""

from kit.monitoring import Alert, Severity

_EVERYBODY = (
    "DatabaseReplicationLag",
    "DatabasePoolExhausted",
    "EventsNotPersisted",
    "HomeserverErrors",
    "SendBudgetBurns",
    "SendBudgetBurnsFast",
    "SyncBudgetBurns",
    "SyncBudgetBurnsFast",
)
_DAYS = 24


def longest_pause(schedule: str) -> int:
    """The most hours between two backups of a schedule: six fields, seconds first."""
    _, _, _, day, _, weekday = schedule.split()
    every = {"*", "?"}
    return _DAYS * (1 if {day, weekday} <= every else 7 if day in every else 31)


def alerts(instances: int, schedule: str) -> tuple[Alert, ...]:
    """Those of a cluster of so many instances that is backed up at these times."""
    stale = longest_pause(schedule) + 6
    return (
        Alert(
            "DatabaseNoPrimary",
            "min by (namespace, job) (cnpg_pg_replication_in_recovery) == 1",
            1,
            Severity.CRITICAL,
            "{{ $labels.job }} has no primary: nothing can be written.",
            _EVERYBODY,
        ),
        Alert(
            "DatabaseFailover",
            "max by (namespace, job) (changes(cnpg_pg_replication_in_recovery[15m])) > 0",
            0,
            Severity.WARNING,
            "{{ $labels.job }} has another primary since a quarter of an hour at most.",
        ),
        Alert(
            "DatabaseStandbyMissing",
            f"{instances} - count by (namespace, job) (cnpg_pg_replication_in_recovery == 0 or cnpg_pg_replication_is_wal_receiver_up == 1) > 0",
            5,
            Severity.WARNING,
            f"{{{{ $value }}}} of the {instances} instances of {{{{ $labels.job }}}} are away, or do not follow.",
        ),
        Alert(
            "DatabaseReplicationLag",
            "max by (namespace, pod) (cnpg_pg_replication_lag) > 5",
            1,
            Severity.CRITICAL,
            "{{ $labels.pod }} is {{ $value | humanizeDuration }} behind its primary.",
        ),
        Alert(
            "DatabaseConnectionsFull",
            "sum by (namespace, pod) (cnpg_backends_total)"
            ' / on (namespace, pod) max by (namespace, pod) (cnpg_pg_settings_setting{name="max_connections"}) > 0.9',
            5,
            Severity.WARNING,
            "{{ $value | humanizePercentage }} of the connections of {{ $labels.pod }} are in use.",
        ),
        Alert(
            "ArchiveRefused",
            "max by (namespace, pod) (cnpg_pg_stat_archiver_last_failed_time > cnpg_pg_stat_archiver_last_archived_time)",
            15,
            Severity.CRITICAL,
            "{{ $labels.pod }} cannot archive its write-ahead log: it fills its volume, and nothing since can be recovered from the backup.",
        ),
        Alert(
            "BackupStale",
            f"time() - max by (namespace, job) (barman_cloud_cloudnative_pg_io_last_available_backup_timestamp) > {stale} * 3600",
            0,
            Severity.WARNING,
            "The last backup of {{ $labels.job }} is {{ $value | humanizeDuration }} old.",
        ),
        Alert(
            "SlotLag",
            'max by (namespace, pod, slot_name) (cnpg_pg_replication_slots_pg_wal_lsn_diff{slot_type="logical"}) > 1073741824',
            15,
            Severity.WARNING,
            "{{ $labels.pod }} keeps {{ $value | humanize1024 }}B of write-ahead log for the slot {{ $labels.slot_name }}, which does not follow.",
        ),
        Alert(
            "TransactionIdsRunOut",
            "max by (namespace, job, datname) (cnpg_pg_database_xid_age) > 1000000000",
            60,
            Severity.WARNING,
            "{{ $labels.job }} has not cleaned up {{ $value }} transaction ids of {{ $labels.datname }}: at two thousand million it stops.",
        ),
    )
