"""Valkey (or Redis), its Sentinels and the proxy that follows the primary, from the rendered files: who is the primary, and who is offered.

Pods are three to five pairs of processes on 127.0.0.1. Of the rendered files only ports differ from a cluster's, and addresses to listen on;
in place of DNS a `getent` of the test gives all names the address 127.0.0.1.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from infrastructure.redis.configuration import Member, ProxySettings, RedisSpec, proxy_files, server_files
from kit.quantities import mib
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import haproxy_program, installed, redis_program

pytestmark = pytest.mark.live

PASSWORD = "first-password.of_the~set"
STABLE_SECONDS = 40
DOMAIN = "matrix.svc.cluster.local."
GETENT = f"""#!/bin/sh
case $2 in
    redis-?.{DOMAIN}) echo "{LOOPBACK}       $2" ;;
    *) exit 2 ;;
esac
"""


@frozen
class Programs:
    """What is run: Valkey where it is installed, else Redis, which has the same protocol and configuration."""

    server: str
    cli: str
    haproxy: str
    hands_over: bool
    """Whether Sentinel can make a primary hand over without losing a write (Valkey 9)."""


@pytest.fixture(scope="module")
def programs() -> Programs:
    server = redis_program()
    cli = installed(Path(server).name.replace("-server", "-cli"))
    major = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    return Programs(server, cli, haproxy_program(), hands_over="alkey" in major and "v=9" in major)


class RefusedError(Exception):
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
        """Send a command and return its answer: text, number, None or a list of these.

        Raises RefusedError for an error, OSError for a lost connection.
        """
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
                raise RefusedError(rest)
            case b"$":
                return None if rest == "-1" else self._stream.read(int(rest) + 2)[:-2].decode()
            case b"*":
                return None if rest == "-1" else [self.receive() for _ in range(int(rest))]
        raise AssertionError(f"not RESP2: {line!r}")


def ask(port: int, *words: str | int, password: str | None = PASSWORD) -> Any:
    """One command on a connection of its own. Raises OSError if nobody answers, RefusedError for an error."""
    with Client(port, password) as client:
        return client(*words)


def attempt(port: int, *words: str | int, password: str | None = PASSWORD) -> Any:
    """As `ask`, but None if nobody answers or the answer is an error."""
    try:
        return ask(port, *words, password=password)
    except (OSError, RefusedError):
        return None


def fields(answer: list[str]) -> dict[str, str]:
    """Names and values that alternate, as Sentinel answers."""
    return dict(zip(answer[::2], answer[1::2], strict=True))


def path_with_names(folder: Path) -> str:
    """A PATH on which `getent` knows the names of the pods."""
    stub = folder / "bin" / "getent"
    if not stub.exists():
        stub.parent.mkdir()
        stub.write_text(GETENT)
        stub.chmod(0o755)
    return f"{stub.parent}:{os.environ['PATH']}"


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
            "PATH": path_with_names(self.config.parent),
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
        command: list[str | Path] = ["sh", self.config / f"start-{part}.sh"]
        return stack.enter_context(running(command, name=f"{self.member.name}-{part}", environment=self.environment))

    def script(self, name: str, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts in this pod, as a probe or a hook does."""
        command = ["sh", str(self.config / name), *words]
        return subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=seconds, check=False)

    def kill_server(self) -> None:
        assert self.server
        self.server.kill()
        self._gone("server")

    def stop_server(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.server
        code = self.server.stop()
        self._gone("server")
        return code

    def kill_sentinel(self) -> None:
        assert self.sentinel
        self.sentinel.kill()
        self._gone("sentinel")

    def restart_sentinel(self) -> None:
        self._gone("sentinel")
        self.start_sentinel()

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

    def sentinel_view(self) -> dict[str, str]:
        """What its Sentinel knows of the primary. Raises OSError if it does not answer."""
        return fields(ask(self.member.sentinel_port, "SENTINEL", "MASTER", "primary"))

    def epoch(self) -> int:
        return int(self.sentinel_view()["config-epoch"])

    def quorum(self) -> int:
        return int(self.sentinel_view()["quorum"])

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
        return self.spec.proxy.port

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
        """The one place where the rendered text is changed: everything listens on 127.0.0.1 only.

        HAProxy before 3.1 takes a server for up until its first check has failed, and has no word against it.
        """
        return text.replace("bind * -::*", f"bind {LOOPBACK}").replace("bind :", f"bind {LOOPBACK}:")

    def password(self, password: str) -> None:
        (self.folder / "password").write_text(password + "\n")

    def start_proxy(self) -> None:
        self.stop_proxy()
        environment = {
            "PATH": path_with_names(self.folder),
            "HAPROXY": self.programs.haproxy,
            "REDIS_PASSWORD_FILE": str(self.folder / "password"),
        }
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
        return self.primary_of(self.pods)

    def primary_of(self, pods: Sequence[Pod]) -> Pod:
        """The primary as these pods alone see it. Raises OSError if they disagree or it is none of them."""
        named = {pod.names() for pod in pods}
        found = [pod for pod in pods if {pod.member.port} == named and pod.replication()["role"] == "master"]
        if not found:
            raise ConnectionError(f"the Sentinels name {named}")
        return found[0]

    def pods_without(self, pod: Pod) -> list[Pod]:
        return [other for other in self.pods if other is not pod]

    def replicas(self) -> list[Pod]:
        return self.pods_without(self.primary())

    def is_stable(self) -> bool:
        """Whether there is one primary, all others are its replicas in step, every Sentinel knows them all, and the proxy offers the primary."""
        primary = self.primary()
        others = self.pods_without(primary)
        in_step = {"role": "slave", "master_link_status": "up", "master_port": str(primary.member.port)}
        if not all(in_step.items() <= pod.replication().items() for pod in others):
            return False
        known = {"flags": "master", "num-slaves": str(len(others)), "num-other-sentinels": str(len(others))}
        for pod in self.pods:
            replicas = map(fields, ask(pod.member.sentinel_port, "SENTINEL", "REPLICAS", "primary"))
            sentinels = map(fields, ask(pod.member.sentinel_port, "SENTINEL", "SENTINELS", "primary"))
            if not known.items() <= pod.sentinel_view().items() or not all(
                (one["flags"], one["master-link-status"]) == ("slave", "ok") for one in replicas
            ):
                return False
            # (What a peer said of the last primary, "master_down", stays until it is asked again.)
            if not all(set(one["flags"].split(",")) <= {"sentinel", "master_down"} for one in sentinels):
                return False
        return self.offered() == primary.member.port

    def offered(self) -> int | None:
        """The port of the server that a new client of the proxy gets; None if it gets none."""
        with contextlib.suppress(OSError, RefusedError), Client(self.port) as client:
            return int(client("CONFIG", "GET", "port")[1])
        return None

    def http(self, path: str) -> int:
        """The status that the proxy's health port gives for a path."""
        connection = http.client.HTTPConnection(LOOPBACK, self.spec.proxy.health_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status

    def settle(self) -> Pod:
        """Start what is not running, wait until all is well, and return the primary. A program that ended by itself is a failure."""
        for pod in self.pods:
            for program in (pod.server, pod.sentinel):
                assert not program or program.process.poll() is None, program.output()
            if not pod.sentinel:
                pod.start_sentinel()
            if not pod.server:
                pod.start_server()
        wait_for(self.is_stable, STABLE_SECONDS, "one primary that all agree on")
        return self.primary()


def spec_of(replicas: int, ports: Sequence[int]) -> RedisSpec:
    """`ports`: three for the proxy, then two for each pod."""
    pairs = list(zip(ports[3::2], ports[4::2], strict=True))[:replicas]
    pods = tuple(Member(f"redis-{ordinal}", f"redis-{ordinal}.{DOMAIN}", *pair) for ordinal, pair in enumerate(pairs))
    return RedisSpec(pods, mib(64), proxy=ProxySettings(ports[0], ports[1], ports[2]))


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
    key: str = field(factory=lambda: f"counts-{time.monotonic_ns()}")
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
            except RefusedError as refusal:
                self.refusals.append(str(refusal))
            except OSError:
                self.cuts += not self._stop.is_set()
            self._stop.wait(0.05)

    def _write(self, client: Client) -> None:
        count = self.written[-1][1] if self.written else 0
        while not self._stop.is_set():
            count += 1
            client("RPUSH", self.key, count)
            self.written.append((time.monotonic(), count))
            client("PUBLISH", self.key, count)
            self._stop.wait(0.01)

    def _listen(self, client: Client) -> None:
        client("SUBSCRIBE", self.key)
        while not self._stop.is_set():
            _, _, message = client.receive()
            self.heard.append((time.monotonic(), int(message)))

    def resumed(self, since: float, seconds: float = 20) -> None:
        """Wait until writes and messages have come through that were begun after `since`."""

        def both() -> bool:
            return all(sum(moment > since for moment, _ in events[-10:]) > 5 for events in (self.written, self.heard))

        wait_for(both, seconds, "writes and messages after the failover")

    def gap(self, what: str, since: float) -> float:
        """The longest pause after `since` between two writes or two messages, in seconds; printed with all else that a client noticed."""
        pauses = [
            max(later - earlier for (earlier, _), (later, _) in pairwise(events) if later > since) for events in (self.written, self.heard)
        ]
        print(
            f"\n{what}: no write for {pauses[0]:.2f} s, no message for {pauses[1]:.2f} s, {self.cuts} connections cut, "
            f"{len(self.lost())} of {len(self.written)} acknowledged writes lost, refused: {sorted(set(self.refusals)) or 'nothing'}"
        )
        return max(pauses)

    def lost(self) -> set[int]:
        """Acknowledged writes that the primary does not have."""
        return {count for _, count in self.written} - {int(count) for count in ask(self.port, "LRANGE", self.key, 0, -1)}


# A set as it starts.


def test_a_new_set_takes_its_first_member_and_every_probe_agrees(redis: Set) -> None:
    assert redis.primary() is redis.pods[0]
    for pod in redis.pods:
        for what in ("server", "sentinel"):
            for state in ("alive", "ready"):
                assert pod.script("check.sh", what, state).returncode == 0, (pod.member.name, what, state)
    assert redis.http("/alive") == redis.http("/ready") == 200
    assert redis.http("/metrics") == 200


def test_haproxy_has_no_complaint_about_its_configuration(redis: Set) -> None:
    command = [redis.programs.haproxy, "-c", "-f", str(redis.folder / "proxy" / "haproxy.cfg")]
    environment = os.environ | {"REDIS_PASSWORD": PASSWORD} | {f"REDIS_{ordinal}": LOOPBACK for ordinal in range(3)}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0
    assert "WARNING" not in checked.stdout + checked.stderr


def test_nobody_is_answered_without_the_password(redis: Set) -> None:
    for port in (redis.port, redis.pods[1].member.port, redis.pods[1].member.sentinel_port):
        for password in (None, "a-wrong-password"):
            with pytest.raises(RefusedError, match=r"NOAUTH|WRONGPASS"):
                ask(port, "PING", password=password)


def test_the_password_is_in_no_command_line_and_no_log(redis: Set) -> None:
    programs = [program for pod in redis.pods for program in (pod.server, pod.sentinel)] + [redis.proxy]
    for program in programs:
        assert program
        assert PASSWORD.encode() not in Path(f"/proc/{program.process.pid}/cmdline").read_bytes()
        assert PASSWORD not in program.output()
    for path in (redis.folder / "redis-0").rglob("*.conf"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_program_knows_a_name_that_it_would_look_up(redis: Set) -> None:
    """Sentinel looks names up while everything else in it waits, so that a failure of DNS would be one of Redis."""
    for pod in redis.pods:
        written = [path.read_text() for path in pod.folder.rglob("*.conf")]
        assert len(written) == 2
        assert not [text for text in written if DOMAIN in text]
        assert DOMAIN not in str(pod.replication())


def test_no_client_can_empty_the_database(redis: Set) -> None:
    for command in ("FLUSHALL", "FLUSHDB", "DEBUG"):
        with pytest.raises(RefusedError, match=r"unknown command|not allowed"):
            ask(redis.port, command, "SLEEP", "0")


# A primary that goes.


def test_clients_continue_within_ten_seconds_when_the_primary_is_killed(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        old.kill_server()
        traffic.resumed(since + 1)
        assert traffic.gap("the primary is killed", since) < 10
    # The proxy keeps whoever comes back until there is a primary, so each of the two clients was cut only once.
    assert traffic.cuts == 2
    old.start_server()
    wait_for(
        lambda: old.replication()["role"] == "slave" and old.replication()["master_link_status"] == "up",
        20,
        "the killed primary as replica",
    )


def test_a_primary_that_was_suspended_is_not_offered_again_while_it_still_claims_to_be_one(redis: Set) -> None:
    old = redis.primary()
    assert old.server
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        old.server.send(signal.SIGSTOP)
        try:
            traffic.resumed(since + 1)
            assert traffic.gap("the primary is suspended", since) < 10
        finally:
            old.server.send(signal.SIGCONT)
        claimed, offered = 0, []
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and (attempt(old.member.port, "ROLE") or ["slave"])[0] == "master":
            claimed += 1
            offered.append(redis.offered())
            time.sleep(0.02)
    assert claimed > 20
    assert set(offered) == {redis.primary().member.port}
    assert traffic.cuts == 2
    ask(old.member.port, "REPLICAOF", LOOPBACK, redis.primary().member.port)  # which Sentinel does too, after eight seconds


def test_a_replica_that_is_promoted_by_hand_is_not_offered(redis: Set) -> None:
    primary, impostor = redis.primary(), redis.replicas()[0]
    with Traffic(redis.port) as traffic:
        ask(impostor.member.port, "REPLICAOF", "NO", "ONE")
        offered = []
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert impostor.replication()["role"] == "master"
            offered.append(redis.offered())
            time.sleep(0.02)
    assert set(offered) == {primary.member.port}
    assert traffic.cuts == 0
    ask(impostor.member.port, "REPLICAOF", LOOPBACK, primary.member.port)


def test_a_primary_that_is_demoted_by_hand_is_not_offered_although_the_sentinels_name_it(redis: Set) -> None:
    primary, replica = redis.primary(), redis.replicas()[0]
    with Client(redis.port, seconds=10) as client:
        client("SUBSCRIBE", "nothing")
        ask(primary.member.port, "REPLICAOF", LOOPBACK, replica.member.port)
        with pytest.raises(OSError, match=r"closed|reset"):
            client.receive()
    offered = redis.offered()
    named = {pod.names() for pod in redis.pods}
    ask(primary.member.port, "REPLICAOF", "NO", "ONE")
    assert (offered, named) == (None, {primary.member.port})


def test_a_primary_that_is_stopped_hands_over_without_losing_a_write(redis: Set) -> None:
    old = redis.primary()
    with Traffic(redis.port) as traffic:
        since = time.monotonic()
        hook = old.script("stop-server.sh")
        assert hook.returncode == 0, hook.stderr
        old.stop()
        traffic.resumed(time.monotonic())
        assert traffic.gap(f"the primary is stopped (hook: {hook.stderr.strip()})", since) < 5
        assert not traffic.lost()
    assert redis.primary_of(redis.pods_without(old)) is not old


def test_a_replica_that_is_stopped_does_not_ask_for_another_primary(redis: Set) -> None:
    hook = redis.replicas()[0].script("stop-server.sh")
    assert (hook.returncode, hook.stderr) == (0, "")


def test_a_primary_that_returns_at_once_and_empty_becomes_a_replica(redis: Set) -> None:
    """Faster than the Sentinels can miss it: as primary it would empty its replicas."""
    old = redis.primary()
    identity = ask(old.member.sentinel_port, "SENTINEL", "MYID")
    with Traffic(redis.port) as traffic:
        wait_for(lambda: len(traffic.written) > 20, 10, "some writes")
        since = time.monotonic()
        old.kill()
        old.wipe()
        old.start()
        traffic.resumed(since + 1)
        assert traffic.gap("the primary returns empty and at once", since) < 10
        assert len(traffic.lost()) <= 1, "what was in flight may be lost, and nothing else"
    assert redis.settle() is not old
    assert ask(old.member.sentinel_port, "SENTINEL", "MYID") == identity


# All or most pods at once.


def test_after_a_restart_of_all_pods_no_server_is_primary_before_a_majority_is_back_and_then_one_with_all_data(redis: Set) -> None:
    if redis.primary().epoch() == 0:  # no test before has made a failover that could be forgotten
        assert redis.primary().script("stop-server.sh").returncode == 0
        redis.settle()
    primary = redis.primary()
    epochs = [pod.epoch() for pod in redis.pods]
    ask(redis.port, "SET", "kept", "value")
    for pod in redis.pods:
        pod.stop()
    primary.start()
    assert primary.server
    # Alone it must not come up: it cannot know what the others have agreed on without it.
    wait_for(lambda: primary.server and "waiting: fewer than 2 Sentinels answer" in primary.server.output(), 10, "the server waits")
    time.sleep(2)
    assert attempt(primary.member.port, "PING") is None
    assert redis.http("/ready") == 503
    redis.settle()
    assert ask(redis.port, "GET", "kept") == "value"
    assert all(pod.epoch() >= epoch for pod, epoch in zip(redis.pods, epochs, strict=True)), "a Sentinel forgot a failover"


def test_a_primary_whose_volume_is_lost_when_all_lose_power_does_not_empty_its_replicas(redis: Set) -> None:
    """The Sentinels of the others still name it, and its replicas are not there yet: it waits until one of them can be primary."""
    ask(redis.port, "SET", "kept", "before the power cut")
    old = redis.primary()
    for pod in redis.pods_without(old):
        wait_for(lambda: ask(pod.member.port, "GET", "kept") == "before the power cut", 10, "the replica has it")  # noqa: B023
        ask(pod.member.port, "SAVE")
    for pod in redis.pods:
        pod.kill()
    old.wipe()
    for pod in redis.pods:
        pod.start()
    assert redis.settle() is not old
    assert ask(redis.port, "GET", "kept") == "before the power cut"


def test_a_set_whose_primary_does_not_return_elects_another(redis: Set) -> None:
    ask(redis.port, "SET", "kept", "other value")
    old = redis.primary()
    for pod in redis.pods:
        pod.stop()
    rest = redis.pods_without(old)
    for pod in rest:
        pod.start()
    wait_for(lambda: redis.primary_of(rest), 30, "another primary")
    wait_for(redis.offered, 10, "the proxy offers it")
    assert ask(redis.port, "GET", "kept") == "other value"


def test_a_server_that_waits_for_the_sentinels_can_be_stopped(redis: Set) -> None:
    for pod in redis.pods:
        pod.stop()
    pod = redis.pods[0]
    pod.start_server()
    assert pod.server
    wait_for(lambda: pod.server and "waiting" in pod.server.output(), 10, "the server waits")
    since = time.monotonic()
    assert pod.stop_server() == 143
    assert time.monotonic() - since < 5


def test_without_a_majority_of_sentinels_no_server_is_offered(redis: Set) -> None:
    lost = redis.replicas()
    with Client(redis.port, seconds=10) as client:
        for pod in lost:
            pod.kill_sentinel()
        with pytest.raises(OSError, match=r"closed|reset"):
            client("BLPOP", "nothing", 0)
    assert redis.http("/ready") == 503
    for pod in lost:
        pod.start_sentinel()
    wait_for(redis.offered, 20, "the primary is offered again")


# Changes.


def test_a_new_password_is_in_force_after_a_restart_of_all(redis: Set) -> None:
    ask(redis.port, "SET", "kept", "through the change")
    for pod in redis.pods:
        pod.stop()
    redis.stop_proxy()
    redis.password("second-password")
    try:
        for pod in redis.pods:
            pod.start()
        redis.start_proxy()
        wait_for(lambda: attempt(redis.port, "GET", "kept", password="second-password") == "through the change", 30, "the new password")

        def in_step() -> bool:
            views = [pod.replication("second-password") for pod in redis.pods]
            return sorted(view.get("master_link_status", view["role"]) for view in views) == ["master", "up", "up"]

        wait_for(in_step, 20, "the replicas in step")
        for pod in redis.pods:
            for port in (pod.member.port, pod.member.sentinel_port):
                with pytest.raises(RefusedError, match="WRONGPASS"):
                    ask(port, "PING")
    finally:
        for pod in redis.pods:
            pod.stop()
        redis.password(PASSWORD)
        redis.start_proxy()


def test_a_set_grows_from_three_to_five_and_shrinks_again(redis: Set, ports: list[int]) -> None:
    redis.write(spec_of(5, ports))
    redis.pods[3].start()
    redis.pods[4].start()
    for pod in redis.pods[:3]:
        pod.restart_sentinel()
    redis.start_proxy()
    redis.settle()
    assert {pod.quorum() for pod in redis.pods} == {3}
    for pod in redis.pods[3:]:
        pod.stop()
    redis.write(spec_of(3, ports))
    for pod in redis.pods:
        pod.restart_sentinel()
    redis.start_proxy()
    redis.settle()
    assert {pod.quorum() for pod in redis.pods} == {2}


def test_a_proxy_that_is_stopped_ends_at_once_although_clients_stay(redis: Set) -> None:
    assert redis.proxy
    with Client(redis.port) as client:
        assert client("PING") == "PONG"
        since = time.monotonic()
        redis.proxy.send(signal.SIGUSR1)  # the image's STOPSIGNAL
        redis.proxy.process.wait(10)
        assert time.monotonic() - since < 4
    redis.start_proxy()
