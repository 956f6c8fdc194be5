"""Who is outside of the platform of the live tests: an ingress controller with TLS in front of it, and another homeserver."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from attrs import evolve, frozen

from main_instance.synapse.configuration import log_config
from tests.live.cluster import INGRESS, WORLD, Client, Cluster, Place
from tests.live.homeservers import SHARED_SECRET, homeserver_config, signing_key
from tests.live.installation import AUTHORITY, MAIL_PASSWORD, MAIL_SERVER, NAMESPACE, PUBLIC, SERVER_NAME
from tests.live.processes import wait_for

PARTNER = "partner.example"
PARTNER_URL = f"http://{PARTNER}:8008"
_FOLDER = "/tmp/homeserver"


@contextmanager
def launched(cluster: Cluster, module: str, given: Mapping[str, object], at: Place) -> Iterator[Client]:
    """A program of tests/live/clients/, until the end of the block."""
    client = cluster.launch(["python", "-m", f"tests.live.clients.{module}"], at, given=json.dumps(given))
    try:
        yield client
    finally:
        client.signal(15)
        client.wait(10)


@contextmanager
def program(cluster: Cluster, files: Mapping[str, str], command: Sequence[str], at: Place) -> Iterator[Client]:
    """A program that finds these files, until the end of the block."""
    with launched(cluster, "with_files", {"files": files, "command": command}, at) as client:
        yield client


@contextmanager
def ingress_controller(cluster: Cluster, server_name: str = SERVER_NAME, namespace: str = NAMESPACE) -> Iterator[None]:
    """Answers by TLS for a server name and for its homeserver, at an address of the world: a load balancer with the controller behind it."""
    names, controller = (server_name, f"matrix.{server_name}"), f"ingress.{server_name}"
    certificate, key = AUTHORITY.issue(*names)
    to = (f"haproxy.{namespace}.svc.cluster.local.", 8008)
    inside = {"listen": 443, "to": to, "certificate": certificate, "key": key}
    balancer = {"listen": 443, "to": (controller, 443)}
    with (
        launched(cluster, "relay", inside, evolve(INGRESS, names=(controller,))) as relay,
        launched(cluster, "relay", balancer, evolve(WORLD, names=names)) as load_balancer,
    ):
        wait_for(lambda: relay.output() and load_balancer.output(), 20, "the ingress controller")
        yield


@contextmanager
def web_server(cluster: Cluster, host: str, pages: Mapping[str, tuple[str, str]], port: int = 443, at: Place = WORLD) -> Iterator[Client]:
    """A web server outside, or elsewhere, with TLS on port 443."""
    certificate, key = AUTHORITY.issue(host)
    tls = {"certificate": certificate, "key": key} if port == 443 else {}
    with launched(cluster, "web", {"listen": port, "pages": pages, **tls}, evolve(at, names=(host,))) as server:
        wait_for(server.output, 20, host)
        yield server


@contextmanager
def mail_server(cluster: Cluster) -> Iterator[Client]:
    """The mail server that the site names: it takes mail by TLS alone, from who knows the password."""
    certificate, key = AUTHORITY.issue(MAIL_SERVER)
    given = {"listen": 587, "user": "matrix", "password": MAIL_PASSWORD, "certificate": certificate, "key": key}
    with launched(cluster, "mail_server", given, evolve(WORLD, names=(MAIL_SERVER,))) as server:
        wait_for(server.output, 20, MAIL_SERVER)
        yield server


def lines(server: Client) -> list[dict[str, Any]]:
    """What a server outside has printed: a line of JSON for each request, or for each mail."""
    return [line for line in map(json.loads, server.output().splitlines()) if line]


@contextmanager
def partner(cluster: Cluster) -> Iterator[Client]:
    """The homeserver of somebody else, at the port that servers have by default. Its own people use it without TLS."""
    certificate, key = AUTHORITY.issue(PARTNER)
    every = {"type": "http", "bind_addresses": ["0.0.0.0"]}
    listeners = [
        {**every, "port": 8008, "resources": [{"names": ["client", "media"]}]},
        {**every, "port": 8448, "tls": True, "resources": [{"names": ["federation"]}]},
    ]
    files = {
        "homeserver.yaml": yaml.safe_dump(homeserver_config(PARTNER, _FOLDER, listeners, _FOLDER)),
        "log.yaml": yaml.safe_dump(log_config(structured=False)),
        "signing.key": signing_key(PARTNER),
        "ca.pem": AUTHORITY.certificate,
        "tls.pem": certificate,
        "tls.key": key,
    }
    command = ("python", "-m", "synapse.app.homeserver", "-c", f"{_FOLDER}/homeserver.yaml")
    there = evolve(WORLD, names=(PARTNER,))
    with program(cluster, {f"{_FOLDER}/{name}": text for name, text in files.items()}, command, there) as server:
        answers = ["curl", "--silent", "--fail", f"{PARTNER_URL}/health"]
        wait_for(lambda: cluster.run(answers, WORLD).code == 0, 90, "the other homeserver")
        yield server


def register_partner(cluster: Cluster, name: str) -> str:
    """An account at the other homeserver: its password."""
    password = f"{name}-has-a-password"
    command = ["register_new_matrix_user", "-u", name, "-p", password, "--no-admin", "-k", SHARED_SECRET, PARTNER_URL]
    cluster.run(command, WORLD).check()
    return password


@frozen
class Session:
    """A person who is logged in, and asks by plain HTTP."""

    cluster: Cluster
    name: str
    token: str

    @property
    def id(self) -> str:
        """The user id."""
        return f"@{self.name}:{SERVER_NAME}"

    def ask(self, method: str, path: str, body: object = None, *, base: str = PUBLIC, at: Place = INGRESS) -> Any:
        """What the homeserver answers: JSON, or text where it is none."""
        return request(self.cluster, method, f"{base}{path}", body, self.token, at=at)


def request(cluster: Cluster, method: str, url: str, body: object = None, token: str = "", *, at: Place = INGRESS) -> Any:
    """The answer to one request, with the scheme that an ingress controller adds."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--request", method, "--header", "X-Forwarded-Proto: https", url]
    command += ["--header", f"Authorization: Bearer {token}"] if token else []
    command += [] if body is None else ["--header", "Content-Type: application/json", "--data-binary", "@-"]
    text = cluster.run(command, at, given=json.dumps(body)).check().output
    return json.loads(text) if text.startswith("{") else text


def log_in(cluster: Cluster, name: str, password: str) -> Session:
    """Log in with a password."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    return Session(cluster, name, request(cluster, "POST", f"{PUBLIC}/_matrix/client/v3/login", body)["access_token"])
