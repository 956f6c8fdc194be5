"""What redis_exporter tells people of the servers and their Sentinels."""

from kit.monitoring import Alert, Severity

_SYNAPSE = ("SynapseReplicationDown", "EventsNotPersisted", "SendBudgetBurns", "SendBudgetBurnsFast")

ALERTS = (
    Alert(
        "RedisNoPrimary",
        'count by (namespace) (redis_instance_info{job="redis"})'
        ' unless on (namespace) count by (namespace) (redis_instance_info{job="redis",role="master"})',
        1,
        Severity.CRITICAL,
        "Redis has no primary: Synapse's processes hear nothing of each other, and no call can begin.",
        _SYNAPSE,
    ),
    Alert(
        "RedisQuorumLost",
        "max by (namespace) (redis_sentinel_master_ckquorum_status) < 1",
        2,
        Severity.CRITICAL,
        "The Sentinels of Redis are no majority: if its primary fails, nobody takes its place.",
    ),
    Alert(
        "RedisFailover",
        # A label has the primary's address, so that each primary is a series of its own.
        "changes((max by (namespace) (redis_sentinel_master_config_epoch))[15m:]) > 0",
        0,
        Severity.WARNING,
        "Redis has another primary since a quarter of an hour at most.",
    ),
    Alert(
        "RedisReplicaLags",
        "max by (namespace, slave_ip) (redis_connected_slave_lag_seconds) > 10 or max by (namespace, pod) (redis_master_link_up == bool 0) == 1",
        3,
        Severity.WARNING,
        "A replica of Redis does not follow its primary.",
    ),
    Alert(
        "RedisMemoryFull",
        "max by (namespace, pod) (redis_memory_used_bytes / (redis_memory_max_bytes > 0)) > 0.9",
        10,
        Severity.WARNING,
        "{{ $labels.pod }} uses {{ $value | humanizePercentage }} of the memory that it may: it drops what expires, caches first.",
    ),
)
