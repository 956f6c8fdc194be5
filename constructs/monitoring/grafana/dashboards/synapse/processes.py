"""How the processes themselves are, and whether they follow each other."""

from monitoring.grafana.board import Query, Row, Unit, heat, lines, stacked
from monitoring.grafana.dashboards.synapse import CHOSEN, PROCESS
from monitoring.grafana.promql import INTERVAL, added, average, or_none, per, quantile, series, share

_TCP = "synapse_replication_tcp"
_POSITION = "synapse_storage_stream_current_position"


def _cpu(prefix: str) -> str:
    return added(per("job", f"{prefix}_ru_utime_seconds_total", CHOSEN), per("job", f"{prefix}_ru_stime_seconds_total", CHOSEN))


PROCESSES = Row(
    "Processes",
    (
        lines(
            "Longest turns of the reactor (99%)",
            "While one turn takes long, everything else in the process waits.",
            Unit.SECONDS,
            Query(quantile(0.99, "job", "python_twisted_reactor_tick_time", CHOSEN), "{{job}}"),
            bounds=(0.1, 1),
        ),
        lines(
            "Processor, user and system",
            "Much system time is the network, or memory.",
            Unit.SHARE,
            Query(per("job", "process_cpu_user_seconds_total", CHOSEN), "{{job}} user"),
            Query(per("job", "process_cpu_system_seconds_total", CHOSEN), "{{job}} system"),
        ),
        stacked(
            "Processor, by what it is for",
            "Requests, against work that nobody waits for.",
            Unit.SHARE,
            Query(_cpu("synapse_http_server_response"), "{{job}} requests"),
            Query(_cpu("synapse_background_process"), "{{job}} background"),
        ),
        lines(
            "Measuring takes",
            "A process answers Prometheus in a thread of its own, and is slow when it is busy.",
            Unit.SECONDS,
            Query(f"max by (job) ({series('scrape_duration_seconds', CHOSEN)})", "{{job}}"),
        ),
        lines(
            "Up",
            "Below 1: a process did not answer Prometheus.",
            Unit.AMOUNT,
            Query(f"min by (job) (min_over_time({series('up', CHOSEN)}[{INTERVAL}]))", "{{job}}"),
        ),
        lines(
            "Requests to others",
            "Other workers, other servers, and what else it calls.",
            Unit.REQUESTS,
            Query(per("job", "synapse_http_client_requests_total", CHOSEN), "{{job}}"),
            Query(per("job", "synapse_http_matrixfederationclient_requests_total", CHOSEN), "{{job}} to servers"),
        ),
        lines(
            "Threads that work",
            "",
            Unit.AMOUNT,
            Query(f"max by (job, name) ({series('synapse_threadpool_working_threads', CHOSEN)})", "{{job}} {{name}}"),
        ),
    ),
    upstream=("Process info",),
    folded=True,
)

GARBAGE = Row(
    "Garbage collection",
    (
        lines(
            "Time",
            "Seconds in a second, in which the process does nothing else.",
            Unit.SHARE,
            Query(per("job", "python_gc_time_sum", CHOSEN), "{{job}}"),
            bounds=(0.05, 0.2),
        ),
        lines("Time of one", "", Unit.SECONDS, Query(average("job, gen", "python_gc_time", CHOSEN), "{{job}} generation {{gen}}")),
        lines("How often", "", Unit.PER_SECOND, Query(per("gen", "python_gc_time_count", CHOSEN), "generation {{gen}}")),
        lines("Objects that wait", "", Unit.AMOUNT, Query(f"sum by (gen) ({series('python_gc_counts', CHOSEN)})", "generation {{gen}}")),
        lines(
            "Objects that one frees",
            "",
            Unit.AMOUNT,
            Query(
                share(per("gen", "python_gc_unreachable_total", CHOSEN), per("gen", "python_gc_time_count", CHOSEN)), "generation {{gen}}"
            ),
        ),
        heat("How long they take", "", Unit.SECONDS, per("le", "python_gc_time_bucket", CHOSEN)),
    ),
    upstream=("GC",),
    folded=True,
)

REPLICATION = Row(
    "Between the workers",
    (
        lines(
            "Behind, by stream",
            "Positions between the first process and the last. It falls back to 0 at once.",
            Unit.AMOUNT,
            Query(f"max by (stream_name) ({_POSITION}) - min by (stream_name) ({_POSITION})", "{{stream_name}}"),
        ),
        lines(
            "Arrived and not handled",
            "",
            Unit.AMOUNT,
            Query(f"max by (stream_name) ({series(f'{_TCP}_command_queue', CHOSEN)})", "{{stream_name}}"),
            bounds=(100, 1_000),
        ),
        lines(
            "Connected to Redis",
            "0: a process hears nothing of the others.",
            Unit.AMOUNT,
            Query(f"min by (job) ({series(f'{_TCP}_resource_total_connections', CHOSEN)})", "{{job}}"),
        ),
        lines(
            "Gave up waiting for another worker",
            "Requests that were answered without what they waited for.",
            Unit.PER_SECOND,
            Query(
                or_none(per("job", "synapse_notifier_wait_for_stream_token_timeouts_total", CHOSEN), "job", "synapse_build_info", CHOSEN),
                "{{job}}",
            ),
        ),
        lines(
            "News that arrives",
            "",
            Unit.PER_SECOND,
            Query(per("stream_name", f"{_TCP}_protocol_inbound_rdata_count_total", CHOSEN), "{{stream_name}}"),
        ),
        lines(
            "News that is sent",
            "",
            Unit.PER_SECOND,
            Query(per("stream_name", f"{_TCP}_resource_stream_updates_total", CHOSEN), "{{stream_name}}"),
        ),
        lines(
            "Commands that arrive",
            "With echoes.",
            Unit.PER_SECOND,
            Query(per("command", f"{_TCP}_protocol_inbound_commands_total", CHOSEN), "{{command}}"),
        ),
        lines(
            "Commands that are sent",
            "",
            Unit.PER_SECOND,
            Query(per("command", f"{_TCP}_protocol_outbound_commands_total", CHOSEN), "{{command}}"),
        ),
        lines(
            "Calls to other workers that wait",
            "",
            Unit.AMOUNT,
            Query(f"sum by (name) ({series('synapse_pending_outgoing_replication_requests', CHOSEN)})", "{{name}}"),
        ),
        lines(
            "Calls to other workers",
            "By their answers: other codes than 2xx are failures.",
            Unit.REQUESTS,
            Query(per("name, code", "synapse_outgoing_replication_requests_total", CHOSEN), "{{name}} {{code}}"),
        ),
        lines(
            "Connections to Redis that were lost",
            "",
            Unit.PER_SECOND,
            Query(
                or_none(per("job", f"{_TCP}_protocol_close_reason_total", CHOSEN), "job", "synapse_build_info", CHOSEN),
                "{{job}}",
            ),
        ),
    ),
    upstream=("Replication",),
    folded=True,
)

LOOPS = Row(
    "Followers of the event stream",
    (
        lines(
            "Events behind",
            "Each of these reads all events, one after the other.",
            Unit.AMOUNT,
            Query(
                "max by (server_name) (synapse_event_persisted_position) - on (server_name) group_right () "
                + series("synapse_event_processing_positions", CHOSEN),
                f"{{{{name}}}} on {PROCESS}",
            ),
            bounds=(100, 10_000),
        ),
        lines(
            "Age of the last event that was seen",
            "On a quiet server that is when somebody last wrote.",
            Unit.SECONDS,
            Query(f"time() - {series('synapse_event_processing_last_ts', CHOSEN)} / 1000", f"{{{{name}}}} on {PROCESS}"),
        ),
        lines(
            "Catching up",
            "Seconds of events in a second, beyond the one that passes: above 0 it catches up.",
            Unit.AMOUNT,
            Query(f"deriv({series('synapse_event_processing_last_ts', CHOSEN)}[{INTERVAL}]) / 1000 - 1", f"{{{{name}}}} on {PROCESS}"),
        ),
    ),
    upstream=("Event processing loop positions",),
    folded=True,
)
