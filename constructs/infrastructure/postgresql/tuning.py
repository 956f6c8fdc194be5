"""PostgreSQL's parameters for one instance of a given size."""

from kit.quantities import Bytes, Cpu, gib, mib

# A connection is a server process with caches of its own: memory that is taken for good, beside what its queries take.
_MEMORY_PER_CONNECTION = mib(5)


def parameters(memory: Bytes, cpu: Cpu, wal: Bytes, max_connections: int) -> dict[str, str]:
    """The `postgresql.conf` of an instance. Raises ValueError when its memory cannot hold its connections.

    A quarter of the memory is shared buffers, as PostgreSQL's documentation advises; `work_mem` divides what the buffers and
    the connections leave. The WAL volume is half for `max_wal_size` and, at most, a quarter for a replication slot that lags, so that
    neither can fill it.
    """
    shared = memory.count // 4
    left = memory.count - shared - max_connections * _MEMORY_PER_CONNECTION.count
    if left < mib(128).count:
        raise ValueError(
            f"{memory} of memory cannot hold {max_connections} connections beside {_size(shared)} of shared buffers: "
            "give the instance more memory or fewer connections"
        )
    maintenance = min(memory.count // 16, gib(2).count)
    workers = max(2, cpu.millicores // 1000)
    return {
        "max_connections": str(max_connections),
        "shared_buffers": _size(shared),
        "effective_cache_size": _size(memory.count * 3 // 4),
        "maintenance_work_mem": _size(maintenance),
        # A sort or hash of one query; few of the connections are in one at a time.
        "work_mem": _size(max(mib(4).count, min(mib(64).count, left // max_connections))),
        "max_wal_size": _size(wal.count // 2),
        "min_wal_size": _size(wal.count // 16),
        "max_slot_wal_keep_size": _size(wal.count // 4),
        "wal_keep_size": _size(wal.count // 16),
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "max_worker_processes": str(max(16, 2 * workers)),
        "max_parallel_workers": str(workers),
        "max_parallel_workers_per_gather": str(min(2, workers // 2)),
        # The session of a client whose machine vanished ends within a minute, with its locks; Linux alone would keep it for two hours.
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "60s",
        # Synapse's queries are many and short: compiling them costs more than it gains.
        "jit": "off",
        # Synapse updates a few tables (receipts, streams, device lists) all the time: clean them before they bloat.
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
        "autovacuum_vacuum_cost_limit": "1000",
        # For logical subscribers, whose slots must survive a failover (CloudNativePG refuses synchronizeLogicalDecoding without both).
        "hot_standby_feedback": "on",
        "sync_replication_slots": "on",
        "log_min_duration_statement": "1s",
        "log_lock_waits": "on",
        "log_autovacuum_min_duration": "10s",
        "log_temp_files": "64MB",
        "pg_stat_statements.max": "5000",
        "pg_stat_statements.track": "top",
    }


def _size(count: int) -> str:
    """In megabytes, as PostgreSQL and CloudNativePG's admission both read it."""
    return f"{count // mib(1).count}MB"
