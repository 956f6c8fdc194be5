"""What Sygnal's metrics tell people."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "PushRefused",
        'sum by (namespace) (rate(sygnal_pushgateway_status_codes_total{code=~"5.."}[15m]))'
        " / sum by (namespace) (rate(sygnal_pushgateway_status_codes_total[15m])) > 0.2",
        15,
        Severity.WARNING,
        "{{ $value | humanizePercentage }} of what Synapse gives to Sygnal cannot be pushed: Apple or Google refuses it, or is not reached.",
    ),
)
