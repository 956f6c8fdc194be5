"""What CloudNativePG's exporter tells people of a cluster. Names and labels: cloudnative-pg 1.30, default monitoring queries."""

from infrastructure.postgresql.schedule import firings
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
_BACKUPS = "barman_cloud_cloudnative_pg_io_"
"""What the plugin's own series begin with, which every instance serves; 0: never (plugin-barman-cloud, internal/cnpgi/instance/metrics.go). The
operator's, `cnpg_collector_last_*_backup_timestamp`, stay 0 where a plugin takes the backups."""


def alerts(instances: int, schedule: str) -> tuple[Alert, ...]:
    """Those of a cluster of so many instances that is backed up at these times."""
    stale = firings(schedule).longest_pause + 6
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
            f"time() - max by (namespace, job) ({_BACKUPS}last_available_backup_timestamp) > {stale} * 3600",
            60,
            Severity.WARNING,
            f"{{{{ $labels.job }}}} has no base backup of the last {stale} hours.",
        ),
        Alert(
            "BackupFailed",
            f"max by (namespace, job) ({_BACKUPS}last_failed_backup_timestamp) > max by (namespace, job) ({_BACKUPS}last_available_backup_timestamp)",
            15,
            Severity.WARNING,
            "The last base backup of {{ $labels.job }} has failed.",
        ),
        Alert(
            "BackupUnknown",
            "max by (namespace, job) (cnpg_pg_replication_in_recovery)"
            f" unless on (namespace, job) ({_BACKUPS}last_available_backup_timestamp)",
            60,
            Severity.WARNING,
            "Nobody says whether {{ $labels.job }} has backups: the plugin of the operator does not answer, or cannot read its store.",
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
