"""What the liveness probe of a Synapse process hears."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event
from typing import ClassVar

import pytest

from services.synapse_start import liveness
from services.synapse_start.liveness import Liveness
from tests.live.processes import free_ports
from tests.live.servers import HttpHandler, serving


class Synapse(HttpHandler):
    """Its listener for `/health`."""

    status: ClassVar[int] = 200
    goes_on: ClassVar[Event] = Event()

    def do_GET(self) -> None:
        """Answer, when it does."""
        self.goes_on.wait(10)
        self.answer(self.status if self.path == "/health" else 404)


@pytest.fixture
def synapse() -> Iterator[type[Synapse]]:
    """One that answers."""
    Synapse.status = 200
    Synapse.goes_on.set()
    yield Synapse
    Synapse.goes_on.set()


@pytest.fixture
def ask(synapse: type[Synapse], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], int]]:
    """The answer's status, while Synapse serves or does not."""
    monkeypatch.setattr(liveness, "ANSWER_SECONDS", 0.5)
    with serving(synapse) as health, Liveness(0, health) as server:
        server.start()

        def status(serves: bool) -> int:
            server.serving = lambda: serves
            with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)) as connection:
                connection.request("GET", "/alive")
                return connection.getresponse().status

        yield status
        synapse.goes_on.set()
        server.shutdown()


def test_a_process_lives_while_it_waits_starts_or_stops(ask: Callable[[bool], int], synapse: type[Synapse]) -> None:
    synapse.goes_on.clear()
    assert ask(False) == 200


def test_one_that_serves_lives_as_long_as_synapse_answers(ask: Callable[[bool], int], synapse: type[Synapse]) -> None:
    assert ask(True) == 200
    synapse.status = 500
    assert ask(True) == 503


def test_one_that_serves_and_hangs_does_not_live(ask: Callable[[bool], int], synapse: type[Synapse]) -> None:
    synapse.goes_on.clear()
    assert ask(True) == 503


def test_one_whose_listener_is_gone_does_not_live() -> None:
    (port,) = free_ports(1)
    with Liveness(0, port) as server:
        server.serving = lambda: True
        assert not server.alive()
