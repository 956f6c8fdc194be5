"""Notifications leave a real Synapse, with the options that we render, only for the private addresses that it is told; and Sygnal takes them."""

import http.client
import http.server
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define, evolve, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from main_instance.sygnal.configuration import (
    APNS_KEY,
    CONFIG_FOLDER,
    METRICS_PORT,
    PORT,
    SECRETS_FOLDER,
    sygnal_config,
)
from main_instance.sygnal.options import Apns, PushOptions
from main_instance.synapse.configuration import homeserver_config, main_config
from main_instance.synapse.workers import WORKER_TYPES
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import chosen
from tests.live.recordings import changes
from tests.live.servers import HttpHandler, serving
from tests.live.synapse_site import homeserver_spec, synapse_python, write_files

pytestmark = pytest.mark.live

PATH = "/_matrix/push/v1/notify"
TOLD, NOT_TOLD = "localhost", "127.66.0.1"
"""Both are private to Synapse, and only the first may be called."""
APP = "com.example.app.android"
APNS = Apns(key_id="ABCDE12345", team_id="TEAM123456", apps=(("com.example.app.ios", "com.example.app"),))
PUSH = PushOptions(apns=APNS, fcm_apps=((APP, "example-app"),))


def ask(port: int, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=20)) as connection:
        connection.request(
            method, path, json.dumps(body) if body is not None else None, {"Authorization": f"Bearer {token}"} if token else {}
        )
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text.startswith(b"{") else text.decode()


@define
class Homeserver:
    """One Synapse process with two people who talk to each other."""

    program: Program
    port: int
    tokens: dict[str, str] = field(factory=dict)
    room: str = ""

    def call(self, user: str, method: str, path: str, body: object = None) -> Any:
        status, answer = ask(self.port, method, f"/_matrix/client/v3/{path}", body, self.tokens.get(user, ""))
        assert status == 200, (path, status, answer)
        return answer

    def begin(self) -> None:
        for user in ("alice", "bob"):
            account = {"username": user, "password": f"{user}-has-a-password", "auth": {"type": "m.login.dummy"}}
            self.tokens[user] = self.call("", "POST", "register", account)["access_token"]
        self.room = self.call("alice", "POST", "createRoom", {"invite": ["@bob:example.org"], "preset": "private_chat"})["room_id"]
        self.call("bob", "POST", f"join/{self.room}", {})

    def set_pusher(self, key: str, url: str, app: str = APP) -> None:
        names = {"app_display_name": "Example", "device_display_name": "Phone", "lang": "en"}
        pusher = {"kind": "http", "app_id": app, "pushkey": key, "data": {"url": url}, "append": True, **names}
        self.call("bob", "POST", "pushers/set", pusher)

    def pushers(self) -> set[str]:
        return {pusher["pushkey"] for pusher in self.call("bob", "GET", "pushers")["pushers"]}

    def send(self, text: str) -> str:
        event: str = self.call("alice", "PUT", f"rooms/{self.room}/send/m.room.message/{text}", {"msgtype": "m.text", "body": text})[
            "event_id"
        ]
        return event


@pytest.fixture(scope="module")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    folder, (port,) = tmp_path_factory.mktemp("synapse"), free_ports(1)
    spec = evolve(homeserver_spec(folder), reachable_networks=("127.0.0.1/32", "::1/128"))
    write_files(folder, spec, {worker.name: 1 for worker in WORKER_TYPES})
    # One process for all, with a database of its own; what concerns push stays as it is rendered.
    changes = {
        "database": {"name": "sqlite3", "args": {"database": f"{folder}/homeserver.db"}},
        "redis": {"enabled": False},
        "stream_writers": {},
        "instance_map": {},
        "listeners": [{"type": "http", "port": port, "bind_addresses": [LOOPBACK], "resources": [{"names": ["client"]}]}],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "pid_file": f"{folder}/pid",
    }
    config = homeserver_config(spec) | main_config(spec) | changes
    (folder / "one.yaml").write_text(yaml.safe_dump(config))
    command = [synapse_python(), "-m", "synapse.app.homeserver", "-c", str(folder / "one.yaml")]
    with running(command, name="synapse", folder=folder) as program:
        program.ready(lambda: ask(port, "GET", "/_matrix/client/versions")[0] == 200, 60)
        server = Homeserver(program, port)
        server.begin()
        yield server


@contextmanager
def gateway(address: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A stand-in for Sygnal: the URL of it, and the notifications that it has taken."""
    taken: list[dict[str, Any]] = []

    class Handler(HttpHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["notification"] | {"path": self.path})
            self.answer(200, b'{"rejected": []}')

    with serving(Handler, LOOPBACK if address == TOLD else address) as port:
        yield f"http://{address}:{port}{PATH}", taken


def test_a_message_is_announced_at_an_address_that_synapse_is_told_and_at_no_other_private_one(homeserver: Homeserver) -> None:
    with gateway(TOLD) as (url, taken), gateway(NOT_TOLD) as (forbidden, nothing):
        homeserver.set_pusher("blocked", forbidden)
        homeserver.set_pusher("phone", url)
        event = homeserver.send("hello")
        announced = wait_for(lambda: [one for one in taken if one.get("event_id") == event], 20, "the notification")
        assert [device["pushkey"] for device in announced[0]["devices"]] == ["phone"]
        assert announced[0]["path"] == PATH
        wait_for(lambda: f"Blocking access to {NOT_TOLD}" in homeserver.program.output(), 20, "Synapse to refuse the other address")
        assert nothing == []


def test_what_a_message_says_stays_at_home(homeserver: Homeserver) -> None:
    with gateway(TOLD) as (url, taken):
        homeserver.set_pusher("other phone", url)
        event = homeserver.send("a-secret")
        wait_for(lambda: [one for one in taken if one.get("event_id") == event], 20, "the notification")
        assert "a-secret" not in json.dumps(taken)


@pytest.fixture(scope="module")
def sygnal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of a real Sygnal with our configuration and keys that no service knows: for notifications, and for metrics."""
    python = chosen("SYGNAL_PYTHON", [shutil.which("sygnal")], "a Python that can import Sygnal, which no package registry has")
    folder, (port, metrics_port) = tmp_path_factory.mktemp("sygnal"), free_ports(2)
    write_keys(folder)
    text = yaml.safe_dump(sygnal_config(PUSH))
    # Where a pod has another folder, address and ports; nothing else is changed.
    moved = {
        SECRETS_FOLDER: str(folder),
        "0.0.0.0": LOOPBACK,
        f"port: {PORT}\n": f"port: {port}\n",
        f"port: {METRICS_PORT}\n": f"port: {metrics_port}\n",
    }
    for here, there in moved.items():
        text = text.replace(here, there)
    (folder / "sygnal.yaml").write_text(text)
    command = [python, "-m", "sygnal.sygnal"] if "SYGNAL_PYTHON" in os.environ else [python]
    assert CONFIG_FOLDER not in text
    with running(command, name="sygnal", environment={"SYGNAL_CONF": f"{folder}/sygnal.yaml"}, folder=folder) as program:
        program.ready(lambda: ask(port, "GET", "/health")[0] == 200, 60)
        assert "not understood" not in program.output()
        yield port, metrics_port


def write_keys(folder: Path) -> None:
    """Keys of the kinds that Apple and Google give."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / APNS_KEY).write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form))
    account = {
        "type": "service_account",
        "project_id": "example-app",
        "private_key_id": "1",
        "private_key": rsa.generate_private_key(65537, 2048).private_bytes(*form).decode(),
        "client_email": "push@example-app.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    (folder / "fcm-example-app.json").write_text(json.dumps(account))


@pytest.mark.optional
def test_sygnal_refuses_an_app_that_the_site_does_not_name_and_synapse_forgets_its_pusher(
    homeserver: Homeserver, sygnal: tuple[int, int]
) -> None:
    port, metrics_port = sygnal
    homeserver.set_pusher("stranger", f"http://{TOLD}:{port}{PATH}", app="com.example.other")
    assert "stranger" in homeserver.pushers()
    homeserver.send("to-a-stranger")
    wait_for(lambda: "stranger" not in homeserver.pushers(), 20, "Synapse to forget the pusher")
    assert changes("sygnal-0.17.0", ask(metrics_port, "GET", "/metrics")[1]) == []


@pytest.mark.optional
@pytest.mark.parametrize("app", [APP, "com.example.app.ios"])
def test_sygnal_passes_an_app_of_the_site_on_to_its_push_service(sygnal: tuple[int, int], app: str) -> None:
    """Which is not to be had here; it counts what it has given to each."""
    port, metrics_port = sygnal
    device = {"app_id": app, "pushkey": "AAAA", "pushkey_ts": 1}
    body = json.dumps({"notification": {"event_id": "$e", "room_id": "!r:example.org", "devices": [device]}})
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=5)) as connection:
        connection.request("POST", PATH, body)
        line = f'sygnal_per_pushkin_type_total{{pushkin="{app}"}} 1.0'
        wait_for(lambda: line in ask(metrics_port, "GET", "/metrics")[1], 10, "Sygnal to count the notification")
