"""Object storage: whether it can read and write, how much fits in, and who asks for what. Each server answers for the whole of its tenant."""

from monitoring.grafana.board import Board, Query, Row, Unit, Variable, lines, number
from monitoring.grafana.promql import rate, series

_T = 'job=~"$tenant"'
_FREE = "minio_cluster_capacity_usable_free_bytes"


def _once(metric: str, by: str = "job") -> str:
    """All servers say the same: one of them is enough."""
    return f"max by ({by}) ({series(metric, _T)})"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (max by (job, server, {by}) ({rate(metric, _T)}))"


_NOW = Row(
    "Now",
    (
        number("Healthy", "1: every tenant can read and write.", Unit.AMOUNT, f"min({_once('minio_cluster_health_status')})"),
        number("Drives offline", "", Unit.AMOUNT, f"max({_once('minio_cluster_drive_offline_total')})", bounds=(1, 4)),
        number("Servers offline", "", Unit.AMOUNT, f"max({_once('minio_cluster_nodes_offline_total')})", bounds=(1, 2)),
        number(
            "Full",
            "Of what can be used. From 0.8 on plan for more: a full tenant refuses uploads, backups and logs.",
            Unit.SHARE,
            f"max(1 - {_once('minio_cluster_capacity_usable_free_bytes')} / {_once('minio_cluster_capacity_usable_total_bytes')})",
            bounds=(0.8, 0.9),
        ),
        number(
            "Full in",
            "Days, if it goes on as in the last day.",
            Unit.AMOUNT,
            f"min({_once(_FREE)} / (max by (job) (clamp_min(-deriv({series(_FREE, _T)}[1d]), 1)) * 86400))",
        ),
        number(
            "Requests waiting",
            "More than a few for long: the drives are too slow.",
            Unit.AMOUNT,
            f"max({_once('minio_s3_requests_waiting_total')})",
            bounds=(10, 100),
        ),
    ),
)

_SPACE = Row(
    "Space",
    (
        lines(
            "Space",
            "",
            Unit.BYTES,
            Query(_once("minio_cluster_capacity_usable_total_bytes"), "{{job}} all"),
            Query(_once("minio_cluster_capacity_usable_free_bytes"), "{{job}} free"),
        ),
        lines(
            "Objects",
            "Counted by MinIO's scanner, some hours behind.",
            Unit.AMOUNT,
            Query(_once("minio_cluster_usage_object_total"), "{{job}}"),
            Query(_once("minio_cluster_usage_version_total"), "{{job}} with versions"),
        ),
        lines("Their size", "The same.", Unit.BYTES, Query(_once("minio_cluster_usage_total_bytes"), "{{job}}")),
        lines(
            "Objects by size",
            "",
            Unit.AMOUNT,
            Query(_once("minio_cluster_objects_size_distribution", "range"), "{{range}}"),
        ),
    ),
)

_REQUESTS = Row(
    "Requests",
    (
        lines("By what they do", "", Unit.REQUESTS, Query(_rate("minio_s3_requests_total", "api"), "{{api}}")),
        lines(
            "Failed",
            "A missing object is a failure too: Synapse asks for what it may not have.",
            Unit.REQUESTS,
            Query(_rate("minio_s3_requests_errors_total", "api"), "{{api}}"),
        ),
        lines(
            "Refused",
            "Wrong keys or clocks: a client's Secret is old, or somebody tries.",
            Unit.REQUESTS,
            Query(_rate("minio_s3_requests_rejected_auth_total", "job"), "{{job}} keys"),
            Query(_rate("minio_s3_requests_rejected_timestamp_total", "job"), "{{job}} clock"),
            Query(_rate("minio_s3_requests_rejected_invalid_total", "job"), "{{job}} invalid"),
        ),
        lines(
            "Until the first byte (95%)",
            "",
            Unit.SECONDS,
            Query(f"histogram_quantile(0.95, {_rate('minio_s3_requests_ttfb_seconds_distribution', 'le, api')})", "{{api}}"),
            bounds=(0.5, 5),
        ),
        lines(
            "Traffic",
            "",
            Unit.BYTES_PER_SECOND,
            Query(_rate("minio_s3_traffic_received_bytes", "job"), "{{job}} in"),
            Query(_rate("minio_s3_traffic_sent_bytes", "job"), "{{job}} out"),
        ),
        lines(
            "In flight",
            "",
            Unit.AMOUNT,
            Query(f"sum by (api) (max by (job, server, api) (minio_s3_requests_inflight_total{{{_T}}}))", "{{api}}"),
        ),
    ),
)

_SERVERS = Row(
    "Servers and drives",
    (
        lines(
            "Drives",
            "",
            Unit.AMOUNT,
            Query(_once("minio_cluster_drive_online_total"), "{{job}} online"),
            Query(_once("minio_cluster_drive_offline_total"), "{{job}} offline"),
        ),
        lines(
            "Drives of each set that are online",
            "Below its write quorum a set refuses writes.",
            Unit.AMOUNT,
            Query(_once("minio_cluster_health_erasure_set_online_drives", "job, pool, set"), "{{job}} {{pool}}-{{set}}"),
            Query(_once("minio_cluster_health_erasure_set_write_quorum", "job, pool, set"), "{{job}} {{pool}}-{{set}} needs"),
        ),
        lines(
            "Drives that are healed",
            "A drive that was replaced gets back what it should hold.",
            Unit.AMOUNT,
            Query(_once("minio_cluster_health_erasure_set_healing_drives", "job, pool, set"), "{{job}} {{pool}}-{{set}}"),
        ),
        lines("Memory", "", Unit.BYTES, Query(_once("minio_node_process_resident_memory_bytes", "job, server"), "{{server}}")),
        lines(
            "Open files",
            "",
            Unit.SHARE,
            Query(
                f"{_once('minio_node_file_descriptor_open_total', 'job, server')}"
                f" / {_once('minio_node_file_descriptor_limit_total', 'job, server')}",
                "{{server}}",
            ),
            bounds=(0.5, 0.8),
        ),
        lines(
            "Disk",
            "What the servers read and write.",
            Unit.BYTES_PER_SECOND,
            Query(f"max by (job, server) ({rate('minio_node_io_read_bytes', _T)})", "{{server}} read"),
            Query(f"max by (job, server) ({rate('minio_node_io_write_bytes', _T)})", "{{server}} written"),
        ),
    ),
    folded=True,
)

BOARD = Board(
    "minio-health",
    "Object storage health",
    "Can files, backups and logs be read and written, and for how long will there be space?",
    (_NOW, _SPACE, _REQUESTS, _SERVERS),
    (Variable("tenant", "Tenant", "job", "minio_cluster_health_status"),),
)
