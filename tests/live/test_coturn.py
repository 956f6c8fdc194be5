"""coturn from the rendered files: who may relay, where to, and what happens to a call, a certificate and a secret while it runs.

It runs Debian's coturn, or the program that COTURN names. Peers are on 127.0.0.1, where a relay must not relay to: it is the one thing that is
allowed here and nowhere else.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.compiler import render
from app.settings import parse_site
from overlays import profiles
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import haproxy_program, installed

pytestmark = pytest.mark.live

SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {calls: true}
cluster: {node_cidrs: [198.51.100.0/24], pod_cidrs: [10.42.0.0/16]}
tls: {source: internal-ca}
"""
SECRET = "shared-secret.of_the~test-0123456789"
BALANCER = "127.0.0.77"
"""An address of this machine at which nothing else listens on port 443."""
_USERS = itertools.count()

NEWER = {"unauthorized-ratelimit": (4, 14), "prometheus": (4, 6, 3), "prometheus-port": (4, 6, 3), "prometheus-address": (4, 6, 3)}
"""Options that Debian's coturn does not know, for it is older or built without them, and from which version on coturn does. It says so and
goes on; that nothing else is unknown to it is a test."""


@frozen
class Programs:
    """coturn, its version, and its client for tests."""

    server: str
    version: tuple[int, ...]
    client: str


@pytest.fixture(scope="module")
def programs() -> Programs:
    server, client = os.environ.get("COTURN") or installed("turnserver"), installed("turnutils_uclient")
    version = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    return Programs(server, tuple(map(int, version.split()[0].split("."))), client)


@frozen
class Relay:
    """A running coturn, and a folder with all that its pod would mount."""

    program: Program
    folder: Path
    port: int
    tls_port: int
    metrics_port: int
    client: str

    def call(
        self, *options: str, password: str | None = None, port: int | None = None, at: str = LOOPBACK
    ) -> subprocess.CompletedProcess[str]:
        """Allocate as a Matrix client does, and send a few messages. `-s`: by indications, since old clients number channels as none may now.

        Each call is a user's of its own: relayed addresses stay for minutes after a client has gone without a word, and count.
        """
        name, made = credentials(f"@user-{next(_USERS)}:example.com")
        command = [self.client, "-s", "-n", "5", "-p", str(port or self.port), "-u", name, "-w", password or made, *options, at]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def credentials(user: str, seconds: int = 3600) -> tuple[str, str]:
    """Name and password as Synapse gives them (synapse/rest/client/voip.py)."""
    name = f"{int(time.time()) + seconds}:{user}"
    return name, base64.b64encode(hmac.digest(SECRET.encode(), name.encode(), hashlib.sha1)).decode()


def certify(folder: Path) -> None:
    """A certificate of the host, and its key, as cert-manager names them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "turn.example.com")])
    builder = x509.CertificateBuilder(
        subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number()
    )
    now = datetime.now(UTC)
    certificate = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    encoded = serialization.Encoding.PEM
    private = key.private_bytes(encoded, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(private)
    (folder / "tls.crt").write_bytes(certificate.public_bytes(encoded))


def lay_out(folder: Path, files: Mapping[str, str], ports: Mapping[str, int]) -> None:
    """The files of a pod, in `folder` in place of `/`. What is different here stands in this function and nowhere else."""
    for path in ("etc", "run", "tls", "secret"):
        (folder / path).mkdir()
    for path, text in files.items():
        if path.startswith("config/coturn/"):
            text = text.replace("/run/coturn", str(folder / "run")).replace("/secrets/tls", str(folder / "tls"))
            for option, port in ports.items():
                text = re.sub(rf"^{option}=.*", f"{option}={port}", text, flags=re.MULTILINE)
            if path.endswith(".conf"):
                # A console, which is off in newer versions unless asked for, and which refuses peers on the loopback.
                text += "no-cli\nno-dtls\nallow-loopback-peers\n"
            (folder / "etc" / Path(path).name).write_text(text)
    (folder / "secret" / "shared_secret").write_text(SECRET)
    certify(folder / "tls")


@pytest.fixture(scope="module")
def relay(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with relaying(programs, tmp_path_factory.mktemp("coturn")) as started:
        yield started


@contextlib.contextmanager
def relaying(programs: Programs, folder: Path, site: str = SITE) -> Iterator[Relay]:
    """A coturn of its own, ready."""
    rendering = render(parse_site(site), profiles()[0])
    plain, tls, metrics = free_ports(3)
    ports = {"listening-port": plain, "tls-listening-port": tls, "prometheus-port": metrics, "min-port": 15_000, "max-port": 15_999}
    lay_out(folder, rendering.files, ports)
    environment = {
        "HOST_IP": LOOPBACK,
        "TURN_SECRET_FILE": str(folder / "secret" / "shared_secret"),
        "COTURN_RUN": str(folder / "run"),
        "TURNSERVER": programs.server,
        "CERTIFICATE_PERIOD": "0.2",
    }
    with running(["sh", folder / "etc" / "start.sh"], name="coturn", environment=environment) as program:
        program.ready(lambda: accepts_connections(plain) and accepts_connections(tls), 30)
        yield Relay(program, folder, plain, tls, metrics, programs.client)


def test_it_knows_every_option_that_is_rendered(relay: Relay, programs: Programs) -> None:
    unknown = set(re.findall(r"Bad configuration format: (\S+)", relay.program.output()))
    assert unknown == {option for option, since in NEWER.items() if programs.version < since}


def test_two_people_with_credentials_of_synapse_talk_over_it(relay: Relay) -> None:
    # -y: two clients, each the other's peer at its relayed address.
    result = relay.call("-y")
    assert result.returncode == 0, result.stdout
    assert "Total lost packets 0 (0.000000%)" in result.stdout


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_who_cannot_send_udp_talks_by_tcp_and_tls(relay: Relay, transport: str) -> None:
    result = relay.call("-y", "-t", port=relay.port) if transport == "tcp" else relay.call("-y", "-t", "-S", port=relay.tls_port)
    assert result.returncode == 0, result.stdout
    received = re.search(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\n", result.stdout)
    assert received
    assert int(received[2]) > 0


def test_behind_a_load_balancer_people_talk_by_tls_at_the_port_that_is_open_everywhere(programs: Programs, tmp_path: Path) -> None:
    """A load balancer that maps ports as the rendered Service says, at an address of its own."""
    site = f"{SITE}calls: {{load_balancer: {{}}}}\n"
    (service,) = (
        o for o in render(parse_site(site), profiles()[0]).manifests() if (o["kind"], o["metadata"]["name"]) == ("Service", "turn")
    )
    outside = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert (service["spec"]["type"], outside) == ("LoadBalancer", {"turn": 3478, "turn-udp": 3478, "turns": 443})
    (tmp_path / "relay").mkdir()
    with relaying(programs, tmp_path / "relay", site) as relay:
        lines = ["defaults", "    mode tcp", "    timeout connect 5s", "    timeout client 1m", "    timeout server 1m"]
        for name, port in (("turn", relay.port), ("turns", relay.tls_port)):
            lines += [f"listen {name}", f"    bind {BALANCER}:{outside[name]}", f"    server coturn {LOOPBACK}:{port}"]
        (tmp_path / "haproxy.cfg").write_text("\n".join(lines) + "\n")
        with running([haproxy_program(), "-db", "-f", tmp_path / "haproxy.cfg"], name="load balancer") as balancer:
            wait_for(lambda: socket.create_connection((BALANCER, 443), timeout=1), 20, balancer.name)
            result = relay.call("-y", "-t", "-S", port=443, at=BALANCER)
    assert result.returncode == 0, result.stdout
    received = re.search(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)\n", result.stdout)
    assert received
    assert int(received[2]) > 0


@pytest.mark.parametrize("password", ["wrong", base64.b64encode(hmac.digest(b"another secret", b"x", hashlib.sha1)).decode()])
def test_who_has_no_credentials_of_synapse_gets_no_address(relay: Relay, password: str) -> None:
    result = relay.call("-y", password=password)
    assert result.returncode != 0
    assert "Cannot complete Allocation" in result.stdout + result.stderr


def test_credentials_expire(relay: Relay) -> None:
    name, password = credentials("@late:example.com", seconds=-5)
    command = [relay.client, "-s", "-y", "-n", "5", "-p", str(relay.port), "-u", name, "-w", password, LOOPBACK]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode != 0
    assert "Cannot complete Allocation" in result.stdout + result.stderr


@pytest.mark.parametrize("peer", ["10.42.0.9", "198.51.100.7", "169.254.169.254", "192.168.1.1", "127.0.0.2"])
def test_nobody_is_relayed_to_the_cluster_its_nodes_or_a_private_address(relay: Relay, peer: str) -> None:
    result = relay.call("-e", peer)
    assert result.returncode != 0
    assert "error 403" in result.stdout + result.stderr
    assert f"A peer IP {peer} denied" in relay.program.output()


def test_one_user_cannot_take_all_addresses(relay: Relay) -> None:
    # -m: that many clients of one user, each with two relayed addresses; 12 is the quota.
    result = relay.call("-y", "-m", "14")
    assert result.returncode != 0
    assert "Allocation Quota Reached" in result.stdout + result.stderr + relay.program.output() or "486" in result.stdout + result.stderr


def test_the_secret_is_in_no_argument_and_in_no_file_that_others_read(relay: Relay) -> None:
    arguments = Path(f"/proc/{relay.program.process.pid}/cmdline").read_bytes()
    assert SECRET.encode() not in arguments
    holding = [path for path in (relay.folder / "run").rglob("*") if SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["turnserver.conf"]
    assert holding[0].stat().st_mode & 0o077 == 0
    assert SECRET not in relay.program.output()


def test_a_renewed_certificate_is_served_without_a_restart(relay: Relay) -> None:
    def served() -> str:
        return ssl.get_server_certificate((LOOPBACK, relay.tls_port), timeout=5)

    before = served()
    certify(relay.folder / "tls")
    after = (relay.folder / "tls" / "tls.crt").read_text()
    assert before.strip() != after.strip()
    wait_for(lambda: served().strip() == after.strip(), 20, "the renewed certificate")
    assert relay.program.process.poll() is None


@pytest.mark.optional
def test_before_a_stop_it_ends_by_itself_when_nobody_calls(programs: Programs, tmp_path: Path) -> None:
    if programs.version < (4, 6, 3):
        pytest.skip("coturn drains and has metrics from 4.6.3 on: set COTURN to such a program")
    with relaying(programs, tmp_path) as relay:
        # It answers probes last of all, when it has learnt what its signals mean.
        answer = wait_for(lambda: urllib.request.urlopen(f"http://{LOOPBACK}:{relay.metrics_port}/", timeout=5), 30, "its metrics")
        assert answer.status == 200
        relay.program.send(signal.SIGUSR1)
        wait_for(lambda: relay.program.process.poll() is not None, 30, "coturn to end")
        assert "Drain complete" in relay.program.output()
