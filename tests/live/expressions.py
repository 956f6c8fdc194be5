"""Which metrics and labels an expression of PromQL needs, by its own grammar."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser


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


def exposition(text: str) -> Mapping[str, set[str]]:
    """Metric to the labels of its series, of a text in Prometheus' format."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("{") if "{" in line.split(" ")[0] else (line.split(" ")[0], "", "")
            found[name] |= set(_labels(rest)) if rest else set()
    return found


def _labels(rest: str) -> Iterator[str]:
    """The names of labels in what follows an opening brace."""
    quoted, escaped, name = False, False, ""
    for character in rest:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted:
            if character == "}":
                return
            if character == "=":
                yield name
            name = "" if character in ",=" else name + character
