"""Who asks what, how long it takes, and how it looks from outside."""

from monitoring.grafana.board import Query, Row, Unit, heat, lines, number
from monitoring.grafana.dashboards.synapse import ACCEPTED, ANSWERS, CHOSEN, PROCESS, SENDING
from monitoring.grafana.promql import added, average, or_none, per, quantile, quantiles, rate, series, share, top, total

_RECEIVED = "synapse_http_server_requests_received_total"
_RESPONSES = "synapse_http_server_responses_total"
_FAILED = 'code=~"5.."'


def _cpu(by: str, prefix: str) -> str:
    return added(per(by, f"{prefix}_ru_utime_seconds_total", CHOSEN), per(by, f"{prefix}_ru_stime_seconds_total", CHOSEN))


OVERVIEW = Row(
    "Overview",
    (
        number(
            "Sending takes (95%)",
            "From a message to its acceptance. People wait for it.",
            Unit.SECONDS,
            quantile(0.95, "", ANSWERS, CHOSEN, SENDING, ACCEPTED),
            bounds=(0.5, 2),
        ),
        number(
            "Messages",
            "Events that were stored, from here and from elsewhere.",
            Unit.PER_SECOND,
            total("synapse_storage_events_persisted_events_total", CHOSEN),
        ),
        number("Requests", "Of clients, other servers and other workers.", Unit.REQUESTS, total(_RECEIVED, CHOSEN)),
        number(
            "Failed",
            "The share of answers that say that the server is at fault.",
            Unit.SHARE,
            share(f"({total(_RESPONSES, CHOSEN, _FAILED)} or vector(0))", total(_RESPONSES, CHOSEN)),
            bounds=(0.001, 0.01),
        ),
        number(
            "Busiest process",
            "A process has one core: from 0.8 on its requests queue.",
            Unit.SHARE,
            f"max({rate('process_cpu_seconds_total', CHOSEN)})",
            bounds=(0.7, 0.9),
        ),
        number(
            "Waiting for a database connection (95%)",
            "More than a few milliseconds: the pool is too small, or the database slow.",
            Unit.SECONDS,
            quantile(0.95, "", "synapse_storage_schedule_time", CHOSEN),
            bounds=(0.05, 0.5),
        ),
        heat(
            "Sending",
            "Each column is a moment; the brighter, the more messages took that long.",
            Unit.SECONDS,
            per("le", f"{ANSWERS}_bucket", CHOSEN, SENDING, ACCEPTED),
        ),
        lines(
            "Sending, quantiles",
            "",
            Unit.SECONDS,
            *quantiles(ANSWERS, CHOSEN, SENDING, ACCEPTED, parts=(0.5, 0.75, 0.95, 0.99)),
            Query(average("server_name", ANSWERS, CHOSEN, SENDING, ACCEPTED), "average"),
            bounds=(0.5, 2),
        ),
        lines(
            "Processor",
            "One core is all that a process can use.",
            Unit.SHARE,
            Query(rate("process_cpu_seconds_total", CHOSEN), PROCESS),
            bounds=(0.7, 0.9),
        ),
        lines(
            "Memory",
            "Caches grow to their size and stay. Growth without end is a leak.",
            Unit.BYTES,
            Query(series("process_resident_memory_bytes", CHOSEN), PROCESS),
        ),
        lines(
            "Versions",
            "How many processes run each version: two only during an update.",
            Unit.AMOUNT,
            Query(f"count by (version) ({series('synapse_build_info', CHOSEN)})", "{{version}}"),
        ),
        lines(
            "Open files",
            "Of the number that a process may have.",
            Unit.SHARE,
            Query(share(series("process_open_fds", CHOSEN), series("process_max_fds", CHOSEN)), PROCESS),
            bounds=(0.5, 0.8),
        ),
    ),
    upstream=("Overview",),
)

REQUESTS = Row(
    "Requests",
    (
        lines("By worker", "", Unit.REQUESTS, Query(per("job", _RECEIVED, CHOSEN), "{{job}}")),
        lines("Most frequent", "Of the endpoints.", Unit.REQUESTS, Query(top(per("servlet", _RECEIVED, CHOSEN)), "{{servlet}}")),
        lines(
            "Failed, by worker",
            "Answers that say that the server is at fault.",
            Unit.REQUESTS,
            Query(or_none(per("job", _RESPONSES, CHOSEN, _FAILED), "job", "synapse_build_info", CHOSEN), "{{job}}"),
        ),
        lines(
            "In flight",
            "Requests that are being answered, those too that wait for news.",
            Unit.AMOUNT,
            Query(top(f"sum by (servlet) ({series('synapse_http_server_in_flight_requests_count', CHOSEN)})"), "{{servlet}}"),
        ),
        lines(
            "Slowest, on average",
            "Without syncs that wait for news.",
            Unit.SECONDS,
            Query(top(average("servlet", ANSWERS, CHOSEN, 'tag!="incremental_sync"')), "{{servlet}}"),
        ),
        lines(
            "Processor, by endpoint",
            "In cores.",
            Unit.SHARE,
            Query(top(_cpu("servlet", "synapse_http_server_in_flight_requests")), "{{servlet}}"),
        ),
        lines(
            "Processor for one request",
            "",
            Unit.SECONDS,
            Query(top(share(_cpu("servlet", "synapse_http_server_in_flight_requests"), per("servlet", _RECEIVED, CHOSEN))), "{{servlet}}"),
        ),
        lines(
            "Database, by endpoint",
            "Seconds of queries in a second.",
            Unit.SHARE,
            Query(top(per("servlet", "synapse_http_server_in_flight_requests_db_txn_duration_seconds_total", CHOSEN)), "{{servlet}}"),
        ),
    ),
    upstream=("Requests",),
    folded=True,
)

BACKGROUND = Row(
    "Background work",
    (
        lines(
            "Processor", "Of work that nobody waits for.", Unit.SHARE, Query(top(_cpu("name", "synapse_background_process")), "{{name}}")
        ),
        lines(
            "Database",
            "With the time that it waits for a connection.",
            Unit.SHARE,
            Query(
                top(
                    added(
                        per("name", "synapse_background_process_db_txn_duration_seconds_total", CHOSEN),
                        per("name", "synapse_background_process_db_sched_duration_seconds_total", CHOSEN),
                    )
                ),
                "{{name}}",
            ),
        ),
        lines(
            "Running",
            "More and more of one name: it does not end.",
            Unit.AMOUNT,
            Query(top(f"sum by (name) ({series('synapse_background_process_in_flight_count', CHOSEN)})"), "{{name}}"),
        ),
        lines(
            "Updates of the database",
            "3: done. 2: running. 1: not on this process. 0: switched off. -1: failed.",
            Unit.AMOUNT,
            Query(series("synapse_background_update_status", CHOSEN), PROCESS),
        ),
    ),
    upstream=("Background jobs",),
    folded=True,
)

BLOCKS = Row(
    "Blocks of code",
    (
        lines(
            "Processor",
            "Of named pieces of Synapse.",
            Unit.SHARE,
            Query(top(_cpu("block_name", "synapse_util_metrics_block")), "{{block_name}}"),
        ),
        lines(
            "Processor for one run",
            "",
            Unit.SECONDS,
            Query(
                top(
                    share(
                        _cpu("block_name", "synapse_util_metrics_block"),
                        per("block_name", "synapse_util_metrics_block_count_total", CHOSEN),
                    )
                ),
                "{{block_name}}",
            ),
        ),
        *(
            lines(title, text, unit, Query(top(share(per("block_name", part, CHOSEN), per("block_name", whole, CHOSEN))), "{{block_name}}"))
            for title, text, unit, part, whole in (
                (
                    "Database for one transaction",
                    "",
                    Unit.SECONDS,
                    "synapse_util_metrics_block_db_txn_duration_seconds_total",
                    "synapse_util_metrics_block_db_txn_count_total",
                ),
                (
                    "Transactions of one run",
                    "",
                    Unit.AMOUNT,
                    "synapse_util_metrics_block_db_txn_count_total",
                    "synapse_util_metrics_block_count_total",
                ),
                (
                    "Time of one run",
                    "With all that it waits for.",
                    Unit.SECONDS,
                    "synapse_util_metrics_block_time_seconds_total",
                    "synapse_util_metrics_block_count_total",
                ),
            )
        ),
        lines(
            "Database",
            "Seconds of queries in a second.",
            Unit.SHARE,
            Query(top(per("block_name", "synapse_util_metrics_block_db_txn_duration_seconds_total", CHOSEN)), "{{block_name}}"),
        ),
        lines(
            "Runs", "", Unit.PER_SECOND, Query(top(per("block_name", "synapse_util_metrics_block_count_total", CHOSEN)), "{{block_name}}")
        ),
    ),
    upstream=("Per-block metrics",),
    folded=True,
)
