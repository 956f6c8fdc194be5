"""Examples of what a regular expression matches."""

import itertools
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any


def examples(pattern: str, segment: str) -> list[str]:
    """Every text that the pattern can match: each with every alternative, with and without optional parts, with and without a tail.

    `segment` stands for each `[^/]+`. For the expressions of routes only: anything else raises NotImplementedError.
    """
    texts = _sequence(_parser.parse(pattern), segment)
    return [text for start in texts for text in (start, f"{start}v3/{segment}") if re.search(pattern, text)]


def _sequence(tokens: Any, segment: str) -> Iterator[str]:
    return map("".join, itertools.product(*(list(_token(operation, argument, segment)) for operation, argument in tokens)))


def _token(operation: Any, argument: Any, segment: str) -> Iterator[str]:
    match str(operation):
        case "LITERAL":
            yield chr(argument)
        case "AT":
            yield ""
        case "IN" if all(str(kind) == "LITERAL" for kind, _ in argument):
            yield from (chr(character) for _, character in argument)
        case "SUBPATTERN":
            yield from _sequence(argument[-1], segment)
        case "BRANCH":
            for branch in argument[1]:
                yield from _sequence(branch, segment)
        case "MAX_REPEAT" if argument[:2] == (0, 1):
            yield ""
            yield from _sequence(argument[2], segment)
        case "MAX_REPEAT" if argument[0] == 1 and _is_not_slash(argument[2]):
            yield segment
        case _:
            raise NotImplementedError(f"{operation} {argument}")


def _is_not_slash(tokens: Any) -> bool:
    return [(str(operation), argument) for operation, argument in tokens] == [("NOT_LITERAL", ord("/"))]
