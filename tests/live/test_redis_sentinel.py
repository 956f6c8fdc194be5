"""Valkey (or Redis), its Sentinels and the proxy that follows the primary, from the rendered files: who is the primary, and who is offered.

Pods are three to five pairs of processes on 127.0.0.1. Of the rendered files only addresses and ports differ from a cluster's: every pod is
called `localhost`, a name that Sentinel must resolve, and has ports of its own.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from infrastructure.redis.configuration import Member, RedisSpec, proxy_files, server_files
from kit.quantities import mib
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for

pytestmark = pytest.mark.live

PASSWORD = "first-password.of_the~set"
STABLE_SECONDS = 40


@frozen
class Programs:
    """What is run: Valkey where it is installed, else Redis, which has the same protocol and configuration."""

    server: str
    cli: str
    haproxy: str
    haproxy_version: tuple[int, ...]
    hands_over: bool
    """Whether Sentinel can make a primary hand over without losing a write (Valkey 9)."""


@pytest.fixture(scope="module")
def programs() -> Programs:
    tools = {name: shutil.which(name) for name in ("valkey-server", "valkey-cli", "redis-server", "redis-cli")}
    haproxy = os.environ.get("HAPROXY") or next(filter(os.path.exists, [".tools/haproxy/haproxy"]), None) or shutil.which("haproxy")
    server, cli = (tools["valkey-server"], tools["valkey-cli"]) if tools["valkey-server"] else (tools["redis-server"], tools["redis-cli"])
    if not (server and cli and haproxy):
        pytest.skip("needs valkey-server and valkey-cli (or redis-server and redis-cli) and haproxy: see tools/debian-packages.txt")
    printed = subprocess.run([haproxy, "-v"], capture_output=True, text=True, check=True, timeout=10).stdout
    version = tuple(map(int, re.findall(r"\d+", printed.split()[2])[:2]))
    major = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    return Programs(server, cli, haproxy, version, hands_over="alkey" in major and "v=9" in major)


class Refused(Exception):
    """The server answered with an error."""


class Client:
    """One connection that speaks RESP2 (https://valkey.io/topics/protocol/). Every wait is bounded by `seconds`."""

    def __init__(self, port: int, password: str | None = PASSWORD, seconds: float = 2) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=seconds)
        self._stream = self._socket.makefile("rb")
        try:
            if password:
                self("AUTH", password)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def interrupt(self) -> None:
        """End the connection under whoever waits for it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __call__(self, *words: str | int) -> Any:
        """Send a command and return its answer: text, number, None or a list of these. Raises Refused for an error, OSError for a lost connection."""
        parts = [str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self.receive()

    def receive(self) -> Any:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode()
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"-":
                raise Refused(rest)
            case b"$":
                return None if rest == "-1" else self._stream.read(int(rest) + 2)[:-2].decode()
            case b"*":
                return None if rest == "-1" else [self.receive() for _ in range(int(rest))]
        raise AssertionError(f"not RESP2: {line!r}")


def ask(port: int, *words: str | int, password: str | None = PASSWORD) -> Any:
    """One command on a connection of its own. Raises OSError if nobody answers, Refused for an error."""
    with Client(port, password) as client:
        return client(*words)


def attempt(port: int, *words: str | int, password: str | None = PASSWORD) -> Any:
    """As `ask`, but None if nobody answers or the answer is an error."""
    try:
        return ask(port, *words, password=password)
    except (OSError, Refused):
        return None


@define(eq=False)
class Pod:
    """A server and a Sentinel that share a volume, and live and die as containers do."""

    member: Member
    config: Path
    folder: Path
    programs: Programs
    server: Program | None = None
    sentinel: Program | None = None
    _running: dict[str, ExitStack] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for part in ("data", "run"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "POD_NAME": self.member.name,
            "REDIS_DATA": str(self.folder / "data"),
            "REDIS_RUN": str(self.folder / "run"),
            "REDIS_PASSWORD_FILE": str(self.config.parent / "password"),
            "REDIS_SERVER": self.programs.server,
            "REDIS_CLI": self.programs.cli,
        }

    def start(self) -> None:
        """Start both containers, as a kubelet starts a pod."""
        self.start_sentinel()
        self.start_server()

    def start_server(self) -> None:
        self.server = self._start("server")

    def start_sentinel(self) -> None:
        self.sentinel = self._start("sentinel")

    def _start(self, part: str) -> Program:
        stack = self._running[part] = ExitStack()
        command = ["sh", self.config / f"start-{part}.sh"]
        return stack.enter_context(running(command, name=f"{self.member.name}-{part}", environment=self.environment))

    def script(self, name: str, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts in this pod, as a probe or a hook does."""
        command = ["sh", str(self.config / name), *words]
        return subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=seconds, check=False)

    def kill_server(self) -> None:
        assert self.server
        self.server.kill()
        self._gone("server")

    def kill(self) -> None:
        """As a node that loses power."""
        for part, program in (("server", self.server), ("sentinel", self.sentinel)):
            if program:
                program.kill()
                self._gone(part)

    def stop(self) -> None:
        """As a kubelet: SIGTERM to both, the server's hook not run."""
        programs = [program for program in (self.server, self.sentinel) if program]
        for program in programs:
            program.send(signal.SIGTERM)
        for part in list(self._running):
            self._gone(part)

    def _gone(self, part: str) -> None:
        if stack := self._running.pop(part, None):
            stack.close()
        setattr(self, part, None)

    def wipe(self) -> None:
        shutil.rmtree(self.folder)
        self.__attrs_post_init__()

    def replication(self, password: str = PASSWORD) -> dict[str, str]:
        """The server's own view (INFO replication). Raises OSError while it does not answer."""
        lines = str(ask(self.member.port, "INFO", "replication", password=password)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def names(self) -> int | None:
        """The port of the server that this pod's Sentinel takes for the primary; None if it does not answer."""
        answer = attempt(self.member.sentinel_port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")
        return int(answer[1]) if answer else None


@define(eq=False)
class Set:
    """The pods of one set, and one proxy."""

    folder: Path
    programs: Programs
    spec: RedisSpec
    pods: list[Pod] = field(factory=list)
    proxy: Program | None = None
    _proxy_running: ExitStack = field(factory=ExitStack)

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.spec.proxy_port

    def write(self, spec: RedisSpec) -> None:
        """Put the rendered files where the pods mount them; a pod reads them when it starts."""
        self.spec = spec
        for name, files in (("config", server_files(spec)), ("proxy", proxy_files(spec))):
            (self.folder / name).mkdir(exist_ok=True)
            for file, text in files.items():
                (self.folder / name / file).write_text(self._on_this_machine(text))
        known = {pod.member.name: pod for pod in self.pods}
        self.pods = [
            known.get(member.name) or Pod(member, self.folder / "config", self.folder / member.name, self.programs)
            for member in spec.members
        ]

    def _on_this_machine(self, text: str) -> str:
        """The one place where the rendered text is changed: listen on 127.0.0.1 only, and no look-up by HAProxy's own resolver, which does not
        know `localhost`. HAProxy before 3.1 takes a server for up until its first check has failed, and has no word against it.
        """
        text = (
            text.replace("bind * -::*", f"bind {LOOPBACK}").replace("bind :", f"bind {LOOPBACK}:").replace(" localhost:", f" {LOOPBACK}:")
        )
        return text if self.programs.haproxy_version >= (3, 1) else text.replace(" init-state down", "")

    def password(self, password: str) -> None:
        (self.folder / "password").write_text(password + "\n")

    def start_proxy(self) -> None:
        self.stop_proxy()
        environment = {"HAPROXY": self.programs.haproxy, "REDIS_PASSWORD_FILE": str(self.folder / "password")}
        self.proxy = self._proxy_running.enter_context(
            running(["sh", self.folder / "proxy" / "start-proxy.sh"], name="proxy", environment=environment)
        )

    def stop_proxy(self) -> None:
        self._proxy_running.close()

    def close(self) -> None:
        self.stop_proxy()
        for pod in self.pods:
            pod.stop()

    def primary(self) -> Pod:
        """The pod that all Sentinels name and that says so itself. Raises OSError if there is none."""
        named = {pod.names() for pod in self.pods}
        found = [pod for pod in self.pods if {pod.member.port} == named and pod.replication()["role"] == "master"]
        if not found:
            raise ConnectionError(f"the Sentinels name {named}")
        return found[0]

    def replicas(self) -> list[Pod]:
        primary = self.primary()
        return [pod for pod in self.pods if pod is not primary]

    def is_stable(self) -> bool:
        """Everything is as it should be: one primary, all others its replicas in step, every Sentinel knows all, and the proxy offers the primary."""
        primary = self.primary()
        others = [pod.replication() for pod in self.pods if pod is not primary]
        if not all(
            view["role"] == "slave" and view["master_link_status"] == "up" and view["master_port"] == str(primary.member.port)
            for view in others
        ):
            return False
        for pod in self.pods:
            answer = ask(pod.member.sentinel_port, "SENTINEL", "MASTER", "primary")
            view = dict(zip(answer[::2], answer[1::2], strict=True))
            if view["flags"] != "master" or int(view["num-slaves"]) != len(others) or int(view["num-other-sentinels"]) != len(others):
                return False
            replicas = [
                dict(zip(one[::2], one[1::2], strict=True)) for one in ask(pod.member.sentinel_port, "SENTINEL", "REPLICAS", "primary")
            ]
            if not all(one["flags"] == "slave" and one["master-link-status"] == "ok" for one in replicas):
                return False
        return self.offered() == primary.member.port

    def offered(self) -> int | None:
        """The port of the server that a new client of the proxy gets; None if it gets none."""
        with contextlib.suppress(OSError, Refused), Client(self.port) as client:
            return int(client("CONFIG", "GET", "port")[1])
        return None

    def settle(self) -> Pod:
        """Start what is not running, wait until all is well, and return the primary."""
        for pod in self.pods:
            if not pod.sentinel:
                pod.start_sentinel()
            if not pod.server:
                pod.start_server()
        wait_for(self.is_stable, STABLE_SECONDS, "one primary that all agree on")
        return self.primary()


def spec_of(replicas: int, ports: Sequence[int]) -> RedisSpec:
    """`ports`: three for the proxy, then two for each pod."""
    pairs = list(zip(ports[3::2], ports[4::2], strict=True))[:replicas]
    pods = tuple(Member(f"redis-{ordinal}", "localhost", *pair) for ordinal, pair in enumerate(pairs))
    return RedisSpec(pods, mib(64), proxy_port=ports[0], health_port=ports[1], votes_port=ports[2])


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(3 + 2 * 5)


@pytest.fixture(scope="module")
def whole(programs: Programs, ports: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    made = Set(tmp_path_factory.mktemp("redis"), programs, spec_of(3, ports))
    made.password(PASSWORD)
    made.write(made.spec)
    with contextlib.closing(made):
        for pod in made.pods:
            pod.start()
        made.start_proxy()
        yield made


@pytest.fixture
def redis(whole: Set) -> Set:
    """The set in good order, whatever the test before has done to it."""
    whole.settle()
    return whole


@define(eq=False)
class Traffic:
    """A client of the proxy that counts up, one write and one message at a time, and a subscriber; both come back when they are cut."""

    port: int
    written: list[tuple[float, int]] = field(factory=list)
    """When each count was acknowledged."""
    heard: list[tuple[float, int]] = field(factory=list)
    """When each message arrived."""
    refusals: list[str] = field(factory=list)
    cuts: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)
    _clients: list[Client] = field(factory=list)

    def __enter__(self) -> "Traffic":
        self._threads = [threading.Thread(target=self._repeat, args=(part,)) for part in (self._write, self._listen)]
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.written and self.heard, 10, "traffic through the proxy")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.interrupt()
        for thread in self._threads:
            thread.join(40)

    def _repeat(self, part: Callable[[Client], None]) -> None:
        while not self._stop.is_set():
            try:
                with Client(self.port, seconds=25) as client:
                    self._clients.append(client)
                    part(client)
            except Refused as refusal:
                self.refusals.append(str(refusal))
            except OSError:
                self.cuts += 1
            self._stop.wait(0.05)

    def _write(self, client: Client) -> None:
        count = self.written[-1][1] if self.written else 0
        while not self._stop.is_set():
            count += 1
            client("RPUSH", "counts", count)
            self.written.append((time.monotonic(), count))
            client("PUBLISH", "counts", count)
            self._stop.wait(0.01)

    def _listen(self, client: Client) -> None:
        client("SUBSCRIBE", "counts")
        while not self._stop.is_set():
            _, _, message = client.receive()
            self.heard.append((time.monotonic(), int(message)))

    def resumed(self, since: float, seconds: float) -> None:
        """Wait until a write that was begun after `since`, and a message, have come through."""

        def both() -> bool:
            return all(
                events[-1][0] > since and len([1 for moment, _ in events if moment > since]) > 5 for events in (self.written, self.heard)
            )

        wait_for(both, seconds, "writes and messages after the failover")

    def longest_gap(self, since: float) -> tuple[float, float]:
        """The longest pause between two writes, and between two messages, in seconds."""
        return tuple(
            max(later - earlier for (earlier, _), (later, _) in zip(events, events[1:], strict=False) if later > since)
            for events in (self.written, self.heard)
        )  # type: ignore[return-value]

    def lost(self) -> set[int]:
        """Acknowledged writes that the primary does not have."""
        return {count for _, count in self.written} - {int(count) for count in ask(self.port, "LRANGE", "counts", 0, -1)}


def report(what: str, traffic: Traffic, since: float) -> tuple[float, float]:
    writes, messages = traffic.longest_gap(since)
    print(
        f"{what}: no write for {writes:.2f} s, no message for {messages:.2f} s, {len(traffic.lost())} of {len(traffic.written)} writes lost, refusals {sorted(set(traffic.refusals))}, {traffic.cuts} cuts"
    )
    return writes, messages


def test_kill(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        old.kill_server()
        traffic.resumed(since + 1, 20)
        gaps = report("the primary is killed", traffic, since)
    assert max(gaps) < 10


def test_stop_signal(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        os.killpg(old.server.process.pid, signal.SIGSTOP)
        traffic.resumed(since + 1, 20)
        gaps = report("the primary is silent", traffic, since)
        os.killpg(old.server.process.pid, signal.SIGCONT)
        t = time.monotonic()
        while old.replication()["role"] == "master" and time.monotonic() < t + 20:
            o = redis.offered()
            if o == old.member.port:
                print(
                    time.strftime("%T"),
                    time.monotonic() - t,
                    redis.proxy.output()[-6000:],
                    [p.names() for p in redis.pods],
                    [p.sentinel.output()[-1500:] for p in redis.pods],
                )
            assert o != old.member.port
        print("claimed for", time.monotonic() - t)
    assert max(gaps) < 10


def test_graceful(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        r = old.script("stop-server.sh")
        print(r.stderr, time.monotonic() - since)
        old.stop()
        print(time.monotonic() - since)
        traffic.resumed(time.monotonic(), 20)
        gaps = report("the primary is stopped", traffic, since)
    assert max(gaps) < 10


def test_crash_return(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        old.kill()
        old.wipe()
        old.start()
        traffic.resumed(since + 1, 20)
        gaps = report("crash returns at once, wiped", traffic, since)
        print(old.server.output()[:600])
    assert max(gaps) < 10
