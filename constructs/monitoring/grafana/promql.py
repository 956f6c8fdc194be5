"""Expressions of PromQL, put together from their parts. `where` are matchers of labels: `job="livekit"`."""

from monitoring.grafana.board import Query

INTERVAL = "$__rate_interval"
"""Grafana's name for the shortest time that always has enough measurements in it."""


def series(metric: str, *where: str) -> str:
    """The series of a metric."""
    return f"{metric}{{{','.join(where)}}}" if where else metric


def rate(metric: str, *where: str) -> str:
    """How fast a counter grows, in a second."""
    return f"rate({series(metric, *where)}[{INTERVAL}])"


def per(by: str, metric: str, *where: str) -> str:
    """The same, added up for each value of some labels."""
    return f"sum by ({by}) ({rate(metric, *where)})"


def total(metric: str, *where: str) -> str:
    """The same, added up."""
    return f"sum({rate(metric, *where)})"


def added(one: str, other: str) -> str:
    """The sum of two expressions with like labels."""
    return f"({one} + {other})"


def less(one: str, other: str) -> str:
    """The difference of two expressions with like labels."""
    return f"{one} - {other}"


def share(part: str, whole: str) -> str:
    """The quotient of two expressions with like labels."""
    return f"{part} / {whole}"


def average(by: str, summary: str, *where: str) -> str:
    """What one thing takes, of a summary or histogram."""
    return share(per(by, f"{summary}_sum", *where), per(by, f"{summary}_count", *where))


def top(expression: str) -> str:
    """The ten largest."""
    return f"topk(10, {expression})"


def or_none(expression: str, by: str, metric: str, *where: str) -> str:
    """Nothing, for all that have the metric, where an expression has no series: for counters that are not there before they count."""
    return f"{expression} or 0 * count by ({by}) ({series(metric, *where)})"


def quantile(part: float, by: str, histogram: str, *where: str) -> str:
    """The value that this part of all does not exceed, for each value of some labels."""
    return f"histogram_quantile({part}, {per(f'le, {by}' if by else 'le', f'{histogram}_bucket', *where)})"


def quantiles(histogram: str, *where: str, parts: tuple[float, ...] = (0.5, 0.9, 0.99)) -> tuple[Query, ...]:
    """Several of them."""
    return tuple(Query(quantile(part, "", histogram, *where), f"{part:.0%}") for part in parts)
