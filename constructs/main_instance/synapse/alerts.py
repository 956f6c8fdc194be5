"""What Synapse's metrics tell people. Their names and labels are those of Synapse 1.163, which the live tests hold them to."""

from collections.abc import Callable, Iterator

from kit.monitoring import Alert, Severity

_SEND, _SYNC = 'servlet="RoomSendEventRestServlet"', 'servlet=~"SyncRestServlet|SlidingSyncRestServlet"'
SLOWEST = "1.0"
"""Seconds in which a message is taken, as the bucket of Synapse's histogram is called."""
OBJECTIVE = 0.995
"""The share of messages that are taken in that time, and of syncs that do not fail, in thirty days."""
BUDGETS = (("Fast", 14.4, "1h", "5m", Severity.CRITICAL), ("", 6, "6h", "30m", Severity.WARNING))
"""How many times faster than it would last for thirty days a budget is spent, in a long window and still in a short one.

Google, Site Reliability Workbook, chapter 5: 2 % of the budget in an hour, 5 % in six.
"""


def _responses(series: str, selector: str, window: str) -> str:
    return f"sum by (namespace) (rate(synapse_http_server_response_time_seconds_{series}{{{selector}}}[{window}]))"


def _not_sent(window: str) -> str:
    """The share of messages that the server refused for its own reasons, or took late."""
    good = _responses("bucket", f'{_SEND},code!~"5..",le="{SLOWEST}"', window)
    return f"1 - {good} / {_responses('count', _SEND, window)}"


def _not_synced(window: str) -> str:
    """The share of syncs that failed."""
    failed = _responses("count", f'{_SYNC},code=~"5.."', window)
    return f"{failed} / {_responses('count', _SYNC, window)}"


def _budgets(what: str, share: Callable[[str], str], summary: str) -> Iterator[Alert]:
    for speed, times, long, short, severity in BUDGETS:
        spent = round((1 - OBJECTIVE) * times, 4)
        expression = " and ".join(f"({share(window)} > {spent})" for window in (long, short))
        # Who is told that it burns fast need not hear that it burns.
        yield Alert(f"{what}BudgetBurns{speed}", expression, 2, severity, summary, (f"{what}BudgetBurns",) if speed else ())


ALERTS = (
    Alert(
        "SynapseReplicationDown",
        "min by (namespace, job, pod) (synapse_replication_tcp_resource_total_connections) < 1",
        2,
        Severity.CRITICAL,
        "{{ $labels.pod }} has no connection to Redis: it hears nothing of the other processes.",
        ("EventsNotPersisted", "WorkerQueueBacklog"),
    ),
    Alert(
        "WorkerQueueBacklog",
        "max by (namespace, pod, stream_name) (synapse_replication_tcp_command_queue) > 1000",
        5,
        Severity.WARNING,
        "{{ $labels.pod }} is {{ $value }} messages of the stream {{ $labels.stream_name }} behind.",
    ),
    Alert(
        "EventsNotPersisted",
        # Whoever waits for an answer sends nothing more.
        f"(sum by (namespace) (rate(synapse_http_server_requests_received_total{{{_SEND}}}[5m])) > 0"
        f" or sum by (namespace) (synapse_http_server_in_flight_requests_count{{{_SEND}}}) > 0)"
        " unless sum by (namespace) (rate(synapse_storage_events_persisted_events_total[5m])) > 0",
        2,
        Severity.CRITICAL,
        "People send messages in {{ $labels.namespace }}, and none is stored.",
        ("SendBudgetBurns", "SendBudgetBurnsFast"),
    ),
    Alert(
        "FederationLag",
        "max by (namespace) (synapse_event_persisted_position) - on (namespace)"
        ' min by (namespace) (synapse_event_processing_positions{name="federation_sender"}) > 1000',
        15,
        Severity.WARNING,
        "Other servers have yet to be told of {{ $value }} events.",
    ),
    Alert(
        "DatabasePoolExhausted",
        "histogram_quantile(0.95, sum by (namespace, job, le) (rate(synapse_storage_schedule_time_bucket[5m]))) > 0.5",
        5,
        Severity.WARNING,
        "Requests to {{ $labels.job }} wait for a connection to the database: one of twenty for more than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "ReactorSaturated",
        "sum by (namespace, job, pod) (rate(python_twisted_reactor_tick_time_sum[5m])) > 0.9",
        10,
        Severity.WARNING,
        "{{ $labels.pod }} is busy {{ $value | humanizePercentage }} of the time: it is a single thread, and answers late.",
    ),
    Alert(
        "HomeserverErrors",
        'sum by (namespace) (rate(synapse_http_server_responses_total{code=~"5.."}[5m]))'
        " / sum by (namespace) (rate(synapse_http_server_responses_total[5m])) > 0.05",
        5,
        Severity.CRITICAL,
        "{{ $value | humanizePercentage }} of the answers of the homeserver in {{ $labels.namespace }} are errors of its own.",
    ),
    Alert(
        "BackgroundUpdateAborted",
        "min by (namespace, database_name) (synapse_background_update_status) == -1",
        15,
        Severity.WARNING,
        "A background update of the database schema in {{ $labels.namespace }} has failed and does not go on.",
    ),
    *_budgets(
        "Send", _not_sent, "{{ $value | humanizePercentage }} of the messages in {{ $labels.namespace }} are taken late or not at all."
    ),
    *_budgets("Sync", _not_synced, "{{ $value | humanizePercentage }} of the syncs in {{ $labels.namespace }} fail."),
)
