"""What a live run has shown, for the table at its end."""

from collections.abc import Sequence

from attrs import define, field, frozen
from tabulate import tabulate


@frozen
class Fault:
    """What people noticed of a fault while they went on sending and reading. Times in seconds."""

    name: str
    accepted: int
    """Messages that the server accepted in the meantime."""
    sending_gap: float
    """The longest time in which no message of one sender was accepted."""
    reading_gap: float
    """The longest time in which nothing new reached one reader."""
    refused: int
    """Requests that were answered with an error or not at all; clients tried again."""
    lost: int
    """Accepted messages that some member is not shown afterwards."""
    twice: int
    """Messages that some member is shown more than once."""


@define(eq=False)
class Report:
    """Filled by the tests of a run."""

    boot: str = ""
    routes: list[tuple[str, int, str]] = field(factory=list)
    """Class of requests, how many, and the worker type that served all of them."""
    unproven: list[str] = field(factory=list)
    workers: dict[str, str] = field(factory=dict)
    """Worker type, and what shows that it works."""
    scenarios: list[tuple[str, str]] = field(factory=list)
    """What people did, and how it ended."""
    faults: list[Fault] = field(factory=list)
    scaling: list[tuple[str, str]] = field(factory=list)
    logs: str = ""
    """Where the output of all containers is, if a test failed."""

    def lines(self) -> list[str]:
        """The tables, as plain text."""
        parts: list[tuple[str, list[str], Sequence[Sequence[object]]]] = [
            (f"boot: {self.boot}", [], []),
            (f"what people did: {len(self.scenarios)}", ["scenario", "result"], self.scenarios),
            (f"route classes proven by HAProxy's log: {len(self.routes)}", ["served by", "classes", "requests"], self._by_server()),
            (f"worker types at work: {len(self.workers)}", ["worker type", "evidence"], sorted(self.workers.items())),
            (
                f"faults survived: {sum(not fault.lost for fault in self.faults)}",
                ["fault", "accepted", "longest gap sending (s)", "longest gap reading (s)", "requests refused", "lost", "twice"],
                [(f.name, f.accepted, f.sending_gap, f.reading_gap, f.refused, f.lost, f.twice) for f in self.faults],
            ),
            ("scaling", ["step", "result"], self.scaling),
        ]
        found: list[str] = []
        for title, headers, rows in parts:
            if rows or (not headers and self.boot):
                found += [title, *_table(headers, rows), ""]
        if self.unproven:
            found.append(f"route classes that nobody asked for: {', '.join(self.unproven)}")
        if self.logs:
            found.append(f"the output of all containers: {self.logs}")
        return found

    def _by_server(self) -> list[tuple[str, int, int]]:
        numbers = {server: [number for _, number, who in self.routes if who == server] for _, _, server in self.routes}
        return [(server, len(found), sum(found)) for server, found in sorted(numbers.items())]


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return tabulate(rows, headers, tablefmt="simple", floatfmt=".1f").splitlines() if rows else []
