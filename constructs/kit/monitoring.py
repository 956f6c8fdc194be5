"""What a component offers to those who watch it: metrics, the alerts that are made of them, and dashboards."""

from enum import Enum

from attrs import frozen

from kit.network import Pods, Port


@frozen
class Scrape:
    """Metrics in Prometheus's format that every one of `pods` serves at `path`. `job`: what the series are called by."""

    job: str
    pods: Pods
    port: Port
    path: str = "/metrics"


class Severity(Enum):
    """What an alert asks of people."""

    CRITICAL = "critical"
    """Users notice: somebody gets up."""
    WARNING = "warning"
    """It will become critical, or redundancy is gone: somebody looks today."""


@frozen
class Alert:
    """A rule of Prometheus. `expression`: PromQL that is true of each series that is wrong, for `minutes` before anybody is told.

    The page docs/04-TROUBLESHOOTING.md has a heading called like the alert.
    """

    name: str
    expression: str
    minutes: int
    severity: Severity
    summary: str
