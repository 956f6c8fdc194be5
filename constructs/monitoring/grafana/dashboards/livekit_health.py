"""Calls: whether people get into them and hear each other. LiveKit carries calls of groups, coturn those between two behind firewalls."""

from monitoring.grafana.board import Board, Query, Row, Unit, Variable, lines, number, stacked
from monitoring.grafana.promql import per, quantile, rate, series, share, total

_L = 'instance=~"$node"'


_CONNECTED, _ACTIVE = 'state="signal_connected"', 'state="rtc_active"'
_SERVER = 'job="livekit"'

_NOW = Row(
    "Now",
    (
        number("Servers", "That answer.", Unit.AMOUNT, "count(livekit_room_total)"),
        number("Calls", "", Unit.AMOUNT, f"sum(livekit_room_total{{{_L}}})"),
        number("People", "In calls.", Unit.AMOUNT, f"sum(livekit_participant_total{{{_L}}})"),
        number(
            "Lost packets (95%)",
            "Per cent; from 2 on people hear it, from 10 on they give up.",
            Unit.AMOUNT,
            quantile(0.95, "", "livekit_packet_loss_percent", _L),
            bounds=(2, 10),
        ),
        number(
            "Did not get in",
            "The share of those who reached LiveKit and got no media: mostly a firewall on the way.",
            Unit.SHARE,
            f"1 - {share(total('livekit_participant_join_total', _L, _ACTIVE), total('livekit_participant_join_total', _L, _CONNECTED))}",
            bounds=(0.05, 0.2),
        ),
        number("Relayed", "Allocations of coturn.", Unit.AMOUNT, "sum(turn_total_allocations)"),
    ),
)

_GROUPS = Row(
    "Calls of groups",
    (
        lines("Calls", "By server.", Unit.AMOUNT, Query(f"livekit_room_total{{{_L}}}", "{{instance}}")),
        lines("People", "By server.", Unit.AMOUNT, Query(f"livekit_participant_total{{{_L}}}", "{{instance}}")),
        lines(
            "How far people get",
            "From the first message to media that flow.",
            Unit.PER_SECOND,
            Query(per("state", "livekit_participant_join_total", _L), "{{state}}"),
        ),
        lines(
            "Getting in takes (95%)",
            "",
            Unit.MILLISECONDS,
            Query(quantile(0.95, "", "livekit_session_join_latency_ms", _L), "to join"),
            Query(quantile(0.95, "", "livekit_session_start_time_ms", _L), "until media flow"),
            bounds=(2_000, 10_000),
        ),
        stacked(
            "Traffic",
            "",
            Unit.BITS,
            Query(f"8 * {per('instance, direction', 'livekit_packet_bytes', _L)}", "{{instance}} {{direction}}"),
        ),
        lines(
            "Packets",
            "",
            Unit.PER_SECOND,
            Query(per("direction, transmission", "livekit_packet_total", _L), "{{direction}} {{transmission}}"),
        ),
        lines(
            "Streams",
            "Microphones, cameras and screens, and how often they are looked at.",
            Unit.AMOUNT,
            Query(f"sum by (kind) (livekit_track_published_total{{{_L}}})", "{{kind}} sent"),
            Query(f"sum by (kind) (livekit_track_subscribed_total{{{_L}}})", "{{kind}} received"),
        ),
        lines(
            "Calls last",
            "The middle, and the longest twentieth.",
            Unit.SECONDS,
            Query(quantile(0.5, "", "livekit_room_duration_seconds", _L), "50%"),
            Query(quantile(0.95, "", "livekit_room_duration_seconds", _L), "95%"),
        ),
    ),
)

_QUALITY = Row(
    "How it sounds",
    (
        lines(
            "Lost packets",
            "Per cent, of streams in each direction (95%).",
            Unit.AMOUNT,
            Query(quantile(0.95, "direction", "livekit_packet_loss_percent", _L), "{{direction}}"),
            bounds=(2, 10),
        ),
        lines(
            "Jitter (95%)",
            "",
            Unit.MICROSECONDS,
            Query(quantile(0.95, "direction", "livekit_jitter_us", _L), "{{direction}}"),
            bounds=(30_000, 100_000),
        ),
        lines(
            "Score (5%)",
            "1 to 5, as LiveKit guesses what people hear: the worst twentieth.",
            Unit.AMOUNT,
            Query(quantile(0.05, "", "livekit_quality_score", _L), "worst"),
        ),
        lines(
            "Passing on takes (99%)",
            "In LiveKit itself: more than a millisecond, and the node is too busy.",
            Unit.SECONDS,
            Query(f"{quantile(0.99, 'instance', 'livekit_forward_latency_ns', _L)} / 1e9", "{{instance}}"),
        ),
    ),
)

_SERVERS = Row(
    "Servers",
    (
        lines("Processor", "", Unit.AMOUNT, Query(rate("process_cpu_seconds_total", _SERVER, _L), "{{instance}}")),
        lines("Memory", "", Unit.BYTES, Query(series("process_resident_memory_bytes", _SERVER, _L), "{{instance}}")),
        lines(
            "Messages between servers and clients",
            "",
            Unit.PER_SECOND,
            Query(per("type, status, direction", "livekit_node_messages", _L), "{{type}} {{direction}} {{status}}"),
        ),
        lines(
            "Operations",
            "What did not succeed is named.",
            Unit.PER_SECOND,
            Query(per("type, status", "livekit_node_service_operation", _L), "{{type}} {{status}}"),
        ),
    ),
    folded=True,
)

_RELAY = Row(
    "Relay (coturn)",
    (
        lines(
            "Allocations",
            "Each is a side of a call that cannot be reached directly. The quota is in the profile.",
            Unit.AMOUNT,
            Query("sum by (instance, type) (turn_total_allocations)", "{{instance}} {{type}}"),
        ),
        lines(
            "Traffic of sessions that have ended",
            "coturn counts it when they end.",
            Unit.BYTES_PER_SECOND,
            Query(per("instance", "turn_total_traffic_rcvb"), "{{instance}} from clients"),
            Query(per("instance", "turn_total_traffic_sentb"), "{{instance}} to clients"),
        ),
        lines(
            "Questions for the own address (STUN)",
            "",
            Unit.PER_SECOND,
            Query(per("instance", "stun_binding_request"), "{{instance}}"),
            Query(per("instance", "stun_binding_error"), "{{instance}} refused"),
        ),
    ),
)

BOARD = Board(
    "livekit-health",
    "Calls health",
    "Do people get into calls, and hear each other?",
    (_NOW, _GROUPS, _QUALITY, _RELAY, _SERVERS),
    (Variable("node", "Server", "instance", "livekit_room_total"),),
)
