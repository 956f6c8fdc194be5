"""HAProxy as rendered for a site with the Matrix Authentication Service, whose tokens say nothing of whose they are: HAProxy asks Synapse.

Synapse's processes are stand-ins, which know of each token whose it is.
"""

import hashlib
import json
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from attrs import evolve, frozen

from main_instance.haproxy.configuration import Pool, Whose, configuration
from tests.live.processes import LOOPBACK, running, wait_for
from tests.live.stubs import Pods, Stub
from tests.live.test_routing import DOMAIN, INGRESS, Answer, Client, Proxy, haproxy, servers, specification
from tests.routing import DELEGATED

pytestmark = pytest.mark.live
__all__ = ["haproxy"]

INSTANCES = 4
PAUSE = 5
"""Seconds without a question, in whose.lua."""
SYNC = "/_matrix/client/v3/sync?since=s1"
PEOPLE = [f"@person{number}:example.com" for number in range(20)]
USED = ("synchrotron", "sliding-sync", "client-reader", "event-creator", "typing-persister")


@frozen
class Site:
    """A running HAProxy, and Synapse's processes."""

    proxy: Proxy
    synapse: Pods

    def device(self, user: str) -> str:
        """A new token of a user, in the service's form."""
        token = f"mat_{secrets.token_hex(15)}_{secrets.token_hex(3)}"
        self.synapse.users[token] = user
        return token

    def ask(self, token: str, path: str = SYNC, address: str = "203.0.113.1") -> Answer:
        """A request of a client at an address."""
        client = Client(self.proxy.ports.public, INGRESS)
        answer = client.get(path, ("Authorization", f"Bearer {token}"), ("X-Forwarded-For", address), ("User-Agent", f"phone of {address}"))
        client.close()
        return answer

    @property
    def asked(self) -> int:
        """How often Synapse has been asked whose a token is."""
        return sum(stub.requests for stub in self.readers)

    @property
    def readers(self) -> list[Stub]:
        """The processes that are asked."""
        return [stub for name, stub in self.synapse.stubs.items() if name.startswith("client-reader-")]

    @property
    def metrics(self) -> str:
        """What Prometheus is told."""
        return self.proxy.probe("/metrics").text.decode()

    @property
    def questions(self) -> int:
        """How often HAProxy has set out to ask."""
        return int(re.findall(r'haproxy_frontend_http_requests_total\{proxy="whose"\} (\d+)', self.metrics)[0])

    def command(self, text: str) -> str:
        """What HAProxy says to a command."""
        with socket.create_connection((LOOPBACK, self.proxy.ports.runtime_api), timeout=5) as connection:
            connection.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def settle(self) -> None:
        wait_for(lambda: self.proxy.alive() == self.synapse.listening(), 20, "HAProxy to see which servers live")


@contextmanager
def running_site(haproxy: str, folder: Path, whose: Whose) -> Iterator[Site]:
    with ExitStack() as stack:
        synapse = stack.enter_context(Pods.running(DOMAIN))
        pools = tuple(Pool(worker, servers(worker, INSTANCES), DOMAIN) for worker in DELEGATED if worker.name in USED)
        synapse.start("main-0", *(name for pool in pools for name in pool.worker.instances(pool.ceiling)))
        synapse.users["nobody's"] = ""
        dns = (f"{LOOPBACK}:{synapse.dns()}",)
        spec = evolve(specification(synapse), pools=pools, federation=False, whose=whose, nameservers=dns)
        for name, text in configuration(spec).items():
            (folder / name).write_text(text, newline="")
        program = stack.enter_context(running([haproxy, "-W", "-db", "-f", folder / "haproxy.cfg"], name="haproxy"))
        proxy = Proxy(program, spec.ports)
        program.ready(lambda: proxy.alive() == synapse.listening(), 20)
        yield Site(proxy, synapse)


@pytest.fixture(scope="module")
def shared(haproxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests in which Synapse answers."""
    with running_site(haproxy, tmp_path_factory.mktemp("haproxy"), Whose(milliseconds=5000, all_refused=60)) as found:
        yield found


@pytest.fixture
def own(haproxy: str, tmp_path: Path) -> Iterator[Site]:
    """For a test in which it does not, after which HAProxy asks nothing for a while, and for one that looks at all that HAProxy keeps."""
    with running_site(haproxy, tmp_path, Whose()) as found:
        yield found


def test_the_devices_of_a_person_meet_on_one_process_and_people_are_spread(shared: Site) -> None:
    reached = {person: {shared.ask(shared.device(person)).server for _ in range(4)} for person in PEOPLE}
    assert all(len(found) == 1 for found in reached.values()), reached
    assert {name for found in reached.values() for name in found} == {f"synchrotron-{number}" for number in range(INSTANCES)}


def test_synapse_is_asked_once_for_each_token_and_only_where_it_matters(shared: Site) -> None:
    token, before = shared.device(PEOPLE[0]), shared.asked
    first = shared.ask(token)
    assert (shared.asked, first.status) == (before + 1, 200)
    again = [shared.ask(token) for _ in range(5)] + [shared.ask(token, f"{SYNC}&access_token=x")]
    assert {answer.server for answer in again} == {first.server}
    shared.ask(shared.device(PEOPLE[1]), "/_matrix/client/v3/rooms/!a/typing/@bob:example.com")
    shared.ask("syt_YWxpY2U_abcdefghijklmnopqrst_123456")
    assert shared.asked == before + 1


def test_synapse_is_asked_in_the_name_of_the_client_since_it_writes_down_where_a_device_was_seen(shared: Site) -> None:
    shared.ask(shared.device(PEOPLE[0]), address="203.0.113.9")
    (asked,) = (stub.last for stub in shared.readers if stub.last.get("x-forwarded-for") == "203.0.113.9")
    assert (asked["user-agent"], asked["x-forwarded-proto"]) == ("phone of 203.0.113.9", "https")
    assert re.fullmatch(r"[0-9a-f-]{36}", asked["x-request-id"])


HOSTILE = ("", "a%20b", "a%0d%0aX-Forwarded-For:%20198.51.100.1", "a%00", "%ff%fe", "x" * 513, "a'b", 'a"b', "syt_", "${jndi}")


def test_what_is_no_token_is_asked_of_nobody_and_goes_on(shared: Site) -> None:
    client, before = shared.proxy.public, shared.asked
    for token in HOSTILE:
        assert client.get(f"{SYNC}&access_token={token}").pool == "synchrotron", token
        if "%0" not in token:
            header = ("Authorization", f"Bearer {unquote(token, 'latin-1')}")
            assert client.get(SYNC, header).pool == "synchrotron", token
    assert shared.asked == before


def test_who_tries_tokens_causes_thirty_questions_and_others_are_not_hindered(shared: Site) -> None:
    guesser, before = "198.51.100.7", shared.asked
    for number in range(80):
        assert shared.ask(f"mat_{number:030d}_abcdef", address=guesser).status == 200
    assert shared.asked == before + 30
    assert len({shared.ask(shared.device(PEOPLE[0])).server for _ in range(6)}) == 1
    assert shared.asked == before + 36
    assert shared.ask(shared.device(PEOPLE[0]), address=guesser).status == 200
    assert shared.asked == before + 36


def test_many_new_tokens_at_once_wait_for_a_few_answers_alone(shared: Site) -> None:
    for stub in shared.readers:
        stub.delay = 0.3
    most, answers = 0, list[Answer]()
    tokens = [shared.device(PEOPLE[number % len(PEOPLE)]) for number in range(80)]
    threads = [Thread(target=lambda token=token: answers.append(shared.ask(token))) for token in tokens]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, sum(stub.open_requests for stub in shared.readers))
        time.sleep(0.005)
    for stub in shared.readers:
        stub.delay = 0
    assert [answer.status for answer in answers] == [200] * len(tokens)
    # Twenty, and what two threads of HAProxy begin at the same moment: neither has counted that. Without a limit it is nearly all of them.
    assert 5 <= most <= 40, most


def test_many_addresses_that_try_tokens_are_too_many_together(shared: Site) -> None:
    before = shared.asked
    for number in range(40):
        assert shared.ask(f"mat_{number:030d}_abcdef", address=f"198.51.100.{100 + number}").status == 200
    assert shared.asked - before < 31
    assert len({shared.ask(shared.device(PEOPLE[0])).server for _ in range(6)}) > 1, "by token, as without an answer"


def test_while_nobody_can_say_whose_tokens_are_each_keeps_to_one_process_and_no_request_waits(own: Site) -> None:
    able = [name for name in own.synapse.stubs if re.match("client-reader|event-creator", name)]
    own.synapse.kill(*able)
    own.settle()
    tokens, start = list(map(own.device, PEOPLE)), time.monotonic()
    reached = [[own.ask(token) for _ in range(3)] for token in tokens]
    assert own.questions <= 2 * (1 + (time.monotonic() - start) // PAUSE), "each thread of HAProxy finds out for itself"
    assert {answer.status for answers in reached for answer in answers} == {200}
    assert all(len({answer.server for answer in answers}) == 1 for answers in reached)
    assert len({answers[0].server for answers in reached}) > 1
    own.synapse.restart(*able)
    own.settle()
    wait_for(lambda: own.ask(own.device(PEOPLE[0])).status == 200 and own.asked, 10, "Synapse to be asked again")
    # One of HAProxy's threads may have failed later than the other.
    time.sleep(1)
    assert len({own.ask(own.device(PEOPLE[0])).server for _ in range(6)}) == 1


def test_a_client_waits_half_a_second_at_most_and_the_next_ones_not_at_all(own: Site) -> None:
    for stub in own.readers:
        stub.delay = 60
    start = time.monotonic()
    answers = [own.ask(own.device(PEOPLE[0])) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    assert 1 <= own.questions <= 2 * (1 + (time.monotonic() - start) // PAUSE), "each thread of HAProxy finds out for itself"
    lines = [json.loads(line) for line in own.proxy.program.output().splitlines() if line.startswith("{")]
    assert all(line["total"] < 3000 for line in lines), "half a second, and what a busy machine adds"
    metrics = (r'current_sessions\{proxy="whose"\} 0\b', r'http_responses_total\{proxy="whose",code="5xx"\} [1-9]')
    wait_for(lambda: all(re.search(one, own.metrics) for one in metrics), 3, "HAProxy to give up what it asked, and to count it")


def test_no_token_and_no_user_stands_in_a_log_or_in_what_haproxy_keeps(own: Site) -> None:
    tokens = [own.device("@c3vret:example.com") for _ in range(5)]
    for token in tokens:
        own.ask(token)
    own.ask("mat_guessed")
    for stub in own.readers:
        stub.delay = 60
    own.ask(own.device("@c3vret:example.com"))
    lines = wait_for(lambda: [line for line in own.proxy.program.output().splitlines() if '"whose"' in line], 3, "the failure in the log")
    assert [(json.loads(line)["status"], json.loads(line)["client"]) for line in lines] == [(504, "203.0.113.1")]
    kept = own.command("show table whose")
    assert re.search(r"size:102400, used:5\b", kept)
    assert re.search(r'haproxy_sticktable_used\{name="whose",type="binary"\} 5\b', own.metrics)
    shown = kept + own.command("show table public") + own.metrics + own.proxy.program.output()
    assert not [secret for secret in (*own.synapse.users, "mat_guessed", "c3vret") if secret in shown]
    assert hashlib.sha256(tokens[0].encode()).hexdigest().upper() in kept
