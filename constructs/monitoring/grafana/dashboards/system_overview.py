"""The first page: whether people can use the platform, and which part is in the way if they cannot. Each number leads to the page about it."""

from monitoring.grafana.board import Board, Query, Row, Unit, lines, logs, number, stacked, table
from monitoring.grafana.dashboards.synapse import ACCEPTED, ANSWERS, SENDING
from monitoring.grafana.promql import per, quantile, quantiles, share, total

_PROXIES, _REDIS_PROXIES = 'job="haproxy"', 'job="redis-proxy"'
_IDLE = 'mode="idle"'
_CORES = f"count by (node) (node_cpu_seconds_total{{{_IDLE}}})"
_DISKS = 'fstype!~"tmpfs|overlay|squashfs|ramfs"'
_CARDS = 'device!~"lo|veth.*|cali.*|cni.*"'
_RESPONSES = "haproxy_frontend_http_responses_total"
_PUBLIC = 'proxy="public"'

_PEOPLE = Row(
    "People",
    (
        number(
            "Failed requests",
            "The share of answers that say that the server is at fault.",
            Unit.SHARE,
            share(total(_RESPONSES, _PROXIES, _PUBLIC, 'code="5xx"'), total(_RESPONSES, _PROXIES, _PUBLIC)),
            bounds=(0.001, 0.01),
            details="synapse-performance",
        ),
        number(
            "Sending takes (95%)",
            "From a message to its acceptance.",
            Unit.SECONDS,
            quantile(0.95, "", ANSWERS, SENDING, ACCEPTED),
            bounds=(0.5, 2),
            details="synapse-performance",
        ),
        number(
            "First sync takes (95%)",
            "Syncs that do not wait for news: an app that opens.",
            Unit.SECONDS,
            quantile(0.95, "", ANSWERS, 'servlet="SyncRestServlet"', ACCEPTED, 'tag!="incremental_sync"'),
            bounds=(2, 10),
            details="synapse-performance",
        ),
        number("Waiting for news", "About one for each device that is on.", Unit.AMOUNT, "sum(synapse_notifier_listeners)"),
        number("Messages", "Events that are stored.", Unit.PER_SECOND, total("synapse_storage_events_persisted_events_total")),
        number("In calls", "People that LiveKit connects.", Unit.AMOUNT, "sum(livekit_participant_total)", details="livekit-health"),
        stacked(
            "Requests by answer",
            "What the proxies in front of Synapse answer.",
            Unit.REQUESTS,
            Query(per("code", _RESPONSES, _PROXIES, _PUBLIC), "{{code}}"),
        ),
        lines(
            "Answers of each pool",
            "Average of the last thousand requests; the pools of syncs include waiting for news.",
            Unit.SECONDS,
            Query('max by (proxy) (haproxy_backend_response_time_average_seconds{job="haproxy"})', "{{proxy}}"),
        ),
    ),
)

_PARTS = Row(
    "Parts",
    (
        number(
            "Alerts",
            "That are firing; one is always there, to show that alerting works. Alertmanager has told somebody.",
            Unit.AMOUNT,
            'count(ALERTS{alertstate="firing"})',
            bounds=(2, 5),
        ),
        number("Not measured", "Pods that did not answer Prometheus.", Unit.AMOUNT, "count(up == 0) or vector(0)", bounds=(1, 3)),
        number(
            "Servers down behind the proxies",
            "Synapse processes to which HAProxy sends nothing.",
            Unit.AMOUNT,
            'max(sum by (instance) (haproxy_server_status{job="haproxy",state="DOWN"}))',
            bounds=(1, 3),
            details="synapse-performance",
        ),
        number(
            "PostgreSQL behind",
            "The standby that is furthest behind its primary.",
            Unit.SECONDS,
            "max(cnpg_pg_replication_lag)",
            bounds=(5, 30),
            details="postgresql-health",
        ),
        number(
            "Redis behind the proxies",
            "Servers that take writes: there must be one.",
            Unit.AMOUNT,
            'min(sum by (instance) (haproxy_server_status{job="redis-proxy",state="UP"}))',
            details="redis-health",
        ),
        number(
            "Drives offline",
            "Of object storage; it stands the loss of four of a set.",
            Unit.AMOUNT,
            "max(minio_cluster_drive_offline_total)",
            bounds=(1, 4),
            details="minio-health",
        ),
        table(
            "Measured parts",
            "How many pods of each part there are, and how many answer.",
            Unit.AMOUNT,
            Query("count by (namespace, job) (up)", "pods"),
            Query("sum by (namespace, job) (up)", "answer"),
        ),
        table(
            "Ready",
            "Pods that are ready, and those that are wanted.",
            Unit.AMOUNT,
            Query("sum by (namespace, statefulset) (kube_statefulset_status_replicas_ready)", "ready"),
            Query("sum by (namespace, statefulset) (kube_statefulset_replicas)", "wanted"),
        ),
        table(
            "Firing alerts",
            "docs/04-TROUBLESHOOTING.md has a page for each.",
            Unit.AMOUNT,
            Query('sum by (alertname, severity) (ALERTS{alertstate="firing"})', "series"),
        ),
        lines(
            "Restarts",
            "Containers that were started again, by pod.",
            Unit.AMOUNT,
            Query("topk(10, sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total[1h])))", "{{namespace}}/{{pod}}"),
        ),
    ),
)

_NODES = Row(
    "Nodes",
    (
        lines(
            "Processor",
            "The share that is busy.",
            Unit.SHARE,
            Query(f"1 - {per('node', 'node_cpu_seconds_total', _IDLE)} / {_CORES}", "{{node}}"),
            bounds=(0.8, 0.95),
        ),
        lines(
            "Memory",
            "The share that no program could get any more.",
            Unit.SHARE,
            Query("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{node}}"),
            bounds=(0.85, 0.95),
        ),
        lines(
            "Disks",
            "The share that is full.",
            Unit.SHARE,
            Query(
                f"max by (node, mountpoint) (1 - node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}})",
                "{{node}} {{mountpoint}}",
            ),
            bounds=(0.8, 0.9),
        ),
        lines(
            "Network",
            "In and out, without what stays on the node.",
            Unit.BYTES_PER_SECOND,
            Query(per("node", "node_network_receive_bytes_total", _CARDS), "{{node}} in"),
            Query(per("node", "node_network_transmit_bytes_total", _CARDS), "{{node}} out"),
        ),
    ),
)

_SCANNING = Row(
    "Scanning of files",
    (
        lines(
            "Files by verdict",
            "",
            Unit.PER_SECOND,
            Query(per("verdict, source", "scan_worker_files_total"), "{{verdict}} by {{source}}"),
        ),
        lines(
            "Waiting and in progress",
            "Files that wait mean that uploads are slow.",
            Unit.AMOUNT,
            Query("sum(scan_worker_queue)", "waiting"),
            Query("sum(scan_worker_scans_in_progress)", "in progress"),
        ),
        lines("A scan takes", "", Unit.SECONDS, *quantiles("scan_worker_scan_seconds")),
        lines(
            "Age of signatures",
            "Of the oldest that are in use.",
            Unit.SECONDS,
            Query("time() - min by (engine) (scan_worker_signatures_published_seconds)", "{{engine}}"),
            bounds=(172_800, 604_800),
        ),
    ),
    folded=True,
)

_PUSH = Row(
    "Push",
    (
        lines(
            "Notifications",
            "What Synapse hands to Sygnal, and how Sygnal answers.",
            Unit.PER_SECOND,
            Query(total("sygnal_notifications_received_total"), "received"),
            Query(per("code", "sygnal_pushgateway_status_codes_total"), "answered {{code}}"),
        ),
        lines(
            "Answers take",
            "With the service of the phone's maker.",
            Unit.SECONDS,
            *quantiles("sygnal_notify_time"),
        ),
    ),
    folded=True,
)

_LOG = Row(
    "Log",
    (
        logs(
            "Errors of all parts",
            "The newest lines that call themselves an error.",
            '{namespace=~".+", level=~"ERROR|CRITICAL"}',
        ),
    ),
)

BOARD = Board(
    "system-overview",
    "System overview",
    "Can people use the platform, and if not, which part is in the way?",
    (_PEOPLE, _PARTS, _NODES, _SCANNING, _PUSH, _LOG),
)
