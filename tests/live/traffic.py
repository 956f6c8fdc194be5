"""People who send and read without a pause while a test breaks something, and what they noticed."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from attrs import frozen

from tests.live.cluster import Client, Cluster
from tests.live.installation import PUBLIC, SERVER_NAME, launch, register
from tests.live.processes import wait_for
from tests.live.report import Fault
from tests.live.traffic_log import Line, fault, parse

_END_SECONDS = 90.0
_HISTORIES_SECONDS = 600.0
"""Every event of every room, for each person: two processors that run all pods of a larger size take minutes."""
_BEFORE_SECONDS, _AFTER_SECONDS = 2.0, 3.0
"""Undisturbed time that a fault's window includes."""


class Running(Protocol):
    """A program that runs where people are."""

    def output(self) -> str:
        """What it has printed to standard output so far."""

    def signal(self, number: int) -> None:
        """Send it a signal."""


@frozen
class Traffic:
    """The running program."""

    client: Running
    people: tuple[str, ...]

    def lines(self) -> list[Line]:
        """What it has told so far."""
        return parse(self.client.output())

    def _count(self, kind: str) -> int:
        return sum(line["kind"] == kind for line in self.lines())

    def check(self) -> None:
        """Let every member be asked for what they are shown of every room."""
        before = self._count("checked")
        self.client.signal(signal.SIGUSR1)
        wait_for(lambda: self._count("checked") > before, _HISTORIES_SECONDS, "the histories")

    def flows(self, since: float) -> bool:
        """Whether everybody has sent something that was begun since then, and has read something since then."""
        lines = [line for line in self.lines() if line["at"] - line.get("seconds", 0) > since]
        return all(set(self.people) <= {line["by"] for line in lines if line["kind"] == kind} for kind in ("accepted", "read"))

    def survive(self, name: str, happens: Callable[[], None], seconds: float) -> Fault:
        """Let something happen, wait until everybody sends and reads again, and ask what was lost.

        Raises TimeoutError if they do not within `seconds` after it has happened.
        """
        start = time.monotonic()
        wait_for(lambda: self.flows(start), _END_SECONDS, f"traffic before: {name}")
        time.sleep(_BEFORE_SECONDS)
        happens()
        happened = time.monotonic()
        wait_for(lambda: self.flows(happened), seconds, f"traffic after: {name}")
        time.sleep(_AFTER_SECONDS)
        end = time.monotonic()
        self.check()
        return fault(name, self.lines(), start, end)


@contextlib.contextmanager
def traffic(cluster: Cluster, *names: str, rooms: int = 3, pause: float = 0.5) -> Iterator[Traffic]:
    """Traffic of new people for the time of a `with` block. They go on sending until its end."""
    given = {
        "base": PUBLIC,
        "host": f"matrix.{SERVER_NAME}",
        "server_name": SERVER_NAME,
        "people": register(cluster, *names),
        "rooms": rooms,
        "pause": pause,
    }
    client = launch(cluster, "traffic", given)
    running = Traffic(client, names)
    try:
        wait_for(lambda: running._count("ready") or not client.running(), _END_SECONDS, "the traffic to begin")
        if not client.running():
            client.wait(1).check()
        yield running
    finally:
        if client.running():
            client.signal(signal.SIGKILL)
            client.wait(10)


def finish(running: Traffic) -> list[Line]:
    """End the traffic in peace: what is under way comes to its end, and every member is asked a last time. Returns all lines."""
    assert isinstance(running.client, Client)
    running.client.signal(signal.SIGTERM)
    return parse(running.client.wait(_HISTORIES_SECONDS + _END_SECONDS).check().output)
