"""The proxy before a Redis that others run, with real servers that speak TLS alone: the primary is found, certificates and passwords count."""

import contextlib
import http.client
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import define, field, frozen

from infrastructure.redis.configuration import ProxySettings, external_proxy_files
from infrastructure.redis.options import ExternalRedisOptions
from tests.live.certificates import Authority, authority
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import haproxy_program, redis_program
from tests.live.test_redis_sentinel import Client, RefusedError

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

NAME, PASSWORD, GROUP = "redis.example.net", "what-they.gave~us_1", "mymaster"


@frozen
class Certified:
    """Files of a certificate by an authority."""

    folder: Path
    by: Authority

    def options(self, port: int, name: str = NAME) -> dict[str, str]:
        """By which a server listens by TLS alone, at one address of this machine."""
        certificate, key = self.by.issue(name)
        own = self.folder / str(port)
        own.mkdir()
        for file, text in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", self.by.certificate)):
            (own / file).write_text(text)
        options = {
            "port": "0",
            "tls-port": str(port),
            "bind": LOOPBACK,
            "dir": str(own),
            "tls-auth-clients": "no",
            "tls-replication": "yes",
        }
        return options | {"tls-cert-file": f"{own}/tls.crt", "tls-key-file": f"{own}/tls.key", "tls-ca-cert-file": f"{own}/ca.crt"}


@define
class Servers:
    """Servers that run, and the ports of proxies."""

    stack: ExitStack
    certified: Certified
    programs: dict[int, Program] = field(factory=dict)

    def start(self, port: int, *further: str, name: str = NAME, sentinel: bool = False, password: str = PASSWORD) -> None:
        options = self.certified.options(port, name) | {"requirepass": password}
        if not sentinel:
            options["masterauth"] = password
        file = Path(options["dir"], "server.conf")
        file.write_text("".join(f"{key} {value}\n" for key, value in options.items()) + "".join(f"{line}\n" for line in further))
        words = [redis_program(), str(file), *(["--sentinel"] if sentinel else [])]
        self.programs[port] = self.stack.enter_context(running(words, name=f"redis-{port}"))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, Certified(tmp_path, authority("enterprise")))


@define
class Proxy:
    """The rendered proxy, at ports of its own."""

    port: int
    health_port: int
    program: Program

    def ready(self) -> bool:
        """Whether it knows the primary."""
        connection = http.client.HTTPConnection(LOOPBACK, self.health_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200

    def offered(self) -> int | None:
        """The TLS port of the server that a client gets who asks in the clear."""
        with contextlib.suppress(OSError, RefusedError), Client(self.port, PASSWORD) as client:
            return int(client("CONFIG", "GET", "tls-port")[1])
        return None


@contextmanager
def proxy(folder: Path, trusted: Authority, servers: list[int], sentinels: list[int], *, name: str = NAME) -> Iterator[Proxy]:
    options = ExternalRedisOptions(
        servers=tuple(f"{LOOPBACK}:{port}" for port in servers),
        sentinels=tuple(f"{LOOPBACK}:{port}" for port in sentinels),
        ca_secret="redis-ca",
        certificate_name=name,
        cidrs=("127.0.0.0/8",),
    )
    ports = free_ports(3)
    files = external_proxy_files(options, ProxySettings(*ports), f"{folder}/ca.crt")
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text.replace("bind :", f"bind {LOOPBACK}:"))
    (folder / "ca.crt").write_text(trusted.certificate)
    (folder / "password").write_text(PASSWORD)
    environment = {"HAPROXY": haproxy_program(), "REDIS_PASSWORD_FILE": f"{folder}/password"}
    with running(["sh", folder / "start-external.sh"], name="proxy", environment=environment) as program:
        yield Proxy(ports[0], ports[1], program)


def test_clients_ask_in_the_clear_and_are_answered_by_a_server_that_speaks_tls_alone(servers: Servers, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    servers.start(port)
    with proxy(tmp_path / "proxy", servers.certified.by, [port], []) as to:
        wait_for(to.ready, 10, "the proxy")
        assert to.offered() == port
        with Client(to.port, PASSWORD) as client:
            assert client("SET", "a", "b", "PX", "1000") == "OK"
        with pytest.raises(RefusedError), Client(to.port, None) as client:
            client("GET", "a")


@pytest.mark.parametrize("wrong", ["authority", "name", "password"])
def test_a_server_that_is_not_the_one_that_is_meant_gets_nobody(servers: Servers, tmp_path: Path, wrong: str) -> None:
    (port,) = free_ports(1)
    servers.start(port, password="another" if wrong == "password" else PASSWORD)
    trusted = authority("stranger") if wrong == "authority" else servers.certified.by
    name = "other.example.net" if wrong == "name" else NAME
    with proxy(tmp_path / "proxy", trusted, [port], [], name=name) as to:
        word = "AUTH|password|knows" if wrong == "password" else "SSL"
        wait_for(lambda: any(part in to.program.output() for part in word.split("|")), 10, "a failed check")
        assert not to.ready()
        assert to.offered() is None


def test_the_proxy_follows_the_primary_that_most_sentinels_name(servers: Servers, tmp_path: Path) -> None:
    first, second, *sentinels = free_ports(5)
    servers.start(first)
    servers.start(second, f"replicaof {LOOPBACK} {first}")
    for port in sentinels:
        servers.start(
            port,
            f"sentinel monitor {GROUP} {LOOPBACK} {first} 2",
            f"sentinel auth-pass {GROUP} {PASSWORD}",
            f"sentinel down-after-milliseconds {GROUP} 1000",
            f"sentinel failover-timeout {GROUP} 5000",
            sentinel=True,
        )
    with proxy(tmp_path / "proxy", servers.certified.by, [first, second], sentinels) as to:
        wait_for(lambda: to.offered() == first, 20, "the primary")
        # A Sentinel asks the primary for its replicas every ten seconds: one that knows none cannot choose it.
        time.sleep(11)
        servers.programs[first].send(signal.SIGKILL)
        wait_for(lambda: to.offered() == second, 40, "the other server")
        # Without a majority nobody is believed.
        for port in sentinels[:2]:
            servers.programs[port].kill()
        wait_for(lambda: not to.ready(), 10, "the proxy to give up")
