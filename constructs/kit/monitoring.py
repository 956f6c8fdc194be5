"""What a component offers to those who watch it: metrics, the alerts that are made of them, and dashboards."""

from enum import Enum

from attrs import frozen

from kit.network import Pods, Port


@frozen
class Scrape:
    """Metrics in Prometheus's format that every one of `pods` serves at `path`. `job`: what the series are called by.

    `series`: how many one pod has at most, as tests/live/test_dashboards.py counts them of what it runs; of the rest it is an estimate. Prometheus
    gets its memory by it.
    `parameters`: of the request, where a program serves the metrics of several. `of_others`: its series say themselves which namespace and pod
    they are about, and keep these labels; `series` are then for each pod that there is.
    """

    job: str
    pods: Pods
    port: Port
    series: int
    path: str = "/metrics"
    parameters: tuple[tuple[str, str], ...] = ()
    of_others: bool = False


class Severity(Enum):
    """What an alert asks of people."""

    CRITICAL = "critical"
    """Users notice: somebody gets up."""
    WARNING = "warning"
    """It will become critical, or redundancy is gone: somebody looks today."""
    NONE = "none"
    """Nothing is wrong: its absence is."""


@frozen
class Alert:
    """A rule of Prometheus. `expression`: PromQL that is true of each series that is wrong, for `minutes` before anybody is told.

    `summary`: what is wrong, with `{{ $labels.x }}` and `{{ $value }}`. `causes`: other alerts, by name, that nobody need hear of in the same
    namespace while this one is on, since it is why. The page docs/04-TROUBLESHOOTING.md has a heading called like the alert.
    """

    name: str
    expression: str
    minutes: int
    severity: Severity
    summary: str
    causes: tuple[str, ...] = ()
