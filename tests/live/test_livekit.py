"""LiveKit and its authorisation service from the rendered files, on a real Redis with Sentinel: who may call, and what outlives a failure.

LiveKit is built with Go (`make livekit`); LIVEKIT names another program. The authorisation service has no package and no module that Go's proxy
gives out: LK_JWT_SERVICE names its program, and without one its tests are skipped.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.compiler import render
from app.settings import parse_site
from kit.images import image
from kit.rendering import Rendering
from overlays import profiles
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import chosen, haproxy_program
from tests.live.recordings import changes, told
from tests.live.servers import HttpHandler, serving
from tests.manifests.rules.objects import workloads

# Building LiveKit, where it is not there yet, takes minutes.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(300)]

SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {calls: true}
cluster: {node_cidrs: [198.51.100.0/24]}
tls: {source: internal-ca}
"""
KEY, SECRET = "matrix-platform", "livekit-secret-of-the-test-0123456789abcdef"
PASSWORD = "redis-password.of_the~test"
_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return render(parse_site(SITE), profiles()[1])


@pytest.fixture(scope="module")
def livekit() -> str:
    others = [_REPOSITORY / ".tools" / "livekit" / "livekit-server", shutil.which("livekit-server")]
    return chosen("LIVEKIT", others, "LiveKit, which Go builds in a few minutes: make livekit")


# -- Redis


@frozen
class Redis:
    """Two servers, of which one is the primary, the Sentinel that decides which, and a proxy that leads there."""

    servers: tuple[Program, ...]
    ports: tuple[int, ...]
    sentinel: int
    proxy: int

    def ask(self, port: int, *words: str) -> list[str]:
        """The lines that redis-cli prints."""
        command = ["redis-cli", "-p", str(port), "--no-auth-warning", *words]
        environment = {**os.environ, "REDISCLI_AUTH": PASSWORD}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=10).stdout.splitlines()

    def primary(self) -> int:
        """Its port."""
        return int(self.ask(self.sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")[1])


PROXY = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen redis
    bind 127.0.0.1:{proxy}
    option tcp-check
    tcp-check send "AUTH {password}\\r\\n"
    tcp-check expect string +OK
    tcp-check send "INFO replication\\r\\n"
    tcp-check expect string role:master
    default-server check inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""


@contextlib.contextmanager
def redis_set(folder: Path) -> Iterator[Redis]:
    """The password is on both, as the platform's set has it; that and its proxy have tests of their own."""
    first, second, sentinel, proxy = free_ports(4)
    shared = f'bind {LOOPBACK}\nrequirepass "{PASSWORD}"\nmasterauth "{PASSWORD}"\nsave ""\nrepl-diskless-sync-delay 0\n'
    (folder / "first.conf").write_text(f"{shared}port {first}\n")
    (folder / "second.conf").write_text(f"{shared}port {second}\nreplicaof {LOOPBACK} {first}\n")
    (folder / "sentinel.conf").write_text(
        f'bind {LOOPBACK}\nport {sentinel}\nrequirepass "{PASSWORD}"\nsentinel monitor primary {LOOPBACK} {first} 1\n'
        f'sentinel auth-pass primary "{PASSWORD}"\nsentinel down-after-milliseconds primary 1000\nsentinel failover-timeout primary 5000\n'
    )
    (folder / "haproxy.cfg").write_text(PROXY.format(proxy=proxy, first=first, second=second, password=PASSWORD))
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(["redis-server", folder / f"{name}.conf", "--dir", folder], name=name))
            for name in ("first", "second")
        ]
        watching = stack.enter_context(running(["redis-server", folder / "sentinel.conf", "--sentinel"], name="sentinel", folder=folder))
        stack.enter_context(running([haproxy_program(), "-f", folder / "haproxy.cfg"], name="redis-proxy"))
        redis = Redis(tuple(servers), (first, second), sentinel, proxy)
        watching.ready(lambda: any("slaves=1" in line for line in redis.ask(sentinel, "INFO", "sentinel")), 30)
        yield redis


# -- LiveKit


@frozen
class Node:
    """A running LiveKit."""

    program: Program
    port: int
    metrics_port: int

    def call(self, method: str, body: Mapping[str, object] | None = None, token: str | None = None) -> dict[str, Any]:
        """A method of its room service; raises HTTPError for a refusal."""
        url = f"http://{LOOPBACK}:{self.port}/twirp/livekit.RoomService/{method}"
        access = token or administrator(str((body or {}).get("room", "")))
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {access}"}
        request = urllib.request.Request(url, json.dumps(body or {}).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return cast("dict[str, Any]", json.load(answer))

    def rooms(self) -> set[str]:
        """Names of the rooms that it knows of."""
        return {room["name"] for room in self.call("ListRooms").get("rooms", [])}

    def participants(self, room: str) -> list[dict[str, Any]]:
        """Who is in a room."""
        return cast("list[dict[str, Any]]", self.call("ListParticipants", {"room": room}).get("participants", []))

    def admits(self, token: str) -> int:
        """The status with which it judges a participant's token, before a connection is made."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/rtc/validate?access_token={token}", timeout=20) as answer:
                return cast("int", answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def healthy(self) -> bool:
        """What the readiness probe sees."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/", timeout=5) as answer:
                return bool(answer.read() == b"OK")
        except urllib.error.HTTPError:
            return False


def token(grants: Mapping[str, object], identity: str = "", secret: str = SECRET) -> str:
    """A token as LiveKit wants it (github.com/livekit/protocol, auth/accesstoken.go)."""

    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).decode().rstrip("=")

    now = int(time.time())
    claims = {"iss": KEY, "sub": identity, "nbf": now - 10, "exp": now + 600, "video": grants}
    signed = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{encode(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def administrator(room: str = "") -> str:
    """What the authorisation service calls LiveKit with."""
    return token({"roomCreate": True, "roomList": True, "roomAdmin": True, "room": room})


def lay_out(folder: Path, rendering: Rendering, redis: Redis, webhooks: list[str], ports: tuple[int, int, int]) -> None:
    """The files of a pod. What is different here stands in this function and nowhere else: ports, addresses and where the key file is."""
    for name in ("addresses.sh", "start.sh"):
        (folder / name).write_text(rendering.files[f"config/livekit/{name}"])
    settings = yaml.safe_load(rendering.files["config/livekit/config.yaml"])
    settings["port"], settings["rtc"]["tcp_port"], settings["prometheus"]["port"] = ports
    settings["redis"]["address"] = f"{LOOPBACK}:{redis.proxy}"
    settings["webhook"]["urls"] = webhooks
    settings["key_file"] = str(folder / "keys.yaml")
    for relay in settings["rtc"]["turn_servers"]:
        relay["secret_file"] = str(folder / "turn")
    (folder / "turn").write_text("turn-secret-of-the-test")
    (folder / "turn").chmod(0o440)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "keys.yaml").write_text(f"{KEY}: {SECRET}\n")
    (folder / "keys.yaml").chmod(0o440)
    (folder / "password").write_text(PASSWORD)


@contextlib.contextmanager
def livekit_node(
    program: str, rendering: Rendering, folder: Path, redis: Redis, webhooks: list[str], database: int | None = None, name: str = ""
) -> Iterator[Node]:
    """A LiveKit, ready. Those with one database know of each other."""
    ports = cast("tuple[int, int, int]", tuple(free_ports(3)))
    folder.mkdir()
    lay_out(folder, rendering, redis, webhooks, ports)
    environment = {"HOST_IP": LOOPBACK, "REDIS_PASSWORD_FILE": str(folder / "password"), "LIVEKIT": program}
    environment |= {"LIVEKIT_REDIS_DB": str(database)} if database else {}
    environment |= {"POD_NAME": name} if name else {}
    with running(["sh", folder / "start.sh"], name="livekit", environment=environment) as started:
        node = Node(started, ports[0], ports[2])
        started.ready(node.healthy, 60)
        yield node


class Webhooks(HttpHandler):
    """Takes note of what LiveKit says."""

    heard: list[tuple[str, str]] = []  # noqa: RUF012 - shared by all instances: one for each request

    def do_POST(self) -> None:
        """Event and issuer of the token."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        claims = self.headers["Authorization"].split(".")[1]
        self.heard.append((body["event"], json.loads(base64.urlsafe_b64decode(claims + "==="))["iss"]))
        self.answer(200)


@frozen
class Nodes:
    """Two LiveKits on one Redis."""

    redis: Redis
    both: tuple[Node, Node]


@pytest.fixture(scope="module")
def nodes(livekit: str, rendering: Rendering, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("calls")
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_set(folder))
        url = f"http://{LOOPBACK}:{stack.enter_context(serving(Webhooks))}/sfu_webhook"
        first, second = (stack.enter_context(livekit_node(livekit, rendering, folder / name, redis, [url])) for name in ("one", "two"))
        yield Nodes(redis, (first, second))


def test_the_program_is_the_image_s_version(livekit: str) -> None:
    printed = subprocess.run([livekit, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert printed.split()[-1] == image("livekit").tag.removeprefix("v")


def test_it_refuses_an_option_that_it_does_not_know(livekit: str, rendering: Rendering, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(rendering.files["config/livekit/config.yaml"] + "limits: {num_tracks: 1}\n")
    result = subprocess.run([livekit, "--config", tmp_path / "config.yaml"], capture_output=True, text=True, check=False, timeout=20)
    assert "field limits not found" in result.stdout


def test_a_room_is_made_for_the_authorisation_service_and_for_nobody_else(nodes: Nodes) -> None:
    node, _ = nodes.both
    joining = token({"roomJoin": True, "room": "made"}, "@alice:example.com:DEVICE")
    assert node.admits(joining) == 404
    with pytest.raises(urllib.error.HTTPError, match="401"):
        node.call("CreateRoom", {"name": "made"}, joining)
    node.call("CreateRoom", {"name": "made"})
    assert node.admits(joining) == 200


@pytest.mark.parametrize("secret", ["", "x" * 40])
def test_a_token_that_another_has_signed_is_refused(nodes: Nodes, secret: str) -> None:
    node, _ = nodes.both
    assert node.admits(token({"roomJoin": True, "room": "made"}, "@mallory:example.com:DEVICE", secret)) == 401


def test_every_node_knows_every_room(nodes: Nodes) -> None:
    first, second = nodes.both
    first.call("CreateRoom", {"name": "from the first"})
    second.call("CreateRoom", {"name": "from the second"})
    assert {"from the first", "from the second"} <= first.rooms() == second.rooms()


def test_the_authorisation_service_hears_what_happens_signed_with_its_key(nodes: Nodes) -> None:
    nodes.both[0].call("CreateRoom", {"name": "heard"})
    wait_for(lambda: ("room_started", KEY) in Webhooks.heard, 20, "the webhook")


def test_metrics_are_served(nodes: Nodes) -> None:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{nodes.both[0].metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert {"livekit_room_total", "livekit_participant_total"} <= {line.split("{")[0] for line in text.splitlines()}


def test_no_password_is_in_an_argument(nodes: Nodes) -> None:
    for node in nodes.both:
        assert PASSWORD.encode() not in Path(f"/proc/{node.program.process.pid}/cmdline").read_bytes()
        assert PASSWORD not in node.program.output()


def connect(node: Node, access: str) -> socket.socket:
    """A participant that has opened its signalling connection."""
    client = socket.create_connection((LOOPBACK, node.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /rtc?access_token={access}&protocol=15 HTTP/1.1\r\nHost: {LOOPBACK}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert client.recv(64).startswith(b"HTTP/1.1 101")
    return client


def test_who_joins_a_call_is_sent_to_the_site_s_own_turn_server_and_to_nobody_else(nodes: Nodes) -> None:
    node, _ = nodes.both
    node.call("CreateRoom", {"name": "private"})
    with connect(node, token({"roomJoin": True, "room": "private"}, "@alice:example.com:DEVICE")) as client:
        client.settimeout(10)
        answer = b""
        # The JoinResponse, in protobuf: addresses stand in it as they are (livekit_rtc.proto, ICEServer).
        while b"turns:" not in answer:
            block = client.recv(65536)
            assert block, answer
            answer += block
    told = {found.decode() for found in re.findall(rb"(?:stuns?|turns?):[\w.-]+:\d+(?:\?transport=\w+)?", answer)}
    assert told == {
        "turn:turn.example.com:3478?transport=udp",
        "turn:turn.example.com:3478?transport=tcp",
        "turns:turn.example.com:5349?transport=tcp",
    }
    # Its password is the one that coturn works out from the name (turnserver.conf, use-auth-secret).
    (name,) = set(re.findall(rb"\d{10}:PA_\w+", answer))
    assert base64.b64encode(hmac.digest(b"turn-secret-of-the-test", name, hashlib.sha1)) in answer


def test_before_a_stop_it_waits_for_the_last_participant(livekit: str, rendering: Rendering, nodes: Nodes, tmp_path: Path) -> None:
    with livekit_node(livekit, rendering, tmp_path / "leaving", nodes.redis, [], database=3) as node:
        node.call("CreateRoom", {"name": "long talk"})
        with connect(node, token({"roomJoin": True, "room": "long talk"}, "@alice:example.com:DEVICE")):
            wait_for(lambda: node.participants("long talk"), 20, "the participant")
            node.program.send(signal.SIGTERM)
            time.sleep(7)
            assert node.program.process.poll() is None
        assert node.program.process.wait(60) == 0


def test_one_hears_what_another_says_though_they_signal_by_different_nodes(nodes: Nodes, rendering: Rendering) -> None:
    python = chosen("LIVEKIT_SDK", [], "a Python that has PyPI's livekit")
    nodes.both[0].call("CreateRoom", {"name": "talk"})
    grants = {"roomJoin": True, "room": "talk", "canPublish": True, "canSubscribe": True}
    people = [(f"ws://{LOOPBACK}:{node.port}", token(grants, name)) for node, name in zip(nodes.both, ("a", "b"), strict=True)]
    command = [python, str(Path(__file__).with_name("livekit_client.py")), *(word for person in people for word in person)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert result.returncode == 0, result.stderr
    heard = json.loads(result.stdout.splitlines()[-1])
    media = yaml.safe_load(rendering.files["config/livekit/config.yaml"])["rtc"]
    assert heard["udp_ports"]
    assert all(media["port_range_start"] <= port <= media["port_range_end"] for port in heard["udp_ports"])
    # What alerts and panels ask for is still what the recording of such a call has.
    assert changes("livekit-1.13.5", "".join(told(f"http://{LOOPBACK}:{node.metrics_port}/metrics") for node in nodes.both)) == []


def test_behind_a_load_balancer_clients_are_told_its_address_and_one_port(livekit: str, nodes: Nodes, tmp_path: Path) -> None:
    balanced = render(parse_site(f"{SITE}calls: {{load_balancer: {{livekit: {{livekit-0: 203.0.113.10}}}}}}\n"), profiles()[0])
    (service,) = (o for o in balanced.manifests() if (o["kind"], o["metadata"]["name"]) == ("Service", "livekit-0"))
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    with livekit_node(livekit, balanced, tmp_path / "node", nodes.redis, [], database=7, name="livekit-0") as node:
        (line,) = [line for line in node.program.output().splitlines() if "starting LiveKit server" in line]
        started = json.loads(line)
    assert started["rtc.portUDP"] == {"Start": ports["media-udp"], "End": 0}
    assert "203.0.113.10" in json.dumps(started["nodeIP"])


def test_calls_go_on_and_begin_after_the_redis_primary_has_died(nodes: Nodes) -> None:
    first, second = nodes.both
    first.call("CreateRoom", {"name": "through it all"})
    talking = connect(second, token({"roomJoin": True, "room": "through it all"}, "@alice:example.com:DEVICE"))
    wait_for(lambda: first.participants("through it all"), 20, "the participant")
    old = nodes.redis.primary()
    nodes.redis.servers[nodes.redis.ports.index(old)].kill()
    died = time.monotonic()
    wait_for(lambda: nodes.redis.primary() != old, 30, "another primary")

    def usable() -> bool:
        try:
            for node in nodes.both:
                node.call("CreateRoom", {"name": f"after the failure, by {node.port}"})
        except urllib.error.HTTPError:
            return False
        return first.rooms() == second.rooms() and first.healthy() and second.healthy()

    wait_for(usable, 60, "rooms")
    print(f"rooms can be made again {time.monotonic() - died:.1f} s after the primary has died")
    assert {f"after the failure, by {node.port}" for node in nodes.both} <= first.rooms()
    assert all(node.program.process.poll() is None for node in nodes.both)
    assert len(first.participants("through it all")) == 1
    talking.close()


# -- the authorisation service


def certificate(folder: Path) -> ssl.SSLContext:
    """A certificate of 127.0.0.1; its own authority is `ca.crt`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "homeserver of the test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(made.public_bytes(encoding))
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key.pem")
    return context


class Homeserver(HttpHandler):
    """Says who has a token, and takes note of delayed events."""

    asked: list[str] = []  # noqa: RUF012 - shared by all instances

    def do_GET(self) -> None:
        """The federation's /openid/userinfo."""
        self.asked.append(self.path)
        known = self.path == "/_matrix/federation/v1/openid/userinfo?access_token=good"
        self.answer_json(200 if known else 401, {"sub": f"@alice:{self.headers['Host']}"} if known else {"errcode": "M_UNKNOWN_TOKEN"})

    def do_POST(self) -> None:
        """What becomes of a delayed event."""
        self.asked.append(self.path)
        self.answer_json(200, {})


@frozen
class Authorisation:
    """A running authorisation service, for a homeserver that is `server_name`."""

    program: Program
    port: int
    server_name: str
    node: Node
    redis: Redis
    environment: Mapping[str, str]

    def ask(self, path: str, access: str, **more: object) -> tuple[int, dict[str, Any]]:
        """What a client asks with an OpenID token of its homeserver. Status and answer."""
        proof = {"access_token": access, "token_type": "Bearer", "matrix_server_name": self.server_name, "expires_in": 3600}
        member = {"id": "member", "claimed_user_id": f"@alice:{self.server_name}", "claimed_device_id": "DEVICE"}
        body = {"room_id": "!room:example.com", "slot_id": "m.call#ROOM", "openid_token": proof, "member": member, **more}
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")


def authorisation_program() -> str:
    return chosen("LK_JWT_SERVICE", [shutil.which("lk-jwt-service")], "lk-jwt-service, which no package has")


@contextlib.contextmanager
def authorisation(
    rendering: Rendering, nodes: Nodes, folder: Path, *, full_access: bool = True, node: Node | None = None, port: int | None = None
) -> Iterator[Authorisation]:
    """The service with the environment of its container. What is different here stands in this function and nowhere else."""
    program = authorisation_program()
    (container,) = next(w for w in workloads([dict(o) for o in rendering.manifests()]) if w.name == "lk-jwt-service").containers
    environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    node, port = node or nodes.both[0], port or free_ports(1)[0]
    with serving(Homeserver, context=certificate(folder)) as secure, serving(Homeserver) as plain:
        name = f"{LOOPBACK}:{secure}"
        (folder / "key").write_text(KEY)
        (folder / "secret").write_text(SECRET)
        environment |= {
            "LIVEKIT_URL": f"ws://{LOOPBACK}:{node.port}",
            "LIVEKIT_KEY_FROM_FILE": str(folder / "key"),
            "LIVEKIT_SECRET_FROM_FILE": str(folder / "secret"),
            "LIVEKIT_JWT_BIND": f"{LOOPBACK}:{port}",
            "LIVEKIT_FULL_ACCESS_HOMESERVERS": environment["LIVEKIT_FULL_ACCESS_HOMESERVERS"].replace(
                "example.com", name if full_access else "x"
            ),
            "LIVEKIT_CS_API_URL_OVERRIDES": f"{name}=http://{LOOPBACK}:{plain}",
            "LIVEKIT_REDIS_URL": f"redis://:{PASSWORD}@{LOOPBACK}:{nodes.redis.primary()}/2",
            "SSL_CERT_DIR": str(folder),
        }
        with running([program], name="lk-jwt-service", environment=environment) as started:
            started.ready(lambda: accepts_connections(port), 30)
            yield Authorisation(started, port, name, node, nodes.redis, environment)


@pytest.fixture
def service(rendering: Rendering, nodes: Nodes, tmp_path: Path) -> Iterator[Authorisation]:
    with authorisation(rendering, nodes, tmp_path) as started:
        yield started


def test_a_user_of_the_homeserver_gets_a_room_and_a_token_that_livekit_takes(service: Authorisation) -> None:
    before = service.node.rooms()
    status, answer = service.ask("/get_token", "good")
    assert status == 200, answer
    assert answer["url"] == f"ws://{LOOPBACK}:{service.node.port}"
    assert service.node.admits(answer["jwt"]) == 200
    assert len(service.node.rooms() - before) == 1


def test_whom_the_homeserver_does_not_know_gets_nothing(service: Authorisation) -> None:
    status, answer = service.ask("/get_token", "forged")
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def test_a_user_of_another_homeserver_has_no_room_made(rendering: Rendering, nodes: Nodes, tmp_path: Path) -> None:
    with authorisation(rendering, nodes, tmp_path, full_access=False) as service:
        before = service.node.rooms()
        status, answer = service.ask("/get_token", "good", room_id="!elsewhere:example.com")
        assert status == 200
        assert service.node.rooms() == before
        assert service.node.admits(answer["jwt"]) == 404


def test_a_leave_that_a_user_has_handed_over_is_kept_in_redis(service: Authorisation) -> None:
    status, answer = service.ask("/delegate_delayed_leave", "good", delay_id="delay-1", delay_timeout=3_600_000)
    assert status == 200, answer
    (_, job) = service.redis.ask(service.redis.primary(), "-n", "2", "HGETALL", "lk-jwt:jobs")
    assert json.loads(job)["Params"]["DelayId"] == "delay-1"


def test_who_goes_is_reported_to_the_homeserver_also_by_a_service_that_was_restarted(
    livekit: str, rendering: Rendering, nodes: Nodes, tmp_path: Path
) -> None:
    program, ports = authorisation_program(), free_ports(2)
    urls = [f"http://{LOOPBACK}:{port}/sfu_webhook" for port in ports]
    (tmp_path / "service").mkdir()
    with (
        livekit_node(livekit, rendering, tmp_path / "node", nodes.redis, urls, database=4) as node,
        authorisation(rendering, nodes, tmp_path / "service", node=node, port=ports[0]) as service,
    ):
        # Another replica, which knows nothing of what this one was asked.
        other = {**service.environment, "LIVEKIT_JWT_BIND": f"{LOOPBACK}:{ports[1]}"}
        with running([program], name="another", environment=other) as another:
            another.ready(lambda: accepts_connections(ports[1]), 30)
            status, answer = service.ask("/get_token", "good", delay_id="delay-2", delay_timeout=3_600_000)
            assert status == 200, answer
            with connect(node, answer["jwt"]):
                (room,) = node.rooms()
                (who,) = wait_for(lambda: node.participants(room), 20, "the participant")
                service.program.kill()
                with running([program], name="restarted", environment=service.environment) as restarted:
                    restarted.ready(lambda: accepts_connections(ports[0]), 30)
                    # It asks LiveKit who is there, and puts off the leave at the homeserver.
                    wait_for(lambda: any(path.endswith("delay-2/restart") for path in Homeserver.asked), 30, "the leave to be put off")
                    node.call("RemoveParticipant", {"room": room, "identity": who["identity"]})
                    wait_for(lambda: any(path.endswith("delay-2/send") for path in Homeserver.asked), 30, "the leave")
                    kept = service.redis.ask(service.redis.primary(), "-n", "2", "HVALS", "lk-jwt:jobs")
                    assert not any("delay-2" in job for job in kept)
