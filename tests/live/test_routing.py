"""HAProxy as rendered, in front of stand-ins for Synapse's processes: which of them gets a request, and what happens when they die."""

import base64
import http.client
import itertools
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import pytest
from attrs import define, frozen

from kit.quantities import mib
from main_instance.haproxy.configuration import HAProxySpec, Pool, Ports, configuration
from main_instance.synapse.worker_type import Route, Scaling, When, WorkerType
from main_instance.synapse.workers import MAIN, WORKER_TYPES
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import haproxy_program
from tests.live.regular_expressions import examples
from tests.live.stubs import Pods

pytestmark = pytest.mark.live

DOMAIN = "synapse.matrix.svc.cluster.local."
CEILING, INSTANCES = 6, 4
INGRESS = "127.66.0.1"
"""The address of the only proxy whose X-Forwarded-For is believed."""
MAX_UPLOAD = mib(1)
LOGINS_PER_MINUTE = 20
"""The oldest HAProxy that the configuration is written for."""


@pytest.fixture(scope="session")
def haproxy() -> str:
    return haproxy_program()


@frozen
class Answer:
    """What came back: from a stub (`received` says what reached it), or from HAProxy itself (`received` is empty)."""

    status: int
    headers: Mapping[str, str]
    text: bytes

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.text)
        assert isinstance(value, dict)
        return value

    @property
    def server(self) -> str | None:
        """The stub that answered; None if HAProxy did."""
        return self.json.get("server") if self.text and "json" in self.headers.get("content-type", "") else None

    @property
    def pool(self) -> str | None:
        """The worker type of the stub that answered."""
        return self.server.rpartition("-")[0] if self.server else None

    @property
    def received(self) -> dict[str, list[str]]:
        """The headers that reached the stub."""
        headers = defaultdict(list)
        for name, value in self.json["headers"]:
            headers[name].append(value)
        return headers


@define
class Client:
    """Speaks HTTP/1.1 to one port over one connection, from one address."""

    port: int
    source: str = LOOPBACK
    _connection: http.client.HTTPConnection | None = None

    def request(self, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Answer:
        """Send a request with exactly this target, and read the answer."""
        connection = self._connection or http.client.HTTPConnection(LOOPBACK, self.port, timeout=20, source_address=(self.source, 0))
        self._connection = None
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in [("Host", "matrix.example.com"), *headers, ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        if response.will_close:
            connection.close()
        else:
            self._connection = connection
        return answer

    def get(self, target: str, *headers: tuple[str, str]) -> Answer:
        return self.request("GET", target, headers)

    def close(self) -> None:
        if self._connection:
            self._connection.close()


def token(user: str, device: int = 1) -> tuple[str, str]:
    """An Authorization header as Synapse's own tokens make it (synapse/handlers/auth.py, generate_access_token)."""
    localpart = base64.b64encode(user.encode()).decode().rstrip("=")
    return ("Authorization", f"Bearer syt_{localpart}_{device:020d}_0aBcDe")


@frozen
class Proxy:
    """A running HAProxy."""

    program: Program
    ports: Ports

    @property
    def public(self) -> Client:
        return Client(self.ports.public)

    @property
    def internal(self) -> Client:
        return Client(self.ports.internal)

    def probe(self, path: str) -> Answer:
        return Client(self.ports.operations).get(path)

    def alive(self) -> set[str]:
        """The servers that it holds for alive."""
        with socket.create_connection((LOOPBACK, self.ports.runtime_api), timeout=5) as connection:
            connection.sendall(b"show stat -1 4 -1\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
        return {row[1] for row in rows if row[17].startswith("UP")}


def servers(worker: WorkerType, most: int) -> int:
    return 1 if worker.scaling is Scaling.SINGLE else most


def own_ports() -> Ports:
    """A free port for each of HAProxy's, so that none is another's."""
    return Ports(*free_ports(len(attrs.fields(Ports))))


def specification(pods: Pods) -> HAProxySpec:
    """All worker types, with room for more instances than run."""
    return HAProxySpec(
        pools=tuple(Pool(worker, servers(worker, CEILING), DOMAIN) for worker in WORKER_TYPES),
        main=f"main-0.{DOMAIN}",
        max_upload=MAX_UPLOAD,
        trusted_proxies=(INGRESS,),
        federation=True,
        synapse_port=pods.port,
        synapse_health_port=pods.health_port,
        ports=own_ports(),
        listen_address=LOOPBACK,
        logins_per_minute=LOGINS_PER_MINUTE,
        check_seconds=0.5,
        grace_seconds=1,
        drain_seconds=10,
    )


class Cluster:
    """All of Synapse's processes as stubs, and HAProxy replicas in front of them."""

    def __init__(self, haproxy: str, folder: Path, pods: Pods, stack: ExitStack) -> None:
        self.haproxy = haproxy
        self.folder = folder
        self.pods = pods
        self.stack = stack
        routed = [worker for worker in WORKER_TYPES if worker.routes]
        self.instances = ["main-0", *(name for worker in routed for name in worker.instances(servers(worker, INSTANCES)))]
        pods.start(*self.instances)
        self.proxies = [self.start(dns_delay=0), self.start(dns_delay=0.4)]
        # Begins a request at once, so that its time is up when a test looks.
        self.dawdler = stack.enter_context(socket.create_connection((LOOPBACK, self.proxies[0].ports.public), timeout=15))
        self.dawdler.sendall(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: matrix.example.com\r\nX-Slow: ")

    def start(self, dns_delay: float = 0, **changes: Any) -> Proxy:
        """Start one more HAProxy. The later its names resolve, the more random is their order."""
        spec = attrs.evolve(specification(self.pods), nameservers=(f"{LOOPBACK}:{self.pods.dns(dns_delay)}",), **changes)
        folder = self.folder / str(spec.ports.public)
        folder.mkdir()
        for name, text in configuration(spec).items():
            (folder / name).write_text(text, newline="")
        program = self.stack.enter_context(running([self.haproxy, "-W", "-db", "-f", folder / "haproxy.cfg"], name="haproxy"))
        proxy = Proxy(program, spec.ports)
        configured = set(re.findall(r"^    server (\S+)", (folder / "haproxy.cfg").read_text(), re.MULTILINE))
        program.ready(lambda: proxy.alive() == configured & set(self.pods.listening()), 20)
        return proxy

    def settle(self) -> None:
        """Wait until all HAProxy replicas see the world as it is."""
        for proxy in self.proxies:
            wait_for(lambda proxy=proxy: proxy.alive() == set(self.pods.listening()), 20, "HAProxy to see which servers live")  # type: ignore[misc]


@pytest.fixture(scope="module")
def shared(haproxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(haproxy, tmp_path_factory.mktemp("haproxy"), stack.enter_context(Pods.running(DOMAIN)), stack)


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The cluster with everything alive, as each test finds it and leaves it."""
    yield shared
    shared.pods.delete(*shared.pods.stubs.keys() - set(shared.instances))
    shared.pods.restart(*shared.pods.stubs.keys() - shared.pods.listening())
    shared.settle()


# --- Routes


def expected_pool(method: str, target: str) -> str:
    """What the route table says: the first route that matches. Written from `Route`'s words alone."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    conditions = {
        None: True,
        When.INITIAL_SYNC: not query.get("since", [""])[0] or query.get("full_state") == ["true"],
        When.INITIAL_EVENTS: not query.get("from", [""])[0],
    }
    for worker in WORKER_TYPES:
        for route in worker.routes:
            if re.search(route.pattern, url.path) and conditions[route.when] and (not route.methods or method in route.methods):
                return worker.name
    return MAIN


IDENTIFIERS = ("!V12RoomsHaveNoServerName", "!old:example.com", "%21old%3aexample.com", "%23a%2Fb%3Aexample.com", "@user:example.com")
ROUTES = [(worker, route) for worker in WORKER_TYPES for route in worker.routes]


@pytest.mark.parametrize(("worker", "route"), ROUTES, ids=[f"{worker.name}:{route.pattern}" for worker, route in ROUTES])
def test_every_request_that_a_route_describes_reaches_its_worker_type(shared: Cluster, worker: WorkerType, route: Route) -> None:
    client = shared.proxies[0].internal
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE") if route.methods else ("GET", "PUT")
    others = route.methods[:1] or ("PUT",)
    for identifier, method in [*itertools.product(IDENTIFIERS[:1], methods), *itertools.product(IDENTIFIERS[1:], others)]:
        for path in examples(route.pattern, identifier):
            target = path + ("?since=s1&from=2" if route.when is None else "?since=&from=")
            answer = client.request(method, target)
            reached = answer.headers.get("x-server", "").rpartition("-")[0]
            assert (method, target, reached) == (method, target, expected_pool(method, target))
            if not route.methods or method in route.methods:
                assert reached == worker.name


BY_HAND = [
    # The gotchas of Synapse's own proxies' configurations, and what each asks of the proxy.
    ("GET", "/_matrix/client/v3/sync", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/sync?since=", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/sync?timeout=30000&since=s72594_4483_1934", "synchrotron"),
    ("GET", "/_matrix/client/v3/sync?since=s1&full_state=true", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/sync?since=s1&full_state=false", "synchrotron"),
    ("GET", "/_matrix/client/v3/sync?filter=%7B%22since%22%3A1%7D", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/sync?xsince=s1", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/synced", "main"),
    ("GET", "/_matrix/client/api/v1/events", "initial-synchrotron"),
    ("GET", "/_matrix/client/v3/events?from=s1", "synchrotron"),
    ("GET", "/_matrix/client/v3/initialSync?from=s1", "initial-synchrotron"),
    ("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos=1", "sliding-sync"),
    ("PUT", "/_matrix/client/v3/rooms/!r:example.com/typing/@u:example.com", "typing-persister"),
    ("PUT", "/_matrix/client/v3/rooms/%21r%3Aexample.com/typing/%40u%3Aexample.com", "typing-persister"),
    ("PUT", "/_matrix/client/v3/rooms/!V12/send/m.room.message/1", "event-creator"),
    ("PUT", "/_matrix/client/v3/rooms/!V12/state/m.room.typing/typing/", "event-creator"),
    ("PUT", "/_matrix/client/v3/rooms/!r:example.com/send/org.example.receipt/sendToDevice", "event-creator"),
    ("GET", "/_matrix/client/v3/rooms/!V12/state", "client-reader"),
    ("GET", "/_matrix/client/v3/rooms/!V12/state/m.room.name", "event-creator"),
    ("POST", "/_matrix/client/v3/rooms/!V12/receipt/m.read/$event", "receipts"),
    ("POST", "/_matrix/client/v3/rooms/!V12/read_markers", "receipts"),
    ("PUT", "/_matrix/client/v3/sendToDevice/m.room.encrypted/1", "encryption"),
    ("PUT", "/_matrix/client/v3/user/@u:example.com/account_data/m.direct", "account-data"),
    ("PUT", "/_matrix/client/v3/user/@u:example.com/rooms/!V12/account_data/m.fully_read", "account-data"),
    ("DELETE", "/_matrix/client/v3/user/@u:example.com/rooms/!V12/tags/m.favourite", "account-data"),
    ("GET", "/_matrix/client/v3/user/@u:example.com/filter/1", "client-reader"),
    ("PUT", "/_matrix/client/v3/presence/@u:example.com/status", "presence-writer"),
    ("GET", "/_matrix/client/v3/pushrules/", "push-rules"),
    ("PUT", "/_matrix/client/v3/pushrules/global/override/x", "push-rules"),
    ("POST", "/_matrix/client/v3/keys/upload", "device-lists"),
    ("POST", "/_matrix/client/v3/keys/query", "client-reader"),
    ("POST", "/_matrix/client/unstable/keys/signatures/upload", "device-lists"),
    ("PUT", "/_matrix/client/v3/devices/ABC", "device-lists"),
    ("POST", "/_matrix/client/v3/join/%23room%3Aexample.com", "event-creator"),
    ("POST", "/_matrix/client/v3/rooms/!V12/join", "event-creator"),
    ("POST", "/_matrix/client/v3/rooms/!V12/forget", "main"),
    ("POST", "/_matrix/client/v3/rooms/!V12/upgrade", "main"),
    ("POST", "/_matrix/client/v3/rooms/!V12/report/$event", "main"),
    ("POST", "/_matrix/client/v3/createRoom", "event-creator"),
    ("GET", "/_matrix/client/v3/profile/@u:example.com/displayname", "event-creator"),
    ("GET", "/_matrix/client/v3/rooms/!V12/messages?dir=b", "client-reader"),
    ("GET", "/_matrix/client/v1/rooms/!V12/hierarchy", "client-reader"),
    ("GET", "/_matrix/client/v1/rooms/!V12/relations/$e/m.annotation", "client-reader"),
    ("POST", "/_matrix/client/v3/login", "client-reader"),
    ("POST", "/_matrix/client/v3/register", "client-reader"),
    ("POST", "/_matrix/client/v3/register/email/requestToken", "main"),
    ("POST", "/_matrix/client/v3/logout", "main"),
    ("POST", "/_matrix/client/v3/refresh", "main"),
    ("POST", "/_matrix/client/v3/account/password", "main"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/oidc?redirectUrl=x", "sso-login"),
    ("GET", "/_synapse/client/oidc/callback?code=1", "sso-login"),
    ("GET", "/_synapse/client/password_reset/email/submit_token", "main"),
    ("POST", "/_matrix/client/v3/user_directory/search", "user-dir"),
    ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events", "client-reader"),
    ("GET", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/1", "client-reader"),
    ("POST", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/1", "main"),
    ("POST", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/1/restart", "client-reader"),
    ("POST", "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/1/cancel", "main"),
    ("POST", "/_matrix/media/v3/upload", "media-repository"),
    ("GET", "/_matrix/client/v1/media/download/example.com/abc", "media-repository"),
    ("GET", "/_matrix/federation/v1/media/download/abc", "media-repository"),
    ("PUT", "/_matrix/federation/v1/send/1", "federation-inbound"),
    ("PUT", "/_matrix/federation/v2/send_join/!V12/$e", "federation-reader"),
    ("GET", "/_matrix/federation/v1/state_ids/!V12?event_id=$e", "federation-reader"),
    ("POST", "/_matrix/key/v2/query", "federation-reader"),
    ("GET", "/_matrix/key/v2/server", "main"),
    ("GET", "/_matrix/federation/v1/openid/userinfo?access_token=x", "main"),
    ("GET", "/health", "main"),
    ("GET", "/_matrix/client/unknown", "main"),
]


@pytest.mark.parametrize(("method", "target", "pool"), BY_HAND)
def test_what_the_public_asks_reaches_the_process_that_can_answer(shared: Cluster, method: str, target: str, pool: str) -> None:
    answer = shared.proxies[0].public.request(method, target)
    assert answer.pool == pool


ADMINISTRATION = [
    ("GET", "/_synapse/admin/v2/users/@u:example.com", "client-reader"),
    ("PUT", "/_synapse/admin/v2/users/@u:example.com", "main"),
    ("DELETE", "/_synapse/admin/v1/rooms/!V12", "client-reader"),
    ("GET", "/_synapse/admin/v1/rooms", "main"),
    ("DELETE", "/_synapse/admin/v2/rooms/!V12", "main"),
    ("POST", "/_synapse/admin/v1/media/quarantine/example.com/abc", "media-repository"),
    ("GET", "/_synapse/admin/v1/users/@u:example.com/media", "media-repository"),
    ("GET", "/_synapse/admin/v1/server_version", "main"),
    ("POST", "/_synapse/admin/v1/register", "main"),
]


@pytest.mark.parametrize(("method", "target", "pool"), ADMINISTRATION)
def test_administration_is_open_to_the_platform_and_closed_to_the_public(shared: Cluster, method: str, target: str, pool: str) -> None:
    proxy = shared.proxies[0]
    assert proxy.internal.request(method, target).pool == pool
    refusal = proxy.public.request(method, target)
    assert (refusal.status, refusal.json["errcode"], refusal.server) == (403, "M_FORBIDDEN", None)
    assert proxy.public.request("OPTIONS", target).status == 403


CLOSED = [
    ("/_synapse/admin/v1/server_version", 403),
    ("/_synapse/admin", 403),
    ("/_synapse/metrics", 403),
    ("/_synapse/replication/send_event/x", 403),
    ("/_synapse/mas/query_user", 403),
    ("/_synapse/clients", 403),
    ("/_synapse/./admin/v1/server_version", 403),
    ("/_synapse//admin/v1/server_version", 403),
    ("/_synapse/client%2f..%2fadmin/v1/server_version", 404),
    ("//_synapse/admin/v1/server_version", 404),
    ("/./_synapse/admin/v1/server_version", 404),
    ("/%5Fsynapse/admin/v1/server_version", 404),
    ("/_synapse/%61dmin/v1/server_version", 404),
    ("/_SYNAPSE/admin/v1/server_version", 404),
    ("/_synapse;/admin/v1/server_version", 404),
    ("/_matrix%2f..%2f_synapse/admin/v1/server_version", 404),
    ("/_matrix/%66ederation/v1/version", 404),
    ("/x/../_synapse/admin/v1/server_version", 404),
    ("http://matrix.example.com/_synapse/admin/v1/server_version", 403),
    ("http://other.example.com/_matrix/client/versions", 400),
    ("matrix-federation://other.example.com/_matrix/federation/v1/version", 400),
    ("matrix-federation://matrix.example.com/_matrix/client/versions", 400),
    ("*", 400),
    ("/metrics", 404),
    ("/", 404),
    ("/_matrix", 404),
    ("/healthy", 404),
]


@pytest.mark.parametrize(("target", "status"), CLOSED)
def test_nothing_else_is_open_to_the_public_however_it_is_written(shared: Cluster, target: str, status: int) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = shared.proxies[0].public.request(method, target)
        assert (answer.status, answer.server) == (status, None)
        assert answer.json["errcode"].startswith("M_")


def test_a_client_that_speaks_http2_or_http10_is_routed_and_refused_alike(shared: Cluster) -> None:
    address = f"http://{LOOPBACK}:{shared.proxies[0].ports.public}"
    for option, (path, status) in itertools.product(
        ("--http2-prior-knowledge", "--http1.0"),
        [("/_matrix/client/versions", "200"), ("/_synapse/admin/v1/server_version", "403"), ("//_synapse/admin", "404")],
    ):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", option, address + path]
        assert subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout == status


def test_without_federation_other_servers_are_not_heard(cluster: Cluster) -> None:
    client = cluster.start(federation=False).public
    for target in ("/_matrix/federation/v1/version", "/_matrix/key/v2/server", "/_matrix/federation/v1/media/download/abc"):
        assert (client.get(target).status, client.get(target).server) == (404, None)
    assert client.get("/_matrix/federation/v1/openid/userinfo?access_token=x").pool == MAIN
    assert client.get("/_matrix/client/v1/media/download/example.com/abc").pool == "media-repository"


# --- What Synapse receives


@pytest.mark.parametrize(
    "target",
    [
        "/_matrix/client/v3/rooms/%21a%3Aexample.com/send/m.room.message/a%2Fb?x=%2F&y=a+b",
        "/_matrix/client/v3/rooms/!a:example.com/state//",
        "/_matrix/client/v3/../v3/./versions;a=b?",
        "/_matrix/client/v3/directory/room/%23a%2fb%3Aexample.com",
    ],
)
def test_synapse_receives_the_target_as_the_client_wrote_it(shared: Cluster, target: str) -> None:
    assert shared.proxies[0].public.get(target).json["target"] == target


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ([], INGRESS),
        (["203.0.113.7"], "203.0.113.7"),
        (["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7"], "203.0.113.7"),
        ([f"6.6.6.6, 203.0.113.7, {INGRESS}"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
    ],
)
def test_synapse_sees_the_client_that_the_ingress_saw(shared: Cluster, sent: list[str], seen: str) -> None:
    client = Client(shared.proxies[0].ports.public, source=INGRESS)
    headers = [("X-Forwarded-For", value) for value in sent]
    answer = client.request("GET", "/_matrix/client/versions", headers)
    assert answer.received["x-forwarded-for"] == [seen]
    assert answer.received["x-forwarded-proto"] == ["https"]
    assert answer.received["host"] == ["matrix.example.com"]
    again = client.get("/_matrix/client/versions", ("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-Proto", "http"))
    assert again.received["x-forwarded-for"] == ["198.51.100.1"]
    assert again.received["x-forwarded-proto"] == ["http"]


def test_where_anybody_may_be_the_ingress_only_what_it_saw_itself_is_believed(cluster: Cluster) -> None:
    client = cluster.start(trusted_proxies=(INGRESS,), ingress_peers=("0.0.0.0/0",)).public
    for sent, seen in [("203.0.113.7", "203.0.113.7"), ("6.6.6.6, 203.0.113.7", "203.0.113.7"), (f"203.0.113.7, {INGRESS}", "203.0.113.7")]:
        assert client.get("/_matrix/client/versions", ("X-Forwarded-For", sent)).received["x-forwarded-for"] == [seen]


def test_a_stranger_is_not_believed_to_be_somebody_else(shared: Cluster) -> None:
    forged = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Request-ID", "forged")]
    received = shared.proxies[0].public.request("GET", "/_matrix/client/versions", forged).received
    assert received["x-forwarded-for"] == [LOOPBACK]
    assert received["x-forwarded-proto"] == ["http"]
    assert [len(identifier) for identifier in received["x-request-id"]] == [36]


def test_a_browser_may_ask_anything_that_matrix_allows(shared: Cluster) -> None:
    client = shared.proxies[0].public
    answer = client.request("OPTIONS", "/_matrix/client/v3/sync", [("Origin", "https://app.example.com")])
    assert (answer.status, answer.server) == (204, None)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "X-Requested-With, Content-Type, Authorization, Date"
    assert client.request("OPTIONS", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous").pool == MAIN


def test_an_upload_may_be_as_large_as_synapse_takes_and_no_larger(shared: Cluster) -> None:
    client = shared.proxies[0].public
    most = MAX_UPLOAD.count
    assert client.request("POST", "/_matrix/media/v3/upload", body=b"x" * most).json["body"] == most
    assert client.request("PUT", "/_matrix/client/v3/rooms/!V12/send/m.room.message/1", body=b"x" * (most + 1)).json["body"] == most + 1
    for method, target in [("POST", "/_matrix/media/v3/upload"), ("PUT", "/_matrix/media/v3/upload/example.com/abc")]:
        answer = client.request(method, target, body=b"x" * (most + 1))
        assert (answer.status, answer.json["errcode"], answer.server) == (413, "M_TOO_LARGE", None)
        assert answer.headers["access-control-allow-origin"] == "*"


# --- Which instance


def sync(client: Client, *headers: tuple[str, str]) -> str | None:
    return client.get("/_matrix/client/v3/sync?since=s1", *headers).server


def room_url(room: str) -> str:
    return f"/_matrix/client/v3/rooms/{room}/messages"


def shares(chosen: Sequence[str | None]) -> dict[str | None, float]:
    """How many requests each server got, relative to an even spread over those that got any."""
    counts = Counter(chosen)
    return {server: count / (len(chosen) / len(counts)) for server, count in counts.items()}


USERS = [token(f"user{number}") for number in range(500)]
ROOMS = [f"!{base64.urlsafe_b64encode(number.to_bytes(32)).decode().rstrip('=')}" for number in range(250)]
ROOMS += [f"!room{number}:example.com" for number in range(250)]


def test_all_haproxy_replicas_send_a_user_and_a_room_to_the_same_instance(cluster: Cluster) -> None:
    first, second = (proxy.public for proxy in cluster.proxies)
    for dead in [(), ("synchrotron-1", "client-reader-3"), ("synchrotron-0", "client-reader-0")]:
        cluster.pods.kill(*dead)
        cluster.settle()
        step = 4 if dead else 1
        by_user = [sync(first, user) for user in USERS[::step]]
        by_room = [first.get(room_url(room)).server for room in ROOMS[::step]]
        assert by_user == [sync(second, user) for user in USERS[::step]]
        assert by_room == [second.get(room_url(room)).server for room in ROOMS[::step]]
        for pool, chosen in (("synchrotron", by_user), ("client-reader", by_room)):
            assert set(chosen) == {name for name in cluster.pods.listening() if name.rpartition("-")[0] == pool}
            assert max(shares(chosen).values()) < (1.5 if dead else 1.3)


def test_all_requests_of_a_user_meet_whatever_device_and_however_the_token_is_sent(shared: Cluster) -> None:
    client = shared.proxies[0].public
    for name in ("alice", "bob", "carol/1", "dän"):
        header, value = token(name)
        bare = value.removeprefix("Bearer ")
        expected = sync(client, (header, value))
        assert sync(client, (header, f"bearer {bare}")) == expected
        assert sync(client, token(name, device=2)) == expected
        assert client.get(f"/_matrix/client/v3/sync?since=s1&access_token={quote(bare, safe='')}").server == expected
    opaque = ("Authorization", "Bearer mat_abcdefghijklmnop_1")
    assert len({sync(client, opaque) for _ in range(20)}) == 1
    assert len({sync(client, ("Authorization", f"Bearer mat_{number}_1")) for number in range(100)}) == INSTANCES
    assert len({sync(client) for _ in range(20)}) == INSTANCES, "requests without a token are spread"


def test_all_requests_about_a_room_meet_however_its_id_is_written(shared: Cluster) -> None:
    client = shared.proxies[0].public
    for room in ("!abc:example.com", "!V12roomsHaveNoServer-_"):
        encoded = quote(room, safe="")
        paths = [
            f"/_matrix/client/v3/rooms/{room}/messages?dir=b",
            f"/_matrix/client/v3/rooms/{encoded}/members",
            f"/_matrix/client/api/v1/rooms/{encoded.lower()}/state" if room.islower() else f"/_matrix/client/r0/rooms/{room}/state",
            f"/_matrix/client/v1/rooms/{encoded}/relations/$e",
            f"/_matrix/client/v1/room_summary/{encoded}",
            f"/_matrix/client/unstable/im.nheko.summary/rooms/{room}/summary",
            f"/_matrix/client/unstable/im.nheko.summary/summary/{encoded}",
        ]
        assert len({client.get(path, USERS[number]).server for number, path in enumerate(paths)}) == 1
        paths = [
            f"/_matrix/client/v3/rooms/{room}/send/m.room.message/1",
            f"/_matrix/client/v3/join/{encoded}",
            f"/_matrix/client/v3/rooms/{room}/leave",
        ]
        assert len({client.request("POST", path, [USERS[number]]).server for number, path in enumerate(paths)}) == 1
    aliases = [f"/_matrix/client/v3/join/%23room{number}%3Aexample.com" for number in range(100)]
    assert len({client.request("POST", alias, [USERS[0]]).server for alias in aliases}) == INSTANCES
    assert len({client.request("POST", "/_matrix/client/v3/createRoom", [user]).server for user in USERS[:100]}) == INSTANCES
    assert len({client.request("POST", "/_matrix/client/v3/createRoom", [USERS[0]]).server for _ in range(20)}) == 1


def test_federation_is_spread_by_the_sending_server_and_not_by_the_ingress(shared: Cluster) -> None:
    client = Client(shared.proxies[0].ports.public, source=INGRESS)
    senders = [f"198.51.{number // 200}.{number % 200}" for number in range(400)]
    chosen = [client.request("PUT", "/_matrix/federation/v1/send/1", [("X-Forwarded-For", sender)]).server for sender in senders]
    again = [
        client.request("PUT", "/_matrix/federation/v1/send/2", [("X-Forwarded-For", f"6.6.6.6, {sender}")]).server for sender in senders
    ]
    assert chosen == again
    assert len(set(chosen)) == INSTANCES
    assert max(shares(chosen).values()) < 1.3


def test_equal_federation_queries_and_all_forms_of_a_medium_meet(shared: Cluster) -> None:
    client = shared.proxies[0].public
    queries = [f"/_matrix/federation/v1/state_ids/!V12?event_id=$e{number}" for number in range(100)]
    assert [client.get(query).server for query in queries] == [client.get(query).server for query in queries]
    assert len({client.get(query).server for query in queries}) == INSTANCES
    forms = [
        "/_matrix/client/v1/media/download/example.com/abc",
        "/_matrix/client/v1/media/download/example.com/abc/name.png",
        "/_matrix/client/v1/media/thumbnail/example.com/abc?width=96&height=96",
        "/_matrix/media/v3/download/example.com/abc",
        "/_matrix/media/r0/thumbnail/example.com/abc?width=32",
    ]
    assert len({client.get(form, user).server for form, user in itertools.product(forms, USERS[:5])}) == 1
    media = [f"/_matrix/client/v1/media/download/example.com/{number}" for number in range(100)]
    assert len({client.get(medium, USERS[0]).server for medium in media}) == INSTANCES


def test_uploads_are_spread(shared: Cluster) -> None:
    uploads = {shared.proxies[0].public.request("POST", "/_matrix/media/v3/upload", [USERS[0]]).server for _ in range(10 * INSTANCES)}
    assert len(uploads) == INSTANCES


# --- What happens when processes come and go


def test_when_an_instance_dies_only_its_users_move_and_they_come_back(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    before = {user: sync(client, user) for user in USERS}
    cluster.pods.kill("synchrotron-2")
    at_once = {user: sync(client, user) for user in USERS}
    cluster.settle()
    after = {user: sync(client, user) for user in USERS}
    for user in USERS:
        if before[user] == "synchrotron-2":
            assert at_once[user] not in {None, "synchrotron-2"}, "a request that could not be sent goes to the next"
            assert after[user] not in {None, "synchrotron-2"}
        else:
            assert before[user] == at_once[user] == after[user]
    assert len({after[user] for user in USERS if before[user] == "synchrotron-2"}) == INSTANCES - 1, "its users are spread over the others"
    cluster.pods.restart("synchrotron-2")
    cluster.settle()
    assert {user: sync(client, user) for user in USERS} == before


def test_an_autoscaler_changes_the_instances_and_not_the_configuration(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    before = {user: sync(client, user) for user in USERS}
    cluster.pods.start("synchrotron-4")
    cluster.settle()
    after = {user: sync(client, user) for user in USERS}
    moved = {user for user in USERS if before[user] != after[user]}
    assert {after[user] for user in moved} == {"synchrotron-4"}
    assert len(moved) < len(USERS) / INSTANCES
    cluster.pods.delete("synchrotron-4")
    cluster.settle()
    assert {user: sync(client, user) for user in USERS} == before


def test_a_pod_that_comes_back_at_another_address_is_found(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    assert client.request("PUT", "/_matrix/client/v3/sendToDevice/m.x/1").server == "encryption-0"
    cluster.pods.start("encryption-0")
    wait_for(
        lambda: client.request("PUT", "/_matrix/client/v3/sendToDevice/m.x/1").server == "encryption-0", 10, "the new address to be used"
    )


WRITERS = [
    ("PUT", "/_matrix/client/v3/rooms/!V12/typing/@u:example.com", "typing-persister"),
    ("PUT", "/_matrix/client/v3/sendToDevice/m.room.encrypted/1", "encryption"),
    ("PUT", "/_matrix/client/v3/user/@u:example.com/account_data/m.direct", "account-data"),
    ("PUT", "/_matrix/client/v3/presence/@u:example.com/status", "presence-writer"),
    ("PUT", "/_matrix/client/v3/pushrules/global/override/x", "push-rules"),
    ("POST", "/_matrix/client/v3/rooms/!V12/receipt/m.read/$e", "receipts"),
    ("POST", "/_matrix/client/v3/keys/upload", "device-lists"),
    ("POST", "/_matrix/media/v3/upload", "media-repository"),
]


def test_when_a_writer_is_dead_clients_are_told_so_at_once_and_nobody_else_is_asked(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    dead = {pool for _, _, pool in WRITERS}
    cluster.pods.kill(*(name for name in cluster.instances if name.rpartition("-")[0] in dead))
    asked = {name: stub.requests for name, stub in cluster.pods.stubs.items()}
    for knows in (False, True):
        for method, target, _ in WRITERS:
            start = time.monotonic()
            answer = client.request(method, target)
            assert time.monotonic() - start < (1 if knows else 2.5)
            assert (answer.status, answer.json["errcode"], answer.json["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 5000)
            assert answer.headers["retry-after"] == "5"
            assert answer.headers["access-control-allow-origin"] == "*"
        cluster.settle()
    assert {name: stub.requests for name, stub in cluster.pods.stubs.items()} == asked


@pytest.mark.parametrize(
    "dead",
    [
        {
            "initial-synchrotron": "synchrotron",
            "event-creator": "client-reader",
            "federation-inbound": "federation-reader",
            "sso-login": "main",
        },
        {"sliding-sync": "synchrotron", "client-reader": "event-creator", "federation-reader": "federation-inbound"},
        {"synchrotron": "sliding-sync", "user-dir": "client-reader"},
    ],
)
def test_a_dead_pool_is_stood_in_for_by_its_fallback(cluster: Cluster, dead: dict[str, str]) -> None:
    client = cluster.proxies[0].internal
    requests = {pool: (method, target) for method, target, pool in reversed(BY_HAND)}
    assert [client.request(*requests[pool]).pool for pool in dead] == list(dead)
    cluster.pods.kill(*(name for name in cluster.instances if name.rpartition("-")[0] in dead))
    cluster.settle()
    assert {pool: client.request(*requests[pool]).pool for pool in dead} == dead
    assert dead == {worker.name: worker.fallback for worker in WORKER_TYPES if worker.name in dead}


def test_when_the_fallback_is_dead_too_the_next_is_asked_and_in_the_end_nobody(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    for pool, expected in [("initial-synchrotron", "synchrotron"), ("synchrotron", "sliding-sync"), ("sliding-sync", None)]:
        cluster.pods.kill(*(name for name in cluster.instances if name.rpartition("-")[0] == pool))
        cluster.settle()
        answer = client.get("/_matrix/client/v3/sync")
        assert answer.pool == expected
    assert answer.status == 429


def test_when_main_is_dead_everything_else_goes_on(cluster: Cluster) -> None:
    client = cluster.proxies[0].public
    cluster.pods.kill("main-0")
    cluster.settle()
    assert client.request("POST", "/_matrix/client/v3/logout").status == 429
    assert sync(client, USERS[0])
    assert cluster.proxies[0].probe("/ready").status == 200


def test_a_request_that_changes_something_is_never_sent_twice(cluster: Cluster) -> None:
    for method in ("POST", "PUT", "DELETE"):
        asked = {name: stub.requests for name, stub in cluster.pods.stubs.items()}
        answer = cluster.proxies[0].public.request(method, "/_matrix/client/v3/rooms/!V12/send/m.room.message/1?stub_hangup=1")
        assert (answer.status, answer.json["errcode"]) == (502, "M_UNKNOWN")
        assert sum(stub.requests - asked[name] for name, stub in cluster.pods.stubs.items()) == 1
    asked = {name: stub.requests for name, stub in cluster.pods.stubs.items()}
    cluster.proxies[0].public.get("/_matrix/client/v3/rooms/!V12/messages?stub_hangup=1")
    assert sum(stub.requests - asked[name] for name, stub in cluster.pods.stubs.items()) > 1, "a question is asked again"


def test_a_sync_that_waits_on_a_dying_instance_continues_on_another(cluster: Cluster) -> None:
    answers: list[str | None] = []
    user = next(user for user in USERS if sync(cluster.proxies[0].public, user) == "synchrotron-3")
    url = "/_matrix/client/v3/sync?since=s1&stub_delay=2"
    waiting = threading.Thread(target=lambda: answers.append(cluster.proxies[0].public.get(url, user).server))
    waiting.start()
    wait_for(lambda: cluster.pods.stubs["synchrotron-3"].open_requests, 5, "the sync to arrive")
    cluster.pods.kill("synchrotron-3")
    waiting.join(10)
    assert answers[0] in {"synchrotron-0", "synchrotron-1", "synchrotron-2"}


# --- Limits


def test_a_full_instance_makes_requests_wait_and_then_refuses_them(cluster: Cluster) -> None:
    pools = tuple(
        attrs.evolve(pool, worker=attrs.evolve(pool.worker, max_connections=1, queue_timeout_seconds=1))
        if pool.worker.name == "user-dir"
        else pool
        for pool in specification(cluster.pods).pools
    )
    proxy = cluster.start(pools=pools)
    answers: list[Answer] = []

    def search(delay: float) -> None:
        answers.append(proxy.public.request("POST", f"/_matrix/client/v3/user_directory/search?stub_delay={delay}"))

    searches = [threading.Thread(target=search, args=(delay,)) for delay in (2, 0)]
    for thread in searches:
        thread.start()
        wait_for(lambda: cluster.pods.stubs["user-dir-0"].open_requests, 5, "the first to occupy the instance")
    for thread in searches:
        thread.join(10)
    assert [(answer.status, answer.pool) for answer in answers] == [(429, None), (200, "user-dir")]
    assert answers[0].json["errcode"] == "M_LIMIT_EXCEEDED"


def test_logins_from_one_address_are_limited_and_others_are_not_hindered(cluster: Cluster) -> None:
    port = cluster.start().ports.public

    def log_in(address: str, method: str = "POST") -> int:
        return Client(port, INGRESS).request(method, "/_matrix/client/v3/login", [("X-Forwarded-For", address)]).status

    statuses = [log_in("203.0.113.7") for _ in range(LOGINS_PER_MINUTE + 1)]
    assert statuses == [200] * LOGINS_PER_MINUTE + [429]
    assert log_in("203.0.113.8") == log_in("203.0.113.7", "GET") == 200
    assert [log_in(f"2001:db8::{number}") for number in range(LOGINS_PER_MINUTE + 1)][-1] == 429, "an IPv6 client has a whole /64"
    assert log_in("2001:db8:0:1::1") == 200


def test_a_client_that_dawdles_is_cut_off(shared: Cluster) -> None:
    answer = b"".join(iter(lambda: shared.dawdler.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    assert '"errcode": "M_UNKNOWN"' in answer


# --- Operation


def test_haproxy_accepts_the_configuration_without_a_warning(haproxy: str, tmp_path: Path) -> None:
    with Pods.running(DOMAIN) as pods:
        plain = specification(pods)
    for spec in (
        plain,
        attrs.evolve(plain, federation=False, trusted_proxies=(), log_successes=False),
        attrs.evolve(plain, listen_address="::"),
    ):
        for name, text in configuration(spec).items():
            (tmp_path / name).write_text(text, newline="")
        checked = subprocess.run(
            [haproxy, "-c", "-dW", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, timeout=20, check=False
        )
        assert checked.returncode == 0, checked.stderr


def test_the_access_log_tells_who_answered_and_keeps_secrets(cluster: Cluster) -> None:
    proxy = cluster.start()
    secret = "syt_c2VjcmV0_abcdefghijklmnopqrst_123456"
    server = proxy.public.get(f"/_matrix/client/v3/sync?since=s1&access_token={secret}").server
    proxy.public.get("/_matrix/client/v3/account/whoami", ("Authorization", f"Bearer {secret}"))
    proxy.public.get(f"/_synapse/admin/v1/users?access_token={secret}")
    with socket.create_connection((LOOPBACK, proxy.ports.public), timeout=5) as connection:
        connection.sendall(f"NOT HTTP {secret}\r\n\r\n".encode())
        connection.recv(4096)
    wait_for(lambda: len(re.findall(r"^\{.*\}$", proxy.program.output(), re.MULTILINE)) >= 4, 5, "four whole lines")
    log = proxy.program.output()
    assert secret not in log
    assert "c2VjcmV0" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    # Threads of HAProxy write them, in an order of their own.
    shown = {line["path"]: (line["status"], line["pool"], line["server"]) for line in lines}
    assert shown["/_matrix/client/v3/sync"] == (200, "synchrotron", server)
    assert shown["/_matrix/client/v3/account/whoami"][:2] == (200, "client-reader")
    assert shown["/_synapse/admin/v1/users"] == (403, "public", "<NOSRV>")
    assert 400 in {status for status, *_ in shown.values()}
    for line in lines:
        assert line["client"] == LOOPBACK
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    (waited,) = [line for line in lines if line["path"] == "/_matrix/client/v3/sync"]
    assert (waited["method"], waited["total"] >= waited["response"] >= 0) == ("GET", True)


def test_probes_and_metrics_are_served_on_a_port_of_their_own(shared: Cluster) -> None:
    proxy = shared.proxies[0]
    assert [proxy.probe(path).status for path in ("/live", "/ready", "/metrics", "/")] == [200, 200, 200, 404]
    assert b'haproxy_server_status{proxy="synchrotron",server="synchrotron-0",state="UP"} 1' in proxy.probe("/metrics").text


def test_haproxy_is_ready_once_it_has_found_synapse(haproxy: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pods = stack.enter_context(Pods.running(DOMAIN))
        spec = attrs.evolve(specification(pods), nameservers=(f"{LOOPBACK}:{pods.dns()}",))
        for name, text in configuration(spec).items():
            (tmp_path / name).write_text(text, newline="")
        program = stack.enter_context(running([haproxy, "-W", "-db", "-f", tmp_path / "haproxy.cfg"]))
        proxy = Proxy(program, spec.ports)
        program.ready(lambda: proxy.probe("/live").status == 200, 10)
        assert proxy.probe("/ready").status == 503
        pods.start("main-0")
        wait_for(lambda: proxy.probe("/ready").status == 200, 10, "HAProxy to be ready")
        assert proxy.public.get("/_matrix/client/unknown").server == "main-0"


def listens(port: int) -> bool:
    try:
        return accepts_connections(port)
    except ConnectionRefusedError:
        return False


def test_a_haproxy_that_stops_fails_no_request(cluster: Cluster) -> None:
    """As in a cluster: new connections stop soon after /ready says no; open ones are used until HAProxy closes them."""
    leaving, staying = cluster.start(), cluster.proxies[0]
    stop, served = threading.Event(), Counter[int]()
    failures: list[OSError] = []

    def ingress(user: tuple[str, str]) -> None:
        client = leaving.public
        while not stop.is_set():
            if client._connection is None:
                client = (leaving if ready.is_set() else staying).public
            try:
                answer = client.get("/_matrix/client/v3/sync?since=s1&stub_delay=0.05", user)
                served[answer.status] += 1
            except OSError as error:
                failures.append(error)
                return

    ready = threading.Event()
    ready.set()
    threads = [threading.Thread(target=ingress, args=(user,)) for user in USERS[:8]]
    for thread in threads:
        thread.start()
    long_poll: list[Answer] = []
    poll = threading.Thread(target=lambda: long_poll.append(leaving.public.get("/_matrix/client/v3/sync?since=s1&stub_delay=4", USERS[0])))
    poll.start()
    idle = leaving.public
    assert idle.get("/_matrix/client/versions").status == 200
    time.sleep(0.5)
    leaving.program.send(signal.SIGUSR1)
    wait_for(lambda: leaving.probe("/ready").status == 503, 1, "/ready to say no")
    assert leaving.public.get("/_matrix/client/versions").status == 200, "who has not heard yet is still served"
    ready.clear()
    wait_for(lambda: not listens(leaving.ports.public), 5, "HAProxy to listen no more")
    last = idle.get("/_matrix/client/versions")
    assert (last.status, last.headers["connection"]) == (200, "close"), "nor is a connection cut on which nothing was said for a while"
    assert leaving.program.process.wait(15) == 0
    stop.set()
    for thread in (*threads, poll):
        thread.join(10)
    assert failures == []
    assert set(served) == {200}
    assert served[200] > 100
    assert [answer.status for answer in long_poll] == [200]
