"""What HAProxy wrote down about the requests that it passed on, beside what the clients say that they sent."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from tests.live.route_classes import CLASSES, MAIN, RouteClass, classify

_REFUSED = frozenset({"public", "internal"})
"""The pool of a request that HAProxy answered itself is the name of the frontend."""


@frozen
class Served:
    """One line of the log: who asked what, and which server of which pool answered. `path`: without the query."""

    request_id: str
    client: str
    method: str
    path: str
    status: int
    frontend: str
    pool: str
    server: str

    @property
    def passed_on(self) -> bool:
        """Whether HAProxy asked a server at all."""
        return self.pool not in _REFUSED and self.server != "<NOSRV>"


def read(logs: Iterable[str]) -> list[Served]:
    """The lines of the access log in the output of HAProxy's pods."""
    lines = (line for log in logs for line in log.splitlines() if line.startswith('{"time"'))
    return [
        Served(row["request_id"], row["client"], row["method"], row["path"], row["status"], row["frontend"], row["pool"], row["server"])
        for row in map(json.loads, lines)
    ]


@frozen
class Routing:
    """Where the requests of a run went."""

    taken: Mapping[str, int]
    """How many requests of each class were served, by the class's name."""
    wrong: Sequence[str]
    """What went elsewhere than it should, or was not logged, one line each."""
    by_main: Sequence[str]
    """The requests that main served and a worker should have, one line each."""

    @property
    def unproven(self) -> list[RouteClass]:
        """The classes that nobody asked for."""
        return [row for row in CLASSES if row.name not in self.taken]


def compare(requests: Iterable[Mapping[str, Any]], lines: Iterable[Served]) -> Routing:
    """Lay what clients sent (rows with `by`, `method`, `target` and `status`) beside what HAProxy logged about these clients.

    The log leaves the query out, on which the pool of a sync depends: so requests are counted by all that both sides know.
    """
    rows = list(requests)
    clients = {row["by"] for row in rows}
    logged = [line for line in lines if line.client in clients]
    refused = Counter((line.client, line.method, line.path, line.status) for line in logged if not line.passed_on)
    expected: Counter[tuple[str, str, str, int, str]] = Counter()
    taken: Counter[str] = Counter()
    for row in rows:
        path = row["target"].partition("?")[0]
        key = (row["by"], row["method"], path, row["status"])
        if refused[key]:
            refused[key] -= 1
            continue
        kind = classify(row["method"], row["target"])
        expected[(*key, kind.worker)] += 1
        taken[kind.name] += 1
    actual = Counter((line.client, line.method, line.path, line.status, line.pool) for line in logged if line.passed_on)
    wrong = [f"expected {count} x {key}" for key, count in (expected - actual).items()]
    wrong += [f"logged {count} x {key}" for key, count in (actual - expected).items()]
    by_main = [" ".join(map(str, key[1:4])) for key in (actual - expected) if key[4] == MAIN]
    return Routing(dict(taken), wrong, by_main)
