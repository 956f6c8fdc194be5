"""PostgreSQL: whether the database is there, whole, fast and archived. Metrics are those of CloudNativePG's exporter in each instance."""

from monitoring.grafana.board import Board, Query, Row, Unit, Variable, lines, number, stacked, table
from monitoring.grafana.promql import added, per, share, total

_C = 'job=~"$cluster"'
_TAKEN = f"sum by (instance) (cnpg_backends_total{{{_C}}})"
_ALLOWED = f'cnpg_pg_settings_setting{{{_C},name="max_connections"}}'
_DB = f'{_C},datname!~"template.|"'

_NOW = Row(
    "Now",
    (
        number("Instances", "That answer.", Unit.AMOUNT, f"sum(cnpg_collector_up{{{_C}}})"),
        number(
            "Standbys that follow",
            "Of the primary.",
            Unit.AMOUNT,
            f"max(cnpg_pg_replication_streaming_replicas{{{_C}}})",
        ),
        number(
            "Behind",
            "The standby that is furthest behind. A failover loses nothing that was acknowledged, and takes as long as this.",
            Unit.SECONDS,
            f"max(cnpg_pg_replication_lag{{{_C}}})",
            bounds=(5, 30),
        ),
        number(
            "Connections",
            "The share that is taken of those that PostgreSQL accepts.",
            Unit.SHARE,
            f"max({share(_TAKEN, f'on (instance) {_ALLOWED}')})",
        ),
        number(
            "Since something was archived",
            "The write-ahead log goes to object storage at least every five minutes; after that, a lost disk loses data.",
            Unit.SECONDS,
            f"max(cnpg_pg_stat_archiver_seconds_since_last_archival{{{_C}}})",
            bounds=(600, 1_800),
        ),
        number(
            "Since a backup",
            "The last one that can be restored.",
            Unit.SECONDS,
            f"time() - max(barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{{{_C}}})",
            bounds=(93_600, 180_000),
        ),
    ),
)

_REPLICATION = Row(
    "Standbys and slots",
    (
        lines("Behind", "", Unit.SECONDS, Query(f"cnpg_pg_replication_lag{{{_C}}}", "{{instance}}"), bounds=(5, 30)),
        lines(
            "Not replayed yet",
            "Bytes that the primary has and a follower has not applied.",
            Unit.BYTES,
            Query(f"cnpg_pg_stat_replication_replay_diff_bytes{{{_C}}}", "{{application_name}}"),
        ),
        lines(
            "Delay of each step",
            "Written, safe on disk, applied.",
            Unit.SECONDS,
            Query(f"cnpg_pg_stat_replication_write_lag_seconds{{{_C}}}", "{{application_name}} written"),
            Query(f"cnpg_pg_stat_replication_flush_lag_seconds{{{_C}}}", "{{application_name}} safe"),
            Query(f"cnpg_pg_stat_replication_replay_lag_seconds{{{_C}}}", "{{application_name}} applied"),
        ),
        lines(
            "Kept for slots",
            "Log that stays on disk because a follower has not fetched it: a slot without follower fills the disk.",
            Unit.BYTES,
            Query(f"cnpg_pg_replication_slots_pg_wal_lsn_diff{{{_C}}}", "{{slot_name}} ({{slot_type}})"),
        ),
        table(
            "Roles",
            "1 in recovery: a standby. Exactly one instance of a cluster is none.",
            Unit.AMOUNT,
            Query(f"sum by (job, instance) (cnpg_pg_replication_in_recovery{{{_C}}})", "in recovery"),
            Query(f"sum by (job, instance) (cnpg_collector_up{{{_C}}})", "up"),
        ),
        lines(
            "Fenced, or waiting for a person",
            "Instances that were stopped on purpose, and switchovers that somebody has to start.",
            Unit.AMOUNT,
            Query(f"sum by (job) (cnpg_collector_fencing_on{{{_C}}})", "{{job}} fenced"),
            Query(f"sum by (job) (cnpg_collector_manual_switchover_required{{{_C}}})", "{{job}} switchover"),
        ),
    ),
)

_LOAD = Row(
    "Load",
    (
        stacked("Connections by what they do", "", Unit.AMOUNT, Query(f"sum by (state) (cnpg_backends_total{{{_C}}})", "{{state}}")),
        lines(
            "Connections by who has them",
            "Synapse's processes call themselves by their names.",
            Unit.AMOUNT,
            Query(f"topk(15, sum by (application_name) (cnpg_backends_total{{{_C}}}))", "{{application_name}}"),
        ),
        lines(
            "Transactions",
            "",
            Unit.PER_SECOND,
            Query(per("instance", "cnpg_pg_stat_database_xact_commit", _DB), "{{instance}}"),
            Query(per("instance", "cnpg_pg_stat_database_xact_rollback", _DB), "{{instance}} rolled back"),
        ),
        lines(
            "Longest transaction",
            "A long one keeps dead rows from being cleaned.",
            Unit.SECONDS,
            Query(f"max by (application_name) (cnpg_backends_max_tx_duration_seconds{{{_C}}})", "{{application_name}}"),
            bounds=(300, 3_600),
        ),
        lines(
            "Waiting for a lock",
            "",
            Unit.AMOUNT,
            Query(f"sum by (instance) (cnpg_backends_waiting_total{{{_C}}})", "{{instance}}"),
        ),
        lines(
            "Deadlocks and conflicts",
            "",
            Unit.PER_SECOND,
            Query(per("datname", "cnpg_pg_stat_database_deadlocks", _DB), "deadlocks in {{datname}}"),
            Query(per("datname", "cnpg_pg_stat_database_conflicts", _DB), "conflicts in {{datname}}"),
        ),
        lines(
            "Found in memory",
            "The share of blocks; below 0.95 more memory helps.",
            Unit.SHARE,
            Query(
                share(
                    per("instance", "cnpg_pg_stat_database_blks_hit", _DB),
                    added(per("instance", "cnpg_pg_stat_database_blks_hit", _DB), per("instance", "cnpg_pg_stat_database_blks_read", _DB)),
                ),
                "{{instance}}",
            ),
        ),
        lines(
            "Rows",
            "",
            Unit.PER_SECOND,
            Query(total("cnpg_pg_stat_database_tup_fetched", _DB), "fetched"),
            Query(total("cnpg_pg_stat_database_tup_inserted", _DB), "inserted"),
            Query(total("cnpg_pg_stat_database_tup_updated", _DB), "updated"),
            Query(total("cnpg_pg_stat_database_tup_deleted", _DB), "deleted"),
        ),
        lines(
            "Spilled to disk",
            "Sorts and joins that did not fit into work_mem.",
            Unit.BYTES_PER_SECOND,
            Query(per("datname", "cnpg_pg_stat_database_temp_bytes", _DB), "{{datname}}"),
        ),
    ),
)

_DISK = Row(
    "Disk and archive",
    (
        lines("Size", "", Unit.BYTES, Query(f"max by (job, datname) (cnpg_pg_database_size_bytes{{{_DB}}})", "{{job}} {{datname}}")),
        lines(
            "Age of transactions",
            "At two thousand million PostgreSQL stops writing; autovacuum keeps it below 200 million.",
            Unit.AMOUNT,
            Query(f"max by (datname) (cnpg_pg_database_xid_age{{{_C}}})", "{{datname}}"),
            bounds=(500_000_000, 1_000_000_000),
        ),
        lines(
            "Archived",
            "Files of the write-ahead log.",
            Unit.PER_SECOND,
            Query(per("job", "cnpg_pg_stat_archiver_archived_count", _C), "{{job}} archived"),
            Query(per("job", "cnpg_pg_stat_archiver_failed_count", _C), "{{job}} failed"),
        ),
        lines(
            "Write-ahead log",
            "",
            Unit.BYTES_PER_SECOND,
            Query(per("instance", "cnpg_collector_wal_bytes", _C), "{{instance}}"),
        ),
        lines(
            "Checkpoints",
            "On demand more often than in time: max_wal_size is too small.",
            Unit.PER_SECOND,
            Query(per("job", "cnpg_pg_stat_checkpointer_checkpoints_timed", _C), "{{job}} in time"),
            Query(per("job", "cnpg_pg_stat_checkpointer_checkpoints_req", _C), "{{job}} on demand"),
        ),
        lines(
            "Measuring failed",
            "Collectors of the exporter.",
            Unit.PER_SECOND,
            Query(per("collector", "cnpg_collector_collection_errors_total", _C), "{{collector}}"),
        ),
    ),
)

BOARD = Board(
    "postgresql-health",
    "PostgreSQL health",
    "Is the database there, whole, fast and archived?",
    (_NOW, _REPLICATION, _LOAD, _DISK),
    (Variable("cluster", "Cluster", "job", "cnpg_collector_up"),),
)
