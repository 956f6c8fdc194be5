"""Which metrics, labels and values an expression of PromQL needs, by its own grammar, and which a program has."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import promql_parser
from attrs import frozen
from prometheus_client.parser import text_string_to_metric_families


def needs(expression: str) -> dict[str, set[str]]:
    """Metric to the labels that it must have: those that the expression chooses by, sums by or joins on."""
    found: dict[str, set[str]] = defaultdict(set)
    for metric, labels in _selectors(promql_parser.parse(expression), frozenset()):
        found[metric] |= labels
    return dict(found)


def _selectors(node: Any, by: frozenset[str]) -> Iterator[tuple[str, set[str]]]:
    match type(node).__name__:
        case "VectorSelector":
            yield node.name, {matcher.name for matcher in node.matchers.matchers if matcher.name != "__name__"} | by
        case "MatrixSelector":
            yield from _selectors(node.vector_selector, by)
        case "Call":
            for argument in node.args:
                yield from _selectors(argument, by)
        case "AggregateExpr":
            modifier = node.modifier
            kept = frozenset(modifier.labels) if modifier is not None and "By" in str(modifier.type) else frozenset()
            yield from _selectors(node.expr, by | kept)
        case "BinaryExpr":
            for side in (node.lhs, node.rhs):
                yield from _selectors(side, by)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from _selectors(node.expr, by)
        case "NumberLiteral" | "StringLiteral":
            return
        case other:
            raise ValueError(f"{other} in an expression: say here what it needs")


@frozen
class Choice:
    """A value of a label by which an expression chooses series of a metric: text, or an alternative of a regular expression."""

    metric: str
    label: str
    value: str
    expression: bool

    def among(self, values: Iterable[str]) -> bool:
        """Whether one of these is meant by it."""
        return any(re.fullmatch(self.value, value) if self.expression else self.value == value for value in values)

    def __str__(self) -> str:
        return f"{self.metric}{{{self.label}={self.value}}}"


def choices(expression: str) -> Iterator[Choice]:
    """Every one of an expression, those too that it leaves out: what is never there need not be left out."""
    for selector in _of_type(promql_parser.parse(expression), "VectorSelector"):
        for matcher in selector.matchers.matchers:
            kind = str(matcher.op).rpartition(".")[2]
            assert kind in ("Equal", "NotEqual", "Re", "NotRe"), kind
            by_expression = kind in ("Re", "NotRe")
            for value in matcher.value.split("|") if by_expression else (matcher.value,):
                yield Choice(selector.name, matcher.name, value, by_expression)


def without_sides(expression: str) -> Iterator[tuple[str, str]]:
    """Each side of each `or` of an expression, and the expression without it."""
    whole = promql_parser.parse(expression)
    for node in _unions(whole):
        sides = list(_sides(node))
        for left_out in sides:
            rest = " or ".join(_written(side) for side in sides if side is not left_out)
            assert _written(node) in _written(whole), expression
            yield _written(left_out), _written(whole).replace(_written(node), rest)


def _unions(node: Any) -> Iterator[Any]:
    """The outermost `or` of each chain of them."""
    if _joins(node):
        yield node
        return
    for below in _below(node):
        yield from _unions(below)


def _sides(node: Any) -> Iterator[Any]:
    for side in (node.lhs, node.rhs):
        yield from _sides(side) if _joins(side) else (side,)


def _joins(node: Any) -> bool:
    return type(node).__name__ == "BinaryExpr" and str(node.op).strip() == "or"


def _written(node: Any) -> str:
    """In one line. What the parser writes without breaking lines has not the colon of a subquery."""
    return re.sub(r"\( | \)", lambda found: found[0].strip(), " ".join(node.prettify().split()))


def _of_type(node: Any, wanted: str) -> Iterator[Any]:
    """The nodes of a type in an expression."""
    if type(node).__name__ == wanted:
        yield node
    for below in _below(node):
        yield from _of_type(below, wanted)


def _below(node: Any) -> Iterator[Any]:
    match type(node).__name__:
        case "MatrixSelector":
            yield node.vector_selector
        case "Call":
            yield from node.args
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield node.expr
        case "BinaryExpr":
            yield from (node.lhs, node.rhs)


Series = Mapping[str, Mapping[str, set[str]]]
"""Metric to its labels to their values."""


def series(text: str) -> Series:
    """What a text in Prometheus' format has."""
    found: dict[str, dict[str, set[str]]] = {}
    # Told that something is a counter, the parser would call it one that ends with _total.
    samples = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))
    for family in text_string_to_metric_families(samples):
        for sample in family.samples:
            of_metric = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                of_metric.setdefault(label, set()).add(value)
    return found


def exposition(text: str) -> Mapping[str, set[str]]:
    """Metric to the labels of its series, of a text in Prometheus' format."""
    return {metric: set(labels) for metric, labels in series(text).items()}
