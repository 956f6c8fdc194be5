"""What coturn's metrics tell people (src/apps/relay/prom_server.c)."""

from kit.monitoring import Alert, Severity


def alerts(total_quota: int) -> tuple[Alert, ...]:
    """Those of servers of which each relays at the most so many at once."""
    return (
        Alert(
            "TurnQuotaUsed",
            f"sum by (namespace, pod) (turn_total_allocations) > {total_quota * 9 // 10}",
            5,
            Severity.WARNING,
            f"{{{{ $labels.pod }}}} relays {{{{ $value }}}} of {total_quota} at the most: soon it refuses people whose network needs it.",
        ),
    )
