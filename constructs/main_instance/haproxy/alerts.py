"""What HAProxy's metrics tell people."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "HAProxyBackendDown",
        'max by (namespace, proxy) (haproxy_backend_active_servers{job="haproxy"}) == 0',
        1,
        Severity.CRITICAL,
        "No process answers what HAProxy sends to {{ $labels.proxy }}.",
    ),
    Alert(
        "HAProxyQueue",
        'sum by (namespace, proxy) (haproxy_backend_current_queue{job="haproxy"}) > 20',
        5,
        Severity.WARNING,
        "{{ $value }} requests wait in HAProxy for a process of {{ $labels.proxy }}.",
    ),
)
