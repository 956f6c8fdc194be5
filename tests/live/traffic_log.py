"""What the lines of `python -m tests.live.clients traffic` say about the time of a fault."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from tests.live.report import Fault

Line: TypeAlias = dict[str, Any]


def parse(output: str) -> list[Line]:
    """The lines that are complete."""
    complete, _, _ = output.rpartition("\n")
    return [json.loads(line) for line in complete.splitlines()]


def longest_gap(times: Iterable[float], start: float, end: float) -> float:
    """The longest time between two neighbours of `times` and the ends of the window, seconds."""
    inside = sorted(time for time in times if start <= time <= end)
    return max(after - before for before, after in pairwise([start, *inside, end]))


def gap(lines: Sequence[Line], kind: str, start: float, end: float) -> float:
    """The longest time in which one person had no line of a kind, the worst of all who have any."""
    people = {line["by"] for line in lines if line["kind"] == kind}
    return max(longest_gap((line["at"] for line in lines if line["kind"] == kind and line["by"] == name), start, end) for name in people)


def lost(lines: Sequence[Line]) -> set[tuple[str, str]]:
    """Accepted messages that a member was not shown when last asked: (member, event). What was accepted afterwards does not count.

    A history that could not be had (`texts` is null) shows nothing: all that should be in it is lost.
    """
    last: dict[tuple[str, str], Line] = {(line["by"], line["room"]): line for line in lines if line["kind"] == "history"}
    accepted = [line for line in lines if line["kind"] == "accepted"]
    return {
        (member, line["event"])
        for (member, room), history in last.items()
        for line in accepted
        if line["room"] == room and line["at"] < history["asked"] and line["event"] not in (history["texts"] or {})
    }


def twice(lines: Sequence[Line]) -> set[str]:
    """Texts that a member was shown in more than one message when last asked."""
    last = {(line["by"], line["room"]): line for line in lines if line["kind"] == "history"}
    counted = (Counter((history["texts"] or {}).values()) for history in last.values())
    return {text for texts in counted for text, number in texts.items() if number > 1}


def fault(name: str, lines: Sequence[Line], start: float, end: float) -> Fault:
    """What was noticed between two times."""
    inside = [line for line in lines if start <= line["at"] <= end]
    return Fault(
        name,
        accepted=sum(line["kind"] == "accepted" for line in inside),
        sending_gap=round(gap(lines, "accepted", start, end), 1),
        reading_gap=round(gap(lines, "read", start, end), 1),
        refused=sum(line["kind"] == "refused" for line in inside),
        lost=len(lost(lines)),
        twice=len(twice(lines)),
    )
