"""A real Synapse with the deposit module, and a real vault: a user's key arrives as ciphertext, whatever else is sent does not."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from attrs import frozen

from services.key_deposit import recovery_key
from services.key_deposit.envelope import open_envelope
from services.key_vault.access import ROUTES, Kind
from tests.live.key_vault_site import (
    ANNA,
    BORIS,
    OWNER,
    ROOT,
    SERVER_NAME,
    Answer,
    PostgreSQL,
    Vault,
    VaultSite,
    running_database,
    serving,
    write_site,
)
from tests.live.processes import LOOPBACK, Program, free_ports, running
from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live

PARTS = {
    "login": ("address", "account", "failed_attempts"),
    "joins": ("local", "remote"),
    "invites": ("per_room", "per_user", "per_issuer"),
}
DEPOSIT = "/_synapse/client/recovery_key_deposit/v1"
NOTICE = "https://example.org/who-can-read"


@frozen
class Person:
    """A user who is logged in."""

    id: str
    token: str


@frozen
class Homeserver:
    """A running Synapse."""

    port: int
    program: Program

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
        return self.ask_raw(method, path, None if body is None else json.dumps(body).encode(), token)

    def ask_raw(self, method: str, path: str, body: bytes | None, token: str | None = None) -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def register(self, name: str | None = None, *, admin: bool = False) -> Person:
        name = name or f"u{secrets.token_hex(6)}"
        nonce = self.ask("GET", "/_synapse/admin/v1/register").json()["nonce"]
        said = "\0".join([nonce, name, "not-so-secret", "admin" if admin else "notadmin"])
        mac = hmac.new(b"not-so-secret-registration", said.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": "not-so-secret", "admin": admin, "mac": mac}
        answer = self.ask("POST", "/_synapse/admin/v1/register", body)
        assert answer.status == 200, answer
        return Person(answer.json()["user_id"], answer.json()["access_token"])

    def set_account_data(self, person: Person, kind: str, content: object) -> None:
        path = f"/_matrix/client/v3/user/{quote(person.id)}/account_data/{kind}"
        assert self.ask("PUT", path, content, person.token).status == 200

    def with_secret_storage(self, key_id: str = "abcdef") -> tuple[Person, bytes]:
        """Somebody whose client has set up secret storage, and the key."""
        person, key = self.register(), secrets.token_bytes(32)
        self.set_account_data(person, f"m.secret_storage.key.{key_id}", recovery_key.describe(key, secrets.token_bytes(16)))
        self.set_account_data(person, "m.secret_storage.default_key", {"key": key_id})
        return person, key


@frozen
class World:
    """Both, and the database that they have in common here."""

    database: PostgreSQL
    homeserver: Homeserver
    vault: Vault


def module_config(site: VaultSite, **changes: object) -> dict[str, object]:
    (site.folder / "fingerprint_key").write_text("0123456789abcdef" * 4)
    return {
        "vault_url": f"http://{LOOPBACK}:{site.ports['intake']}",
        "notice_url": NOTICE,
        "token_file": f"{site.folder}/intake_token",
        "fingerprint_key_file": f"{site.folder}/fingerprint_key",
        "authority_public_keys_file": f"{site.folder}/authority.pem",
        **changes,
    }


def write_homeserver(folder: Path, port: int, database: dict[str, object], module: dict[str, object]) -> list[str]:
    """Write Synapse's files and return the command that runs it."""
    python = synapse_python()
    folder.mkdir()
    config: dict[str, Any] = {
        "server_name": SERVER_NAME,
        "public_baseurl": f"https://matrix.{SERVER_NAME}/",
        "pid_file": f"{folder}/pid",
        "listeners": [{"port": port, "type": "http", "bind_addresses": [LOOPBACK], "resources": [{"names": ["client"]}]}],
        "database": database,
        "media_store_path": f"{folder}/media",
        "signing_key_path": f"{folder}/signing.key",
        "log_config": f"{folder}/log.yaml",
        "registration_shared_secret": "not-so-secret-registration",
        "macaroon_secret_key": "not-so-secret-macaroon",
        "form_secret": "not-so-secret-form",
        "report_stats": False,
        "trusted_key_servers": [],
        "presence": {"enabled": False},
        **{name: {"per_second": 1000, "burst_count": 1000} for name in ("rc_message", "rc_room_creation")},
        **{f"rc_{name}": {part: {"per_second": 1000, "burst_count": 1000} for part in PARTS[name]} for name in PARTS},
        "modules": [{"module": "services.key_deposit.module.KeyDeposit", "config": module}],
    }
    (folder / "homeserver.yaml").write_text(yaml.safe_dump(config))
    formatter = {"plain": {"format": "%(levelname)s %(name)s %(message)s"}}
    handler = {"console": {"class": "logging.StreamHandler", "formatter": "plain"}}
    # DEBUG: even then nothing of a key may stand in the log.
    (folder / "log.yaml").write_text(
        yaml.safe_dump({"version": 1, "formatters": formatter, "handlers": handler, "root": {"level": "DEBUG", "handlers": ["console"]}})
    )
    (folder / "signing.key").write_text(f"ed25519 a_1 {base64.b64encode(os.urandom(32)).decode().rstrip('=')}\n")
    return [python, "-m", "synapse.app.homeserver", "-c", f"{folder}/homeserver.yaml"]


@contextlib.contextmanager
def running_synapse(folder: Path, site: VaultSite, postgresql: PostgreSQL | None = None) -> Iterator[Homeserver]:
    """A Synapse with the module; without a PostgreSQL it has a database of its own in a file."""
    port = free_ports(1)[0]
    database: dict[str, object] = {"name": "sqlite3", "args": {"database": f"{folder}/synapse.db"}}
    if postgresql:
        arguments = {"user": "synapse", "password": "password-of-synapse", "dbname": "synapse", "host": LOOPBACK, "port": postgresql.port}
        database = {"name": "psycopg2", "args": {**arguments, "cp_min": 2, "cp_max": 5}}
    command = write_homeserver(folder, port, database, module_config(site))
    with running(command, name="synapse", environment={"PYTHONPATH": str(ROOT)}, folder=folder) as program:
        homeserver = Homeserver(port, program)
        program.ready(lambda: homeserver.ask("GET", "/health").status == 200, 120)
        yield homeserver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("key-vault")
    with running_database() as database:
        with database.connect(database="postgres") as connection:
            connection.execute("CREATE ROLE synapse LOGIN PASSWORD 'password-of-synapse'")
            connection.execute("CREATE ROLE key_vault_reader LOGIN PASSWORD 'password-of-key_vault_reader'")
            connection.execute("CREATE DATABASE synapse OWNER synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        (folder / "reader.password").write_text("password-of-key_vault_reader")
        reader = {
            "synapse_database_host": LOOPBACK,
            "synapse_database_port": database.port,
            "synapse_database_name": "synapse",
            "synapse_database_user": "key_vault_reader",
            "synapse_database_password_file": f"{folder}/reader.password",
        }
        site = write_site(folder, database, **reader)
        site.command("migrate", user=OWNER)
        with serving(site) as vault, running_synapse(folder / "synapse", site, database) as homeserver:
            with database.connect(database="synapse") as connection:
                connection.execute("GRANT SELECT ON events, room_memberships TO key_vault_reader")
            yield World(database, homeserver, vault)


def stored(world: World, person: Person) -> list[str]:
    with world.database.connect() as connection:
        return [row[0] for row in connection.execute("SELECT envelope FROM recovery_key WHERE user_id = %s", [person.id])]


def test_a_users_own_key_arrives_in_the_vault_as_ciphertext(world: World) -> None:
    person, key = world.homeserver.with_secret_storage()
    written = recovery_key.encode(key)
    answer = world.homeserver.ask("POST", DEPOSIT, {"recovery_key": written}, person.token)
    assert (answer.status, answer.json()) == (200, {"stored": True, "notice_url": NOTICE})
    assert [open_envelope(one, world.vault.site.authority_private_key) for one in stored(world, person)] == [written]


def test_neither_log_holds_anything_of_the_key_even_at_debug(world: World) -> None:
    person, key = world.homeserver.with_secret_storage()
    written = recovery_key.encode(key)
    for body in (
        {"recovery_key": written},
        {"recovery_key": written, "x": 1},
        {"recovery_key": written[:-1] + "1"},
        {"recovery_key": [written]},
    ):
        world.homeserver.ask("POST", DEPOSIT, body, person.token)
    world.homeserver.ask_raw("POST", DEPOSIT, b'{"recovery_key": "' + written.encode(), person.token)
    logs = world.homeserver.program.output() + world.vault.program.output()
    assert DEPOSIT in logs
    for part in written.split()[1:-1]:
        assert part not in logs
    assert written.replace(" ", "") not in logs


def test_a_key_that_is_deposited_again_is_kept_once(world: World) -> None:
    person, key = world.homeserver.with_secret_storage()
    bodies = [{"recovery_key": recovery_key.encode(key)}, {"recovery_key": recovery_key.encode(key).replace(" ", "")}]
    assert [world.homeserver.ask("POST", DEPOSIT, body, person.token).json()["stored"] for body in bodies] == [True, False]
    assert len(stored(world, person)) == 1


def test_a_key_that_does_not_fit_the_account_is_refused(world: World) -> None:
    person, _ = world.homeserver.with_secret_storage()
    answer = world.homeserver.ask("POST", DEPOSIT, {"recovery_key": recovery_key.encode(bytes(32))}, person.token)
    assert (answer.status, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")
    assert stored(world, person) == []


def test_another_of_the_accounts_keys_can_be_named(world: World) -> None:
    person, _ = world.homeserver.with_secret_storage()
    key = secrets.token_bytes(32)
    world.homeserver.set_account_data(person, "m.secret_storage.key.second", recovery_key.describe(key, secrets.token_bytes(16)))
    body = {"recovery_key": recovery_key.encode(key)}
    assert world.homeserver.ask("POST", DEPOSIT, body, person.token).status == 400
    assert world.homeserver.ask("POST", DEPOSIT, {**body, "key_id": "second"}, person.token).status == 200


def test_an_account_without_secret_storage_is_told_so(world: World) -> None:
    person = world.homeserver.register()
    answer = world.homeserver.ask("POST", DEPOSIT, {"recovery_key": recovery_key.encode(bytes(32))}, person.token)
    assert (answer.status, answer.json()["errcode"]) == (400, "M_NOT_FOUND")


def test_nobody_deposits_without_their_own_access_token(world: World) -> None:
    person, key = world.homeserver.with_secret_storage()
    body = {"recovery_key": recovery_key.encode(key)}
    assert world.homeserver.ask("POST", DEPOSIT, body).json()["errcode"] == "M_MISSING_TOKEN"
    assert world.homeserver.ask("POST", DEPOSIT, body, "syt_nobody").json()["errcode"] == "M_UNKNOWN_TOKEN"
    assert world.homeserver.ask("GET", DEPOSIT).status == 401
    assert stored(world, person) == []


def test_everybody_can_read_what_happens_to_a_key_and_where_the_notice_stands(world: World) -> None:
    answer = world.homeserver.ask("GET", DEPOSIT, token=world.homeserver.register().token).json()
    assert answer["notice_url"] == NOTICE
    assert answer["authority_key_id"] == world.vault.site.authority.id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 4000, 400),
        (b'{"recovery_key": 1}', 400),
        (b'{"recovery_key": "x"}', 400),
        (b'{"recovery_key": "\\ud800"}', 400),
        (b'{"recovery_key": "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d", "key_id": ""}', 400),
        (b'{"recovery_key": "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d", "key_id": "\\u0000"}', 400),
        (b'{"recovery_key": "' + b"E" * 5000 + b'"}', 413),
    ],
)
def test_what_is_no_deposit_is_refused(world: World, body: bytes, status: int) -> None:
    person, _ = world.homeserver.with_secret_storage()
    assert world.homeserver.ask_raw("POST", DEPOSIT, body, person.token).status == status
    assert stored(world, person) == []


def test_too_many_keys_in_a_day_are_refused_as_matrix_says_it(world: World) -> None:
    person = world.homeserver.register()
    answers = []
    for number in range(11):
        key = secrets.token_bytes(32)
        world.homeserver.set_account_data(person, f"m.secret_storage.key.k{number}", recovery_key.describe(key, secrets.token_bytes(16)))
        body = {"recovery_key": recovery_key.encode(key), "key_id": f"k{number}"}
        answers.append(world.homeserver.ask("POST", DEPOSIT, body, person.token))
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert answers[-1].json()["errcode"] == "M_LIMIT_EXCEEDED"


def test_a_vault_that_is_away_is_an_answer_and_not_a_lost_key(world: World, tmp_path: Path) -> None:
    away = VaultSite(
        world.vault.site.folder, {**world.vault.site.ports, "intake": free_ports(1)[0]}, {}, world.vault.site.authority_private_key
    )
    with running_synapse(tmp_path / "synapse", away) as homeserver:
        person, key = homeserver.with_secret_storage()
        answer = homeserver.ask("POST", DEPOSIT, {"recovery_key": recovery_key.encode(key)}, person.token)
        assert (answer.status, "try again later" in answer.json()["error"]) == (503, True)
        assert recovery_key.encode(key).split()[3] not in homeserver.program.output()


def test_a_vault_that_knows_another_token_is_an_answer(world: World, tmp_path: Path) -> None:
    site = world.vault.site
    (tmp_path / "intake_token").write_text("another-token-of-more-than-32-characters")
    wrong = VaultSite(tmp_path, site.ports, {}, site.authority_private_key)
    (tmp_path / "authority.pem").write_bytes((site.folder / "authority.pem").read_bytes())
    with running_synapse(tmp_path / "synapse", wrong) as homeserver:
        person, key = homeserver.with_secret_storage()
        assert homeserver.ask("POST", DEPOSIT, {"recovery_key": recovery_key.encode(key)}, person.token).status == 502


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vault_url": None}, "missing option of the module KeyDeposit: vault_url"),
        ({"valt_url": "x"}, "unknown option of the module KeyDeposit: valt_url"),
        ({"notice_url": ""}, "notice_url"),
        ({"authority_public_keys_file": "signing.pem"}, "must never come near the cluster"),
        ({"token_file": "/nowhere"}, "/nowhere cannot be read"),
        ({"fingerprint_key_file": "short"}, "needs 32 or more"),
    ],
)
def test_synapse_does_not_start_with_a_module_that_cannot_work(
    world: World, tmp_path: Path, change: "dict[str, str | None]", message: str
) -> None:
    site = world.vault.site
    (site.folder / "short").write_text("secret")
    changes = {k: f"{site.folder}/{v}" if v in ("signing.pem", "short") else v for k, v in change.items()}
    config = {k: v for k, v in module_config(site, **changes).items() if v is not None}
    database: dict[str, object] = {"name": "sqlite3", "args": {"database": ":memory:"}}
    command = write_homeserver(tmp_path / "synapse", free_ports(1)[0], database, config)
    with running(command, name="synapse", environment={"PYTHONPATH": str(ROOT)}, folder=tmp_path) as program:
        program.process.wait(60)
        assert program.process.returncode != 0
        assert message in program.output()
        assert "PRIVATE KEY" not in program.output()


# --- Rooms and events, asked of Synapse's database, and the list of routes


def test_rooms_and_events_are_covered_by_the_membership_of_a_target(world: World) -> None:
    homeserver = world.homeserver
    mallory, alice = homeserver.register(), homeserver.register()
    rooms = {}
    for name, people in (("both", [mallory, alice]), ("left", [mallory]), ("alice", [alice]), ("invited", [alice])):
        room = homeserver.ask("POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat"}, people[0].token).json()["room_id"]
        for other in people[1:]:
            homeserver.ask("POST", f"/_matrix/client/v3/join/{quote(room)}", {}, other.token)
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/1"
        message = homeserver.ask("PUT", path, {"msgtype": "m.text", "body": "x"}, people[0].token)
        assert message.status == 200, message
        rooms[name] = (room, message.json()["event_id"])
    homeserver.ask("POST", f"/_matrix/client/v3/rooms/{quote(rooms['left'][0])}/leave", {}, mallory.token)
    homeserver.ask("POST", f"/_matrix/client/v3/rooms/{quote(rooms['invited'][0])}/invite", {"user_id": mallory.id}, alice.token)
    world.vault.open_case(targets=[mallory.id])
    for name, status in (("both", 204), ("left", 204), ("alice", 403), ("invited", 403)):
        room, event = rooms[name]
        for uri in (f"/_synapse/admin/v1/rooms/{quote(room)}/messages?dir=b", f"/_synapse/admin/v1/fetch_event/{quote(event)}"):
            assert world.vault.access(ANNA, "GET", uri).status == status, (name, uri)
            assert world.vault.access(BORIS, "GET", uri).status == 403
    assert world.vault.access(ANNA, "GET", "/_synapse/admin/v1/fetch_event/%24nowhere").status == 403


def test_synapses_database_being_away_is_no_permission(world: World) -> None:
    world.vault.open_case()
    with world.database.connect(database="synapse") as connection:
        connection.execute("REVOKE SELECT ON room_memberships FROM key_vault_reader")
        try:
            answer = world.vault.access(ANNA, "GET", f"/_synapse/admin/v1/rooms/%21room%3A{SERVER_NAME}/messages")
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        finally:
            connection.execute("GRANT SELECT ON room_memberships TO key_vault_reader")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.pattern)
def test_every_route_on_the_list_is_one_that_synapse_has(world: World, route: Any) -> None:
    admin = world.homeserver.register(admin=True)
    name = {Kind.USER: quote(admin.id), Kind.ROOM: f"%21nowhere%3A{SERVER_NAME}", Kind.EVENT: "%24nowhere", Kind.NONE: ""}[route.kind]
    pattern = route.pattern.replace("(?P<id>[^/]+)", name).replace("[^/]+", "%24nowhere")
    paths = [pattern]
    if "(?:" in pattern:
        start, _, rest = pattern.partition("(?:")
        paths = [start + one for one in rest.rstrip(")").split("|")]
    for path in paths:
        answer = world.homeserver.ask("GET", f"{path}?dir=b&ts=1", token=admin.token)
        assert answer.status != 405, path
        assert answer.status == 200 or answer.json().get("errcode") != "M_UNRECOGNIZED", (path, answer)
