"""Redis, by which Synapse's processes talk to each other: whether there is one primary, whom the proxies lead to, and whether it keeps up."""

from monitoring.grafana.board import Board, Query, Row, Unit, Variable, lines, number, table
from monitoring.grafana.promql import per, rate, top

_R = 'instance=~"$server"'
_PROXY = 'job="redis-proxy"'

_NOW = Row(
    "Now",
    (
        number("Servers", "That answer.", Unit.AMOUNT, "sum(redis_up)"),
        number(
            "Primaries",
            "One: none is an outage, two is a partition.",
            Unit.AMOUNT,
            'count(redis_instance_info{role="master"})',
            bounds=(2, 3),
        ),
        number("Replicas", "That follow the primary.", Unit.AMOUNT, "max(redis_connected_slaves)"),
        number(
            "Behind",
            "The replica that is furthest behind. Synapse keeps nothing in Redis that it could not ask for again.",
            Unit.SECONDS,
            "max(redis_connected_slave_lag_seconds)",
            bounds=(2, 10),
        ),
        number(
            "Sentinels that agree",
            "The fewest that any of them sees; a majority decides on a failover.",
            Unit.AMOUNT,
            "min(redis_sentinel_master_ok_sentinels)",
        ),
        number("Failovers", "Ever: it grows with each.", Unit.AMOUNT, "max(redis_sentinel_master_config_epoch)"),
    ),
)

_PROXIES = Row(
    "The way to it",
    (
        table(
            "Whom the proxies see as primary",
            "Each proxy leads to one server.",
            Unit.AMOUNT,
            Query(f'sum by (instance, server) (haproxy_server_status{{{_PROXY},state="UP"}})', "leads to it"),
        ),
        lines(
            "Connections through the proxies",
            "Each process of Synapse has two.",
            Unit.AMOUNT,
            Query(f"sum by (instance, proxy) (haproxy_backend_current_sessions{{{_PROXY}}})", "{{instance}} {{proxy}}"),
        ),
        lines(
            "Refused by the proxies",
            "While there is no primary, they hold new connections, and refuse what they cannot hold.",
            Unit.PER_SECOND,
            Query(per("proxy", "haproxy_backend_connection_errors_total", _PROXY), "{{proxy}}"),
        ),
        lines(
            "Redis takes, as Synapse sees it (99%)",
            "",
            Unit.SECONDS,
            Query(
                f"histogram_quantile(0.99, sum by (le, method) ({rate('synapse_external_cache_response_time_seconds_bucket')}))",
                "{{method}}",
            ),
            bounds=(0.01, 0.1),
        ),
    ),
)

_SERVERS = Row(
    "Servers",
    (
        lines("Commands", "", Unit.PER_SECOND, Query(rate("redis_commands_processed_total", _R), "{{instance}}")),
        lines(
            "Commands by name",
            "The ten most frequent.",
            Unit.PER_SECOND,
            Query(top(per("cmd", "redis_commands_total", _R)), "{{cmd}}"),
        ),
        lines(
            "Memory",
            "Of the most that it may use, where that is set.",
            Unit.BYTES,
            Query(f"redis_memory_used_bytes{{{_R}}}", "{{instance}}"),
            Query(f"redis_memory_max_bytes{{{_R}}} > 0 or 0 * redis_memory_max_bytes{{{_R}}}", "{{instance}} most"),
        ),
        lines("Connections", "", Unit.AMOUNT, Query(f"redis_connected_clients{{{_R}}}", "{{instance}}")),
        lines(
            "Followers that were cut off",
            "Their buffers were full: they did not keep up.",
            Unit.PER_SECOND,
            Query(rate("redis_client_output_buffer_limit_disconnections_total", _R), "{{instance}}"),
        ),
        lines(
            "Thrown out, and refused",
            "Entries for lack of memory, connections for lack of places.",
            Unit.PER_SECOND,
            Query(rate("redis_evicted_keys_total", _R), "{{instance}} thrown out"),
            Query(rate("redis_rejected_connections_total", _R), "{{instance}} refused"),
        ),
        lines("Keys", "", Unit.AMOUNT, Query(f"sum by (instance, db) (redis_db_keys{{{_R}}})", "{{instance}} {{db}}")),
        lines("Processor", "One core serves all commands.", Unit.SHARE, Query(rate("redis_cpu_user_seconds_total", _R), "{{instance}}")),
    ),
)

_SENTINELS = Row(
    "Sentinels",
    (
        table(
            "What each sees",
            "",
            Unit.AMOUNT,
            Query("sum by (instance) (redis_sentinel_master_ok_sentinels)", "Sentinels"),
            Query("sum by (instance) (redis_sentinel_master_ok_slaves)", "replicas"),
            Query("sum by (instance) (redis_sentinel_master_ckquorum_status)", "quorum"),
        ),
        lines(
            "In tilt",
            "The clock jumped, or the machine was too busy: it decides nothing meanwhile.",
            Unit.AMOUNT,
            Query("redis_sentinel_tilt", "{{instance}}"),
        ),
    ),
    folded=True,
)

BOARD = Board(
    "redis-health",
    "Redis health",
    "Can Synapse's processes talk to each other?",
    (_NOW, _PROXIES, _SERVERS, _SENTINELS),
    (Variable("server", "Server", "instance", 'redis_instance_info{redis_mode!="sentinel"}'),),
)
