"""What a dashboard is made of: rows of panels, each with a question that it answers and queries that were proven to return something.

These are plain values: docs/reference/dashboards.md, the tests that run every query, and the JSON that Grafana reads are made of them.
"""

from collections.abc import Iterator
from enum import Enum

from attrs import frozen


class Unit(Enum):
    """What numbers are shown in; Grafana's own names (packages/grafana-data/src/valueFormats/categories.ts)."""

    AMOUNT = "short"
    BITS = "bps"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    MICROSECONDS = "µs"
    MILLISECONDS = "ms"
    PER_SECOND = "ops"
    REQUESTS = "reqps"
    SECONDS = "s"
    SHARE = "percentunit"


class Look(Enum):
    """How a panel draws what its queries return."""

    LINES = "lines"
    STACKED = "stacked"
    NUMBER = "number"
    TABLE = "table"
    HEAT = "heat"
    LOGS = "logs"


class Source(Enum):
    """Where a query is sent; the name is that of the datasource's type in Grafana, and of its uid here."""

    METRICS = "prometheus"
    LOGS = "loki"


@frozen
class Query:
    """An expression of PromQL or LogQL, and what its series are called: text with `{{label}}` in it."""

    expression: str
    legend: str = ""


@frozen
class Panel:
    """One picture. `text`: what it tells, and when to worry. `bounds`: from where on a value is yellow, and red.

    `width` is in 24ths of the screen. `details`: the dashboard, by its file name, that tells more.
    """

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: Unit = Unit.AMOUNT
    look: Look = Look.LINES
    source: Source = Source.METRICS
    width: int = 12
    height: int = 8
    bounds: tuple[float, float] | None = None
    details: str | None = None


@frozen
class Row:
    """Panels about one thing. `upstream`: the rows of Synapse's own dashboard that it is in place of. `folded`: it opens when it is clicked."""

    title: str
    panels: tuple[Panel, ...]
    upstream: tuple[str, ...] = ()
    folded: bool = False


@frozen
class Variable:
    """A choice at the top of a dashboard: the values of a label of the series that match. More than one can be chosen; all are at first."""

    name: str
    label: str
    values_of: str
    """The label."""
    series: str
    """A selector; it may name variables that come before."""


@frozen
class Board:
    """A dashboard. `name` is that of its file and its address in Grafana; `question` is what it answers at a glance."""

    name: str
    title: str
    question: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> Iterator[Panel]:
        """All panels, from top to bottom."""
        return (panel for row in self.rows for panel in row.panels)


def lines(title: str, text: str, unit: Unit, *queries: Query, width: int = 12, bounds: tuple[float, float] | None = None) -> Panel:
    """Lines over time."""
    return Panel(title, text, queries, unit, Look.LINES, width=width, bounds=bounds)


def stacked(title: str, text: str, unit: Unit, *queries: Query, width: int = 12) -> Panel:
    """Areas over time, on top of each other: their sum is what counts."""
    return Panel(title, text, queries, unit, Look.STACKED, width=width)


def number(
    title: str,
    text: str,
    unit: Unit,
    expression: str,
    legend: str = "",
    *,
    bounds: tuple[float, float] | None = None,
    details: str | None = None,
    width: int = 4,
) -> Panel:
    """A number as it is now, with its course behind it."""
    return Panel(title, text, (Query(expression, legend),), unit, Look.NUMBER, width=width, height=5, bounds=bounds, details=details)


def heat(title: str, text: str, unit: Unit, buckets: str) -> Panel:
    """How many of each size over time. `buckets`: an expression whose series have the label `le`."""
    return Panel(title, text, (Query(buckets, "{{le}}"),), unit, Look.HEAT)


def table(title: str, text: str, unit: Unit, *queries: Query, width: int = 12, details: str | None = None) -> Panel:
    """A line for each series, as it is now."""
    return Panel(title, text, queries, unit, Look.TABLE, width=width, details=details)


def logs(title: str, text: str, expression: str) -> Panel:
    """Lines of log."""
    return Panel(title, text, (Query(expression),), look=Look.LOGS, source=Source.LOGS, width=24, height=10)
