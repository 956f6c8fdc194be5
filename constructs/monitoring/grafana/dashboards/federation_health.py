"""Federation: whether messages reach other servers and theirs reach us, and what waits."""

from monitoring.grafana.board import Board, Query, Row, Unit, heat, lines, number, table
from monitoring.grafana.promql import per, quantiles, top, total

_SENDER = 'name="federation_sender"'
_SENT = "synapse_federation_client_sent"
_RECEIVED = "synapse_federation_server_received"
_LAG = "synapse_event_processing_lag_by_event"
_ENDPOINTS = 'servlet=~"Federation.+"'

_NOW = Row(
    "Now",
    (
        number(
            "Behind in sending",
            "Events that federation senders have not looked at.",
            Unit.AMOUNT,
            'max(synapse_event_persisted_position) - min(synapse_event_processing_positions{name="federation_sender"})',
            bounds=(100, 10_000),
        ),
        number(
            "Messages that wait",
            "In memory of the senders, for servers that answer slowly.",
            Unit.AMOUNT,
            "sum(synapse_federation_transaction_queue_pending_pdus)",
            bounds=(1_000, 10_000),
        ),
        number(
            "Servers that are waited for",
            "Destinations with something to send.",
            Unit.AMOUNT,
            "sum(synapse_federation_transaction_queue_pending_destinations)",
        ),
        number(
            "Messages in staging",
            "Received, and not yet handled.",
            Unit.AMOUNT,
            "max(synapse_federation_server_number_inbound_pdu_in_staging)",
            bounds=(100, 1_000),
        ),
        number(
            "Oldest in staging",
            "If it grows, a room is stuck.",
            Unit.SECONDS,
            "max(synapse_federation_server_oldest_inbound_pdu_in_staging) / 1000",
            bounds=(60, 600),
        ),
        number("Refused for their rate", "Requests of other servers.", Unit.PER_SECOND, total("synapse_rate_limit_reject_total")),
    ),
    upstream=("Federation",),
)

_OUT = Row(
    "Out",
    (
        lines(
            "Transactions",
            "What is sent to other servers, several messages at once.",
            Unit.PER_SECOND,
            Query(total(f"{_SENT}_transactions_total"), "successful"),
        ),
        lines(
            "Answers of other servers",
            "By their code; what did not answer at all is not here.",
            Unit.REQUESTS,
            Query(per("code", "synapse_http_matrixfederationclient_responses_total"), "{{code}}"),
        ),
        lines(
            "Messages and news",
            "Each message once for each server that gets it.",
            Unit.PER_SECOND,
            Query(total(f"{_SENT}_pdu_destinations_count_total"), "messages"),
            Query(total(f"{_SENT}_edus_total"), "news"),
        ),
        lines(
            "News by type",
            "Typing, receipts, keys and the like.",
            Unit.PER_SECOND,
            Query(per("type", f"{_SENT}_edus_by_type_total"), "{{type}}"),
        ),
        lines(
            "Queues",
            "In memory of the senders.",
            Unit.AMOUNT,
            Query("sum by (job, index) (synapse_federation_transaction_queue_pending_pdus)", "messages {{job}}-{{index}}"),
            Query("sum by (job, index) (synapse_federation_transaction_queue_pending_edus)", "news {{job}}-{{index}}"),
        ),
        lines(
            "News for senders, on main",
            "What main keeps until each sender has heard it.",
            Unit.AMOUNT,
            Query("sum(synapse_federation_send_queue_presence_map_size)", "presence"),
            Query("sum(synapse_federation_send_queue_keyed_edu_size)", "keyed"),
            Query("sum(synapse_federation_send_queue_edus_size)", "others"),
        ),
        heat(
            "Time until a sender looks at an event",
            "",
            Unit.SECONDS,
            per("le", f"{_LAG}_bucket", _SENDER),
        ),
        lines(
            "Time until a sender looks at an event, quantiles",
            "",
            Unit.SECONDS,
            *quantiles(_LAG, _SENDER),
            bounds=(5, 60),
        ),
    ),
    upstream=("Federation",),
)

_IN = Row(
    "In",
    (
        lines(
            "Messages and news",
            "",
            Unit.PER_SECOND,
            Query(total(f"{_RECEIVED}_pdus_total"), "messages"),
            Query(total(f"{_RECEIVED}_edus_total"), "news"),
            Query(total(f"{_RECEIVED}_queries_total"), "questions"),
        ),
        heat("A message takes", "", Unit.SECONDS, per("le", "synapse_federation_server_pdu_process_time_bucket")),
        lines(
            "In staging",
            "Received, and not yet handled.",
            Unit.AMOUNT,
            Query("max by (job, index) (synapse_federation_server_number_inbound_pdu_in_staging)", "{{job}}-{{index}}"),
        ),
        lines(
            "Refused softly",
            "Messages that are kept from people because their sender may not send them any more.",
            Unit.PER_SECOND,
            Query(total("synapse_federation_soft_failed_events_total"), "messages"),
        ),
        table(
            "Requests of other servers",
            "By endpoint, now.",
            Unit.REQUESTS,
            Query(top(per("servlet", "synapse_http_server_requests_received_total", _ENDPOINTS)), "requests"),
        ),
    ),
    upstream=("Federation",),
)

_LIMITS = Row(
    "Limits for other servers",
    (
        lines("Refused", "", Unit.PER_SECOND, Query(per("rate_limiter_name", "synapse_rate_limit_reject_total"), "{{rate_limiter_name}}")),
        lines(
            "Made to wait", "", Unit.PER_SECOND, Query(per("rate_limiter_name", "synapse_rate_limit_sleep_total"), "{{rate_limiter_name}}")
        ),
        lines(
            "Servers that are refused or made to wait",
            "",
            Unit.AMOUNT,
            Query("sum by (rate_limiter_name) (synapse_rate_limit_reject_affected_hosts)", "refused by {{rate_limiter_name}}"),
            Query("sum by (rate_limiter_name) (synapse_rate_limit_sleep_affected_hosts)", "waiting by {{rate_limiter_name}}"),
        ),
        lines("They wait", "", Unit.SECONDS, *quantiles("synapse_rate_limit_queue_wait_time_seconds")),
    ),
    upstream=("Federation rate limiter",),
)

BOARD = Board(
    "federation-health",
    "Federation health",
    "Do messages reach other servers, and theirs us?",
    (_NOW, _OUT, _IN, _LIMITS),
)
