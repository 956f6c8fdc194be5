"""What is stored, what the database takes, and what is remembered so that it is not asked."""

from monitoring.grafana.board import Query, Row, Unit, heat, lines
from monitoring.grafana.dashboards.synapse import ACCEPTED, ANSWERS, CHOSEN, PROCESS, SENDING
from monitoring.grafana.promql import average, less, per, quantile, quantiles, series, share, top, total

_STORED = "synapse_storage_events_persisted_events_sep_total"
_POOL = 'name="database-master"'
_IN_USE = share(series("synapse_threadpool_working_threads", CHOSEN, _POOL), series("synapse_threadpool_max_threads", CHOSEN, _POOL))
_TRANSACTIONS = "synapse_storage_transaction_time"
_CACHE, _RESPONSE_CACHE, _REDIS = "synapse_util_caches_cache", "synapse_util_caches_response_cache", "synapse_external_cache"

EVENTS = Row(
    "Events",
    (
        heat("Sending, with what was refused", "", Unit.SECONDS, per("le", f"{ANSWERS}_bucket", CHOSEN, SENDING)),
        lines(
            "Stored, by process",
            "Event persisters should have about the same.",
            Unit.PER_SECOND,
            Query(per("job, index", "synapse_storage_events_persisted_events_total", CHOSEN), PROCESS),
        ),
        lines(
            "Stored, by origin",
            "Local users or other servers.",
            Unit.PER_SECOND,
            Query(per("origin_type", _STORED, CHOSEN), "{{origin_type}}"),
        ),
        lines("Stored, by type", "", Unit.PER_SECOND, Query(top(per("type", _STORED, CHOSEN)), "{{type}}")),
        lines(
            "Joins and leaves",
            "The dearest of events.",
            Unit.PER_SECOND,
            Query(per("origin_type", _STORED, CHOSEN, 'type="m.room.member"'), "{{origin_type}}"),
        ),
        lines(
            "Sending, by worker (95%)",
            "Whether one is slower than the rest.",
            Unit.SECONDS,
            Query(quantile(0.95, "job, index", ANSWERS, CHOSEN, SENDING, ACCEPTED), PROCESS),
        ),
        lines(
            "State resolution of the worst room",
            "Seconds in a second: near 1, one room keeps a persister busy.",
            Unit.SHARE,
            Query(total("synapse_state_res_cpu_for_biggest_room_seconds_total", CHOSEN), "processor"),
            Query(total("synapse_state_res_db_for_biggest_room_seconds_total", CHOSEN), "database"),
            bounds=(0.3, 0.8),
        ),
    ),
    upstream=("Event persistence",),
    folded=True,
)

DATABASE = Row(
    "Database, as Synapse sees it",
    (
        lines(
            "Waiting for a connection",
            "Of the process's own pool.",
            Unit.SECONDS,
            *quantiles("synapse_storage_schedule_time", CHOSEN),
            bounds=(0.05, 0.5),
        ),
        lines(
            "Waiting for a connection, by worker",
            "Average.",
            Unit.SECONDS,
            Query(average("job", "synapse_storage_schedule_time", CHOSEN), "{{job}}"),
        ),
        lines("Queries take (95%)", "", Unit.SECONDS, Query(quantile(0.95, "verb", "synapse_storage_query_time", CHOSEN), "{{verb}}")),
        lines("Queries", "", Unit.PER_SECOND, Query(per("verb", "synapse_storage_query_time_count", CHOSEN), "{{verb}}")),
        lines(
            "Most frequent transactions", "", Unit.PER_SECOND, Query(top(per("desc", f"{_TRANSACTIONS}_count_total", CHOSEN)), "{{desc}}")
        ),
        lines(
            "Dearest transactions",
            "Seconds of a connection in a second.",
            Unit.SHARE,
            Query(top(per("desc", f"{_TRANSACTIONS}_sum_total", CHOSEN)), "{{desc}}"),
        ),
        lines(
            "Longest transactions",
            "Average.",
            Unit.SECONDS,
            Query(
                top(share(per("desc", f"{_TRANSACTIONS}_sum_total", CHOSEN), per("desc", f"{_TRANSACTIONS}_count_total", CHOSEN))),
                "{{desc}}",
            ),
        ),
        lines(
            "Pool",
            "Connections in use, of those that a process may have.",
            Unit.SHARE,
            Query(f"max by (job) ({_IN_USE})", "{{job}}"),
            bounds=(0.7, 0.95),
        ),
    ),
    upstream=("Database",),
    folded=True,
)

CACHES = Row(
    "Caches",
    (
        lines(
            "Worst hit ratios",
            "Of caches that are asked at all. A larger cache factor helps those that are full.",
            Unit.SHARE,
            Query(f"bottomk(10, {share(per('name', f'{_CACHE}_hits', CHOSEN), per('name', _CACHE, CHOSEN))})", "{{name}}"),
        ),
        lines(
            "Misses",
            "Each is a query.",
            Unit.PER_SECOND,
            Query(top(less(per("name", _CACHE, CHOSEN), per("name", f"{_CACHE}_hits", CHOSEN))), "{{name}}"),
        ),
        lines("Asked", "", Unit.PER_SECOND, Query(top(per("name", _CACHE, CHOSEN)), "{{name}}")),
        lines("Entries", "", Unit.AMOUNT, Query(top(f"sum by (name) ({series(f'{_CACHE}_size', CHOSEN)})"), "{{name}}")),
        lines(
            "Put out",
            "size: the cache is too small. time, invalidation: as it should be.",
            Unit.PER_SECOND,
            Query(top(per("name, reason", f"{_CACHE}_evicted_size", CHOSEN)), "{{name}} {{reason}}"),
        ),
        lines(
            "Shared answers: entries",
            "Like requests of one moment share an answer.",
            Unit.AMOUNT,
            Query(f"sum by (name) ({series(f'{_RESPONSE_CACHE}_size', CHOSEN)})", "{{name}}"),
        ),
        lines(
            "Shared answers: asked",
            "",
            Unit.PER_SECOND,
            Query(per("name", _RESPONSE_CACHE, CHOSEN), "{{name}}"),
            Query(per("name", f"{_RESPONSE_CACHE}_hits", CHOSEN), "{{name}} found"),
        ),
    ),
    upstream=("Caches", "Response caches"),
    folded=True,
)

CACHE_IN_REDIS = Row(
    "Cache in Redis",
    (
        lines("Asked", "", Unit.PER_SECOND, Query(per("cache_name, hit", f"{_REDIS}_get_total", CHOSEN), "{{cache_name}} found: {{hit}}")),
        lines("Stored", "", Unit.PER_SECOND, Query(per("cache_name", f"{_REDIS}_set_total", CHOSEN), "{{cache_name}}")),
        heat("Redis takes", "", Unit.SECONDS, per("le", f"{_REDIS}_response_time_seconds_bucket", CHOSEN)),
        lines(
            "Redis takes (99%)",
            "",
            Unit.SECONDS,
            Query(quantile(0.99, "method", f"{_REDIS}_response_time_seconds", CHOSEN), "{{method}}"),
            bounds=(0.01, 0.1),
        ),
    ),
    upstream=("External Cache",),
    folded=True,
)

EXTREMITIES = Row(
    "Ends of rooms",
    (
        lines(
            "Rooms by their ends",
            "A room with more than a few is dear: each event has to resolve their states.",
            Unit.AMOUNT,
            Query(f"max by (le) ({series('synapse_forward_extremities_bucket', CHOSEN)})", "at most {{le}}"),
        ),
        lines(
            "Ends of rooms that are written to",
            "",
            Unit.AMOUNT,
            *quantiles("synapse_storage_events_forward_extremities_persisted", CHOSEN),
        ),
        lines(
            "Old ends of rooms that are written to",
            "That stay although nobody builds on them.",
            Unit.AMOUNT,
            *quantiles("synapse_storage_events_stale_forward_extremities_persisted", CHOSEN),
        ),
        lines("States that are resolved at once", "", Unit.AMOUNT, *quantiles("synapse_state_number_state_groups_in_resolution", CHOSEN)),
        lines(
            "Resolutions, and ends that are dropped",
            "While storing.",
            Unit.PER_SECOND,
            Query(total("synapse_storage_events_state_resolutions_during_persistence_total", CHOSEN), "resolutions"),
            Query(total("synapse_storage_events_potential_times_prune_extremities_total", CHOSEN), "could be dropped"),
            Query(total("synapse_storage_events_times_pruned_extremities_total", CHOSEN), "were dropped"),
        ),
    ),
    upstream=("Extremities",),
    folded=True,
)
