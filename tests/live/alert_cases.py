"""For each alert: series of metrics with which it is on, and others, close to them, with which it is not.

Values are in promtool's notation, a step between each two: `1x20` stays, `0+5x20` grows by 5 in each step. What is said of an alert is that it
is on at the end, and no other one unless `also` names it.
"""

from attrs import frozen

END = 30
"""Minutes of each case; longer where a case says so."""
_ANY = 'namespace="matrix"'


@frozen
class Case:
    """One alert. `fires`, `silent`: series to values. `also`: other alerts that are on with it. It takes `minutes`, in steps of `step`."""

    alert: str
    fires: dict[str, str]
    silent: dict[str, str]
    also: frozenset[str] = frozenset()
    minutes: int = END
    step: int = 1


def case(alert: str, fires: dict[str, str], silent: dict[str, str], *also: str, minutes: int = END, step: int = 1) -> Case:
    """A case; a value without a count is that one all the time."""
    steps = minutes // step
    return Case(alert, _whole(fires, steps), _whole(silent, steps), frozenset(also), minutes, step)


def _whole(series: dict[str, str], steps: int) -> dict[str, str]:
    return {name: value if "x" in value else f"{value}x{steps}" for name, value in series.items()}


def _of(metric: str, **labels: str) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in {"namespace": "matrix", **labels}.items())
    return f"{metric}{{{inside}}}"


def _li(metric: str, **labels: str) -> str:
    return _of(metric, **{"namespace": "matrix-li", "pod": "li-sync-0", **labels})


_SEND, _SYNC = {"servlet": "RoomSendEventRestServlet"}, {"servlet": "SyncRestServlet"}
_RECEIVED = "synapse_http_server_requests_received_total"
_IN_FLIGHT = "synapse_http_server_in_flight_requests_count"
_PERSISTED = "synapse_storage_events_persisted_events_total"
_COUNT, _BUCKET = (f"synapse_http_server_response_time_seconds_{series}" for series in ("count", "bucket"))
_EPOCH_DAYS = 86_400


def _sent(all_of_them: str, good: str) -> dict[str, str]:
    return {
        _of(_COUNT, **_SEND, code="200", pod="a"): all_of_them,
        _of(_BUCKET, **_SEND, code="200", le="1.0", pod="a"): good,
    }


def _synced(good: str, failed: str) -> dict[str, str]:
    return {_of(_COUNT, **_SYNC, code="200", pod="a"): good, _of(_COUNT, **_SYNC, code="503", pod="a"): failed}


def _overdue(task: str, minutes: int) -> Case:
    """The case of a task of li_sync that has been missed after so many minutes."""
    step = max(1, minutes // 15)
    until, success = (minutes + 8) // step * step + 3 * step, _li("li_sync_task_success_timestamp_seconds", task=task)
    return case("LiTaskOverdue", {success: "60"}, {success: f"{(until - minutes // 2) * 60}"}, minutes=until, step=step)


_PG = {"job": "postgresql-main"}
_BACKUPS = "barman_cloud_cloudnative_pg_io_"
_VOLUME = {"persistentvolumeclaim": "data-postgresql-main-1"}
_DISK = {"node": "a", "mountpoint": "/node-disk"}
_CERTIFICATE = {"name": "matrix-tls"}


def _healthy_database(standby_receives: str = "1") -> dict[str, str]:
    return {
        _of("cnpg_pg_replication_in_recovery", **_PG, pod="a"): "0",
        _of("cnpg_pg_replication_in_recovery", **_PG, pod="b"): "1",
        _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="a"): "0",
        _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="b"): standby_receives,
    }


CASES = (
    # -- Synapse
    case(
        "SynapseReplicationDown",
        {_of("synapse_replication_tcp_resource_total_connections", pod="pusher-0", job="pusher"): "0"},
        {_of("synapse_replication_tcp_resource_total_connections", pod="pusher-0", job="pusher"): "1"},
    ),
    case(
        "WorkerQueueBacklog",
        {_of("synapse_replication_tcp_command_queue", pod="a", stream_name="events"): "2000"},
        {_of("synapse_replication_tcp_command_queue", pod="a", stream_name="events"): "900"},
    ),
    case(
        "EventsNotPersisted",
        {_of(_RECEIVED, **_SEND, pod="a"): "0+60x30", _of(_PERSISTED, pod="b"): "500"},
        {_of(_RECEIVED, **_SEND, pod="a"): "0+60x30", _of(_PERSISTED, pod="b"): "0+1x30"},
    ),
    case(
        "EventsNotPersisted",
        # The last one who sends waits for an answer.
        {_of(_RECEIVED, **_SEND, pod="a"): "60", _of(_IN_FLIGHT, **_SEND, pod="a"): "1", _of(_PERSISTED, pod="b"): "500"},
        {_of(_RECEIVED, **_SEND, pod="a"): "60", _of(_IN_FLIGHT, **_SYNC, pod="a"): "1", _of(_PERSISTED, pod="b"): "500"},
    ),
    case(
        "FederationLag",
        {
            _of("synapse_event_persisted_position", pod="a"): "9000",
            _of("synapse_event_processing_positions", pod="b", name="federation_sender"): "7000",
        },
        {
            _of("synapse_event_persisted_position", pod="a"): "9000",
            _of("synapse_event_processing_positions", pod="b", name="federation_sender"): "8500",
            _of("synapse_event_processing_positions", pod="b", name="stats"): "1",
        },
    ),
    case(
        "DatabasePoolExhausted",
        {
            _of("synapse_storage_schedule_time_bucket", job="a", le="0.5"): "0+10x30",
            _of("synapse_storage_schedule_time_bucket", job="a", le="1.0"): "0+50x30",
            _of("synapse_storage_schedule_time_bucket", job="a", le="+Inf"): "0+60x30",
        },
        {
            _of("synapse_storage_schedule_time_bucket", job="a", le="0.5"): "0+59x30",
            _of("synapse_storage_schedule_time_bucket", job="a", le="1.0"): "0+60x30",
            _of("synapse_storage_schedule_time_bucket", job="a", le="+Inf"): "0+60x30",
        },
    ),
    case(
        "ReactorSaturated",
        {_of("python_twisted_reactor_tick_time_sum", job="a", pod="a-0"): "0+58x30"},
        {_of("python_twisted_reactor_tick_time_sum", job="a", pod="a-0"): "0+48x30"},
    ),
    case(
        "HomeserverErrors",
        {
            _of("synapse_http_server_responses_total", code="200", pod="a"): "0+90x30",
            _of("synapse_http_server_responses_total", code="500", pod="a"): "0+10x30",
        },
        {
            _of("synapse_http_server_responses_total", code="200", pod="a"): "0+90x30",
            _of("synapse_http_server_responses_total", code="403", pod="a"): "0+10x30",
            _of("synapse_http_server_responses_total", code="500", pod="a"): "0+1x30",
        },
    ),
    case(
        "BackgroundUpdateAborted",
        {_of("synapse_background_update_status", database_name="master", pod="a"): "-1"},
        {
            _of("synapse_background_update_status", database_name="master", pod="a"): "2",
            _of("synapse_background_update_status", database_name="master", pod="b"): "1",
        },
    ),
    case(
        "SendBudgetBurnsFast",
        _sent("0+100x90", "0+90x90"),
        # What was bad an hour ago and is good now.
        _sent("0+100x90", "0+90x30 2800+100x60"),
        "SendBudgetBurns",
        minutes=90,
    ),
    case("SendBudgetBurns", _sent("0+100x80", "0+96x80"), _sent("0+100x80", "0+98x80"), minutes=400, step=5),
    case("SyncBudgetBurnsFast", _synced("0+90x90", "0+10x90"), _synced("0+99x90", "0+1x90"), "SyncBudgetBurns", minutes=90),
    case("SyncBudgetBurns", _synced("0+96x80", "0+4x80"), _synced("0+98x80", "0+2x80"), minutes=400, step=5),
    # -- HAProxy
    case(
        "HAProxyBackendDown",
        {
            _of("haproxy_backend_active_servers", job="haproxy", proxy="pusher", pod="a"): "0",
            _of("haproxy_backend_active_servers", job="haproxy", proxy="pusher", pod="b"): "0",
        },
        {
            _of("haproxy_backend_active_servers", job="haproxy", proxy="pusher", pod="a"): "0",
            _of("haproxy_backend_active_servers", job="haproxy", proxy="pusher", pod="b"): "1",
            # The proxy of Redis has backends of its own ways.
            _of("haproxy_backend_active_servers", job="redis-proxy", proxy="votes", pod="c"): "0",
        },
    ),
    case(
        "HAProxyQueue",
        {_of("haproxy_backend_current_queue", job="haproxy", proxy="a", pod=pod): "15" for pod in "ab"},
        {_of("haproxy_backend_current_queue", job="haproxy", proxy="a", pod="a"): "15"},
    ),
    # -- Redis
    case(
        "RedisNoPrimary",
        {
            _of("redis_instance_info", job="redis", role="slave", pod="a"): "1",
            _of("redis_instance_info", job="redis", role="slave", pod="b"): "1",
        },
        {
            _of("redis_instance_info", job="redis", role="master", pod="a"): "1",
            _of("redis_instance_info", job="redis", role="slave", pod="b"): "1",
        },
    ),
    case(
        "RedisQuorumLost",
        {_of("redis_sentinel_master_ckquorum_status", pod=pod, master_name="primary"): "0" for pod in "abc"},
        {
            _of("redis_sentinel_master_ckquorum_status", pod="a", master_name="primary"): "0",
            _of("redis_sentinel_master_ckquorum_status", pod="b", master_name="primary"): "1",
        },
    ),
    case(
        "RedisFailover",
        {
            _of("redis_sentinel_master_config_epoch", pod="a", master_address="10.0.0.1:6379"): "1x20 stale",
            _of("redis_sentinel_master_config_epoch", pod="a", master_address="10.0.0.2:6379"): "_x20 2x10",
        },
        {
            _of("redis_sentinel_master_config_epoch", pod="a", master_address="10.0.0.1:6379"): "1x5 stale",
            _of("redis_sentinel_master_config_epoch", pod="a", master_address="10.0.0.2:6379"): "_x5 2x25",
        },
    ),
    case(
        "RedisReplicaLags",
        {_of("redis_connected_slave_lag_seconds", pod="a", slave_ip="10.0.0.2"): "20"},
        {_of("redis_connected_slave_lag_seconds", pod="a", slave_ip="10.0.0.2"): "1", _of("redis_master_link_up", pod="b"): "1"},
    ),
    case(
        "RedisReplicaLags",
        {_of("redis_master_link_up", pod="b"): "0"},
        # A moment, when the primary has changed.
        {_of("redis_master_link_up", pod="b"): "1x20 0x2 1x8"},
    ),
    case(
        "RedisMemoryFull",
        {_of("redis_memory_used_bytes", pod="a"): "95", _of("redis_memory_max_bytes", pod="a"): "100"},
        {
            _of("redis_memory_used_bytes", pod="a"): "80",
            _of("redis_memory_max_bytes", pod="a"): "100",
            # Sentinel has no limit.
            _of("redis_memory_used_bytes", pod="b"): "80",
            _of("redis_memory_max_bytes", pod="b"): "0",
        },
    ),
    # -- PostgreSQL
    case(
        "DatabaseNoPrimary",
        {
            _of("cnpg_pg_replication_in_recovery", **_PG, pod="a"): "1",
            _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="a"): "1",
            _of("cnpg_pg_replication_in_recovery", **_PG, pod="b"): "1",
            _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="b"): "1",
        },
        _healthy_database(),
    ),
    case(
        "DatabaseFailover",
        {
            _of("cnpg_pg_replication_in_recovery", **_PG, pod="a"): "0x20 1x10",
            _of("cnpg_pg_replication_in_recovery", **_PG, pod="b"): "1x20 0x10",
            _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="a"): "0x20 1x10",
            _of("cnpg_pg_replication_is_wal_receiver_up", **_PG, pod="b"): "1x20 0x10",
        },
        _healthy_database(),
    ),
    case("DatabaseStandbyMissing", _healthy_database("0"), _healthy_database()),
    case(
        "DatabaseReplicationLag",
        {_of("cnpg_pg_replication_lag", **_PG, pod="b"): "9"},
        {_of("cnpg_pg_replication_lag", **_PG, pod="b"): "2"},
    ),
    case(
        "DatabaseConnectionsFull",
        {
            _of("cnpg_backends_total", **_PG, pod="a", usename="synapse", state="idle"): "95",
            _of("cnpg_backends_total", **_PG, pod="a", usename="synapse", state="active"): "70",
            _of("cnpg_pg_settings_setting", **_PG, pod="a", name="max_connections"): "180",
        },
        {
            _of("cnpg_backends_total", **_PG, pod="a", usename="synapse", state="idle"): "95",
            _of("cnpg_pg_settings_setting", **_PG, pod="a", name="max_connections"): "180",
            _of("cnpg_pg_settings_setting", **_PG, pod="a", name="max_wal_senders"): "10",
        },
    ),
    case(
        "ArchiveRefused",
        {
            _of("cnpg_pg_stat_archiver_last_failed_time", **_PG, pod="a"): "900",
            _of("cnpg_pg_stat_archiver_last_archived_time", **_PG, pod="a"): "600",
        },
        {
            _of("cnpg_pg_stat_archiver_last_failed_time", **_PG, pod="a"): "900",
            _of("cnpg_pg_stat_archiver_last_archived_time", **_PG, pod="a"): "1200",
        },
    ),
    case(
        "BackupStale",
        {_of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="a"): "60"},
        # Each instance says what it knows: the newest counts.
        {
            _of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="a"): "60",
            _of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="b"): "600000",
        },
        minutes=8 * 24 * 60,
        step=30,
    ),
    case(
        "BackupFailed",
        {
            _of(f"{_BACKUPS}last_failed_backup_timestamp", **_PG, pod="a"): "900",
            _of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="a"): "0",
        },
        # It has been made up for, as another instance knows already.
        {
            _of(f"{_BACKUPS}last_failed_backup_timestamp", **_PG, pod="a"): "900",
            _of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="a"): "0",
            _of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="b"): "1000",
        },
    ),
    case(
        "BackupUnknown",
        _healthy_database(),
        _healthy_database() | {_of(f"{_BACKUPS}last_available_backup_timestamp", **_PG, pod="b"): "60"},
        minutes=240,
        step=30,
    ),
    case(
        "SlotLag",
        {_of("cnpg_pg_replication_slots_pg_wal_lsn_diff", **_PG, pod="a", slot_name="li", slot_type="logical"): "2000000000"},
        {
            _of("cnpg_pg_replication_slots_pg_wal_lsn_diff", **_PG, pod="a", slot_name="li", slot_type="logical"): "20000000",
            _of("cnpg_pg_replication_slots_pg_wal_lsn_diff", **_PG, pod="a", slot_name="b", slot_type="physical"): "2000000000",
        },
    ),
    case(
        "TransactionIdsRunOut",
        {_of("cnpg_pg_database_xid_age", **_PG, pod="a", datname="synapse"): "1500000000"},
        {_of("cnpg_pg_database_xid_age", **_PG, pod="a", datname="synapse"): "200000000"},
        minutes=70,
    ),
    # -- object storage
    case(
        "ObjectStorageUnhealthy",
        {_of("minio_cluster_health_status", job="minio-main", pod=pod): "0" for pod in "ab"},
        {_of("minio_cluster_health_status", job="minio-main", pod="a"): "1"},
    ),
    case(
        "ObjectStorageNodesOffline",
        {_of("minio_cluster_nodes_offline_total", job="minio-main", pod="a"): "1"},
        {_of("minio_cluster_nodes_offline_total", job="minio-main", pod="a"): "0"},
    ),
    case(
        "ObjectStorageDrivesOffline",
        {_of("minio_cluster_drive_offline_total", job="minio-main", pod="a"): "2"},
        {_of("minio_cluster_drive_offline_total", job="minio-main", pod="a"): "0"},
    ),
    case(
        "ObjectStorageFull",
        {
            _of("minio_cluster_capacity_usable_free_bytes", job="minio-main", pod="a"): "10",
            _of("minio_cluster_capacity_usable_total_bytes", job="minio-main", pod="a"): "100",
        },
        {
            _of("minio_cluster_capacity_usable_free_bytes", job="minio-main", pod="a"): "20",
            _of("minio_cluster_capacity_usable_total_bytes", job="minio-main", pod="a"): "100",
        },
    ),
    # -- the antivirus
    case(
        "ObjectStorageRefuses",
        # Every server tells of all.
        {_of("minio_s3_requests_4xx_errors_total", job="minio-main", pod=pod, server="a", api="putobject"): "0+3x30" for pod in ("a", "b")},
        # A file that is not there is none of it, and now and then somebody writes what is there already.
        {
            _of("minio_s3_requests_4xx_errors_total", job="minio-main", pod="a", server="a", api="getobject"): "0+60x30",
            _of("minio_s3_requests_4xx_errors_total", job="minio-main", pod="a", server="a", api="putobject"): "0+1x30",
        },
    ),
    case(
        "ScanEngineDown",
        {_of("scan_worker_engine_up", engine="clamav", address=f"10.0.0.{n}", pod="a"): "0" for n in (1, 2)},
        {
            _of("scan_worker_engine_up", engine="clamav", address="10.0.0.1", pod="a"): "0",
            _of("scan_worker_engine_up", engine="clamav", address="10.0.0.2", pod="a"): "1",
        },
    ),
    case(
        "ScansFail",
        {_of("scan_worker_engine_errors_total", engine="clamav", trouble="silent", pod="a"): "0+2x30"},
        {_of("scan_worker_engine_errors_total", engine="clamav", trouble="silent", pod="a"): "0+2x5 10x24"},
    ),
    case(
        "SignaturesOld",
        {_of("scan_worker_signatures_published_seconds", engine="clamav", pod="a"): "0"},
        {_of("scan_worker_signatures_published_seconds", engine="clamav", pod="a"): f"{3 * _EPOCH_DAYS}"},
        minutes=4 * 24 * 60,
        step=30,
    ),
    case(
        "InfectedFiles",
        {_of("scan_worker_files_total", verdict="infected", source="scan", pod="a"): "0x10 1x20"},
        {_of("scan_worker_files_total", verdict="clean", source="scan", pod="a"): "0x10 1x20"},
    ),
    # -- lawful interception
    case("LiSlotLost", {_li("li_sync_slot_lost"): "1"}, {_li("li_sync_slot_lost"): "0"}),
    case(
        "LiSlotFills",
        {_li("li_sync_slot_kept_bytes"): "6000", _li("li_sync_slot_safe_bytes"): "4000"},
        {
            _li("li_sync_slot_kept_bytes"): "4000",
            _li("li_sync_slot_safe_bytes"): "6000",
            # Nothing is kept of a slot that is lost: another alert says that.
            _li("li_sync_slot_kept_bytes", pod="b"): "6000",
            _li("li_sync_slot_safe_bytes", pod="b"): "-1",
        },
    ),
    case(
        "LiConflict",
        {_li("li_sync_subscription_errors_total", kind="conflict"): "0x10 1x20"},
        {
            _li("li_sync_subscription_errors_total", kind="conflict"): "1",
            _li("li_sync_subscription_errors_total", kind="apply"): "0x10 1x20",
        },
    ),
    case(
        "LiReplicationOff",
        {_li("li_sync_subscription_enabled"): "1", _li("li_sync_subscription_working"): "0"},
        {_li("li_sync_subscription_enabled"): "1", _li("li_sync_subscription_working"): "1"},
    ),
    case(
        "LiReplicationOff",
        # Somebody has switched it off while its process still ends.
        {_li("li_sync_subscription_enabled"): "0", _li("li_sync_subscription_working"): "1"},
        # Off for a moment after main has restarted.
        {_li("li_sync_subscription_enabled"): "1x25 0x2 1x3", _li("li_sync_subscription_working"): "1x25 0x2 1x3"},
    ),
    case(
        "LiDatabaseUnreachable",
        {_li("li_sync_up_li_database"): "1", _li("li_sync_up_main_database"): "0"},
        {_li("li_sync_up_li_database"): "1", _li("li_sync_up_main_database"): "1"},
    ),
    case(
        "LiDatabaseUnreachable",
        {_li("li_sync_up_li_database"): "0", _li("li_sync_up_main_database"): "1"},
        {_li("li_sync_up_li_database"): "0x3 1x27", _li("li_sync_up_main_database"): "1"},
    ),
    case(
        "LiFeederStopped",
        {_li("li_follow_last_poll_timestamp_seconds"): "600"},
        {_li("li_follow_last_poll_timestamp_seconds"): "0+60x30"},
    ),
    case("LiNobodyListens", {_li("li_follow_receivers"): "0"}, {_li("li_follow_receivers"): "1x20 0x5 1x5"}),
    case(
        "LiApplyErrors",
        {
            _li("li_sync_subscription_errors_total", kind="apply"): "0x10 5x20",
            _li("li_sync_subscription_errors_total", kind="copy"): "0x10 5x20",
        },
        {_li("li_sync_subscription_errors_total", kind="apply"): "0x10 3x20"},
    ),
    case("LiBehind", {_li("li_sync_slot_lag_bytes"): "90000000"}, {_li("li_sync_slot_lag_bytes"): "9000000"}),
    case("LiTaskFails", {_li("li_sync_task_failed", task="verify"): "1"}, {_li("li_sync_task_failed", task="verify"): "0x10 1x10 0x10"}),
    case(
        "LiTaskOverdue",
        {_li("li_sync_task_success_timestamp_seconds", task="watch"): "60"},
        {
            _li("li_sync_task_success_timestamp_seconds", task="watch"): "0+60x60",
            _li("li_sync_task_success_timestamp_seconds", task="prepare"): "60",
            # It comes when somebody wants it.
            _li("li_sync_task_success_timestamp_seconds", task="rebuild"): "60",
        },
        minutes=60,
    ),
    *(_overdue(task, minutes) for task, minutes in (("prepare", 240), ("verify", 30), ("mirror_new_media", 15), ("mirror_media", 240))),
    _overdue("refresh", 27 * 60),
    case("LiUnknownStreams", {_li("li_follow_unknown_streams"): "1"}, {_li("li_follow_unknown_streams"): "0"}),
    case(
        "LiProxyBackendDown",
        {_li("haproxy_backend_active_servers", job="li-proxy", proxy="synapse", pod=pod): "0" for pod in "ab"},
        {
            _li("haproxy_backend_active_servers", job="li-proxy", proxy="synapse", pod="a"): "0",
            _li("haproxy_backend_active_servers", job="li-proxy", proxy="synapse", pod="b"): "1",
        },
    ),
    case(
        "KeyVaultDown",
        {_of("up", job="key-vault", instance=pod): "0" for pod in "ab"},
        # Of two processes one is updated.
        {_of("up", job="key-vault", instance="a"): "0x3 1x27", _of("up", job="key-vault", instance="b"): "1"},
        "TargetDown",
    ),
    case(
        "KeyVaultNoDatabase",
        {_of("key_vault_database_up", pod=pod): "0" for pod in "ab"},
        {_of("key_vault_database_up", pod="a"): "0", _of("key_vault_database_up", pod="b"): "1"},
    ),
    case(
        "KeyVaultLogShrank",
        {_of("key_vault_audit_head", pod=pod): "9x10 4x20" for pod in "ab"},
        # Of two processes one was asked before the newest entry was written, and has gone since.
        {_of("key_vault_audit_head", pod="a"): "8x20 stale", _of("key_vault_audit_head", pod="b"): "9x30"},
    ),
    case(
        "KeyVaultStranger",
        {_of("key_vault_operations_total", operation="officer.unknown", outcome="unknown-officer", pod="a"): "0x10 1x20"},
        {_of("key_vault_operations_total", operation="access.allowed", outcome="no-open-case", pod="a"): "0x10 1x20"},
    ),
    case(
        "KeyVaultUntrustedRequests",
        {_of("key_vault_untrusted_requests_total", listener="access", pod="a"): "0x10 1x20"},
        {_of("key_vault_untrusted_requests_total", listener="access", pod="a"): "1"},
    ),
    case(
        "KeyVaultKeysRefused",
        {_of("key_vault_deposits_total", outcome="refused", pod="a"): "0x10 1x20"},
        {_of("key_vault_deposits_total", outcome="stored", pod="a"): "0x10 1x20"},
    ),
    case(
        "KeyVaultErrors",
        {_of("key_vault_request_seconds_count", listener="access", status="503", pod="a"): "0+1x30"},
        {
            _of("key_vault_request_seconds_count", listener="access", status="403", pod="a"): "0+1x30",
            # Readiness while the database is away.
            _of("key_vault_request_seconds_count", listener="metrics", status="503", pod="a"): "0+1x30",
        },
        minutes=40,
    ),
    # -- calls and push
    case(
        "LiveKitNodeDown",
        {'up{namespace="matrix-rtc",job="livekit",instance="livekit-0",pod="livekit-0",node="a"}': "0"},
        {'up{namespace="matrix-rtc",job="livekit",instance="livekit-0",pod="livekit-0",node="a"}': "1"},
        "TargetDown",
    ),
    case(
        "TurnQuotaUsed",
        {_of("turn_total_allocations", pod="a", type="UDP"): "40", _of("turn_total_allocations", pod="a", type="TCP"): "15"},
        {_of("turn_total_allocations", pod="a", type="UDP"): "40", _of("turn_total_allocations", pod="b", type="UDP"): "40"},
    ),
    case(
        "PushRefused",
        {
            _of("sygnal_pushgateway_status_codes_total", pod="a", code="200"): "0+6x40",
            _of("sygnal_pushgateway_status_codes_total", pod="a", code="502"): "0+4x40",
        },
        {
            _of("sygnal_pushgateway_status_codes_total", pod="a", code="200"): "0+9x40",
            _of("sygnal_pushgateway_status_codes_total", pod="a", code="502"): "0+1x40",
        },
        minutes=40,
    ),
    # -- what the cluster says
    case(
        "TargetDown",
        {_of("up", job="sygnal", instance="sygnal-0"): "0"},
        {_of("up", job="sygnal", instance="sygnal-0"): "1x26 0x4"},
    ),
    case(
        "WorkloadGone",
        {_of("up", job="haproxy", instance=pod): "1x20 stale" for pod in "ab"},
        {
            # Of two one is elsewhere now.
            _of("up", job="haproxy", instance="a"): "1x20 stale",
            _of("up", job="haproxy", instance="b"): "1x60",
            # A program of others.
            _of("up", job="theirs", instance="c"): "1x20 stale",
        },
        minutes=60,
    ),
    case(
        "PodCrashLoops",
        {_of("kube_pod_container_status_restarts_total", pod="a", container="b"): "0+1x30"},
        {_of("kube_pod_container_status_restarts_total", pod="a", container="b"): "0x20 1x10"},
    ),
    case(
        "WorkloadIncomplete",
        {
            _of("kube_deployment_status_replicas_ready", deployment="haproxy"): "1",
            _of("kube_deployment_spec_replicas", deployment="haproxy"): "2",
        },
        {
            _of("kube_statefulset_status_replicas_ready", statefulset="pusher"): "0x5 1x25",
            _of("kube_statefulset_replicas", statefulset="pusher"): "1",
            _of("kube_daemonset_status_number_ready", daemonset="coturn"): "0",
            _of("kube_daemonset_status_desired_number_scheduled", daemonset="coturn"): "0",
        },
    ),
    case(
        "WorkloadIncomplete",
        {
            _of("kube_statefulset_status_replicas_ready", statefulset="pusher"): "0",
            _of("kube_statefulset_replicas", statefulset="pusher"): "1",
        },
        # Somebody has taken it away.
        {
            _of("kube_deployment_status_replicas_ready", deployment="element-web"): "0",
            _of("kube_deployment_spec_replicas", deployment="element-web"): "0",
        },
    ),
    case(
        "WorkloadIncomplete",
        {
            _of("kube_daemonset_status_number_ready", daemonset="coturn"): "2",
            _of("kube_daemonset_status_desired_number_scheduled", daemonset="coturn"): "3",
        },
        # A node is new.
        {
            _of("kube_daemonset_status_number_ready", daemonset="coturn"): "2",
            _of("kube_daemonset_status_desired_number_scheduled", daemonset="coturn"): "2x20 3x10",
        },
    ),
    case(
        "JobFailed",
        {_of("kube_job_failed", job_name="migration", condition="true"): "1"},
        {_of("kube_job_failed", job_name="migration", condition="false"): "1"},
    ),
    case(
        "VolumeFull",
        {
            _of("kubelet_volume_stats_available_bytes", **_VOLUME, node="a"): "5",
            _of("kubelet_volume_stats_capacity_bytes", **_VOLUME, node="a"): "100",
        },
        {
            _of("kubelet_volume_stats_available_bytes", **_VOLUME, node="a"): "20",
            _of("kubelet_volume_stats_capacity_bytes", **_VOLUME, node="a"): "100",
        },
    ),
    case(
        "VolumeFillsUp",
        {
            # A hundredth of it in an hour: three days and a half are left.
            _of("kubelet_volume_stats_available_bytes", **_VOLUME, node="a"): "32000000-40000x100",
            _of("kubelet_volume_stats_capacity_bytes", **_VOLUME, node="a"): "100000000x100",
        },
        {
            _of("kubelet_volume_stats_available_bytes", **_VOLUME, node="a"): "32000000-4000x100",
            _of("kubelet_volume_stats_capacity_bytes", **_VOLUME, node="a"): "100000000x100",
        },
        minutes=500,
        step=5,
    ),
    case(
        "CertificateExpires",
        {_of("certmanager_certificate_expiration_timestamp_seconds", **_CERTIFICATE): f"{9 * _EPOCH_DAYS}"},
        {_of("certmanager_certificate_expiration_timestamp_seconds", **_CERTIFICATE): f"{20 * _EPOCH_DAYS}"},
        minutes=90,
    ),
    case(
        "CertificateNotReady",
        {
            _of("certmanager_certificate_ready_status", **_CERTIFICATE, condition="False"): "1",
            _of("certmanager_certificate_ready_status", **_CERTIFICATE, condition="True"): "0",
        },
        {
            _of("certmanager_certificate_ready_status", **_CERTIFICATE, condition="False"): "0",
            _of("certmanager_certificate_ready_status", **_CERTIFICATE, condition="True"): "1",
        },
        minutes=40,
    ),
    # -- what watches the rest
    case(
        "RulesFail",
        {_of("prometheus_rule_evaluation_failures_total", pod="prometheus-0", rule_group="a"): "0+1x30"},
        {_of("prometheus_rule_evaluation_failures_total", pod="prometheus-0", rule_group="a"): "3"},
    ),
    case(
        "AlertsNotDelivered",
        {_of("alertmanager_notifications_failed_total", pod="a", integration="email", reason="other"): "0+1x30"},
        {_of("alertmanager_notifications_failed_total", pod="a", integration="email", reason="other"): "3"},
    ),
    case(
        "AlertmanagerUnreachable",
        {_of("prometheus_notifications_dropped_total", pod="prometheus-0"): "0+1x30"},
        {_of("prometheus_notifications_dropped_total", pod="prometheus-0"): "3"},
    ),
    case(
        "NodeDiskFull",
        {_of("node_filesystem_avail_bytes", **_DISK): "5", _of("node_filesystem_size_bytes", **_DISK): "100"},
        {_of("node_filesystem_avail_bytes", **_DISK): "30", _of("node_filesystem_size_bytes", **_DISK): "100"},
    ),
    case(
        "NodeMemoryFull",
        {_of("node_memory_MemAvailable_bytes", node="a"): "3", _of("node_memory_MemTotal_bytes", node="a"): "100"},
        {_of("node_memory_MemAvailable_bytes", node="a"): "10", _of("node_memory_MemTotal_bytes", node="a"): "100"},
    ),
)
