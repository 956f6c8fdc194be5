"""What the components declare as alerts, as rules of Prometheus."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kit.monitoring import Alert

PAGES = "docs/04-TROUBLESHOOTING.md"
"""A page for each alert, below a heading of its name."""


def groups(alerts: Iterable[tuple[str, Alert]], pages: str | None) -> dict[str, dict[str, Any]]:
    """Component to its group of rules. `pages`: the URL under which people read `PAGES`."""
    by_component: dict[str, list[Alert]] = defaultdict(list)
    for component, alert in alerts:
        by_component[component].append(alert)
    return {
        component: {"name": component, "rules": [_rule(alert, pages or PAGES) for alert in listed]}
        for component, listed in by_component.items()
    }


def _rule(alert: Alert, pages: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        **({"for": f"{alert.minutes}m"} if alert.minutes else {}),
        "labels": {"severity": alert.severity.value},
        # The heading as a part of an address, as GitHub and GitLab make it.
        "annotations": {"summary": alert.summary, "runbook_url": f"{pages}#{alert.name.lower()}"},
    }
