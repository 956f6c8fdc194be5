"""What the metrics of the officers' proxy tell people."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "LiProxyBackendDown",
        'max by (namespace, proxy) (haproxy_backend_active_servers{job="li-proxy"}) == 0',
        2,
        Severity.CRITICAL,
        "The officers' proxy does not reach {{ $labels.proxy }}: without it officers read nothing.",
    ),
)
