"""What Prometheus and Alertmanager tell people of themselves, and of the nodes: where the platform runs them."""

from kit.monitoring import Alert, Severity
from monitoring.alertmanager.configuration import WATCHDOG
from monitoring.node_exporter.component import DISK

ALERTS = (
    Alert(WATCHDOG, "vector(1)", 0, Severity.NONE, "Alerting works. Who does not hear this is not told of anything else either."),
    Alert(
        "RulesFail",
        "sum by (namespace, pod) (increase(prometheus_rule_evaluation_failures_total[5m])) > 0",
        5,
        Severity.CRITICAL,
        "Prometheus cannot evaluate its rules: what they watch is not watched.",
    ),
    Alert(
        "AlertsNotDelivered",
        "sum by (namespace, integration) (rate(alertmanager_notifications_failed_total[5m])) > 0",
        5,
        Severity.CRITICAL,
        "Alertmanager cannot tell people by {{ $labels.integration }}.",
    ),
    Alert(
        "AlertmanagerUnreachable",
        "sum by (namespace, pod) (rate(prometheus_notifications_dropped_total[5m])) > 0",
        5,
        Severity.CRITICAL,
        "Prometheus cannot give alerts to any Alertmanager.",
    ),
    Alert(
        "NodeDiskFull",
        f'min by (namespace, node) (node_filesystem_avail_bytes{{mountpoint="{DISK}"}} / node_filesystem_size_bytes{{mountpoint="{DISK}"}}) < 0.1',
        5,
        Severity.CRITICAL,
        "The disk of {{ $labels.node }} has {{ $value | humanizePercentage }} left: it will evict pods.",
    ),
    Alert(
        "NodeMemoryFull",
        "min by (namespace, node) (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) < 0.05",
        10,
        Severity.WARNING,
        "{{ $labels.node }} has {{ $value | humanizePercentage }} of its memory left.",
    ),
)
