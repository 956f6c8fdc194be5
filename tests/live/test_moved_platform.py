"""A Synapse that people use moves in, as docs/01-DEPLOYMENT-GUIDE.md says, word for word: nobody is logged out, and nothing is lost.

The old one is a single process with SQLite or PostgreSQL, real rows, files and keys. Its commands go to the cluster of tests/live/guide_cluster.py;
then processes run with what the new site.yaml renders.
"""

import base64
import hashlib
import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from attrs import define, field

from app.settings import read_site
from tests.kustomize import ROOT
from tests.live.archives import BASE, Place, databases
from tests.live.guide_cluster import APPLICATION_PASSWORD, MAIN, GuideCluster, guide_cluster, secret
from tests.live.homeservers import Homeserver, running_homeserver
from tests.live.moved_platform import MovedPlatform, moved_platform
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, free_ports, wait_for
from tests.live.programs import installed, newest_postgresql_programs
from tests.live.report import Report
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SECTION = (ROOT / "docs" / "01-DEPLOYMENT-GUIDE.md").read_text().partition("\n## Moving in\n")[2]
WORKERS = ("event-persister-0", "presence-writer-0", "client-reader-0", "synchrotron-0", "media-repository-0")
MESSAGES = 16


def steps() -> list[str]:
    """The blocks of commands of the section, as they stand in the guide."""
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", SECTION, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


@define
class People:
    """What was there before: who was logged in, in which room, what was said, and a file."""

    room: str
    said: list[str]
    file: str
    content: bytes
    tokens: dict[str, str]
    verify_keys: Mapping[str, str] = field(factory=dict)


def used(old: Homeserver) -> People:
    """Let people use the old one."""
    old.register("bob")

    def call(user: str, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        status, text, _ = old.request(method, f"/_matrix/client/v3/{path}", content, user, "application/json")
        assert status == 200, text
        return json.loads(text)

    room = call("alice", "POST", "createRoom", {"preset": "private_chat", "invite": [f"@bob:{old.name}"]})["room_id"]
    call("bob", "POST", f"join/{quote(room)}", {})
    content = os.urandom(300_000)
    _, uploaded = old.upload(content)
    said = [
        call(user, "PUT", f"rooms/{quote(room)}/send/m.room.message/{user}{n}", {"msgtype": "m.text", "body": f"{n}"})["event_id"]
        for n in range(MESSAGES // 2)
        for user in ("alice", "bob")
    ]
    # bob's client has a key of its own, which others must find.
    device = call("bob", "GET", "account/whoami")["device_id"]
    keys = {"user_id": f"@bob:{old.name}", "device_id": device, "algorithms": [], "keys": {f"ed25519:{device}": "x"}, "signatures": {}}
    call("bob", "POST", "keys/upload", {"device_keys": keys})
    return People(room, said, uploaded["content_uri"], content, dict(old.tokens))


def updated(old: Homeserver) -> bool:
    """Whether it has done what it does to its database in the background, as the guide wants it."""
    with closing(sqlite3.connect(f"file:{old.folder}/homeserver.db?mode=ro", uri=True, timeout=20)) as database:
        (pending,) = database.execute("SELECT count(*) FROM background_updates").fetchone()
        return int(pending) == 0


def old_database(kind: str, stack: ExitStack) -> dict[str, Any] | None:
    """Where the old one keeps its rows: None for SQLite."""
    if kind == "sqlite3":
        return None
    (port,) = free_ports(1)
    stack.enter_context(running_postgresql(port, "synapse", "old"))
    with psycopg.connect(host=LOOPBACK, port=port, user="synapse", password="old", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    arguments = {"host": LOOPBACK, "port": port, "user": "synapse", "password": "old", "dbname": "synapse", "cp_min": 1, "cp_max": 5}
    return {"name": "psycopg2", "args": arguments}


@pytest.fixture
def place() -> Iterator[Place]:
    with databases() as found:
        found.storage.client().create_bucket(Bucket="matrix-media")
        yield found


def moved(cluster: GuideCluster, old: Path, kind: str, database: Mapping[str, Any] | None) -> None:
    """Follow the guide from its first block to its last; of the two databases, the one that the old homeserver has."""
    arguments = database["args"] if database else {}
    url = f"postgresql://{arguments['user']}:{arguments['password']}@{LOOPBACK}:{arguments['port']}/synapse" if arguments else ""
    path = f"{cluster.folder / 'bin'}:{Path(synapse_python()).parent}:{newest_postgresql_programs()}:{os.environ['PATH']}"
    other = "synapse_port_db" if kind != "sqlite3" else "pg_dump"
    for step in steps():
        if other not in step:
            cluster.run(f"trap 'kill %1 2>/dev/null || true' EXIT\numask 077\n{step}", OLD=str(old), OLD_DATABASE=url, PATH=path)


def keys_of(cluster: GuideCluster) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in cluster.secrets["matrix", "synapse"]["data"].items()}


@pytest.mark.parametrize("kind", ["sqlite3", "psycopg2"])
def test_a_synapse_that_people_use_moves_in_and_nobody_is_logged_out(kind: str, place: Place, tmp_path: Path, report: Report) -> None:
    installed("rclone")
    with ExitStack() as stack:
        database = old_database(kind, stack)
        with running_homeserver(tmp_path / "old", database=database) as old:
            people = used(old)
            if kind == "sqlite3":
                wait_for(lambda: updated(old), 120, "the background updates of the old one")
        cluster = stack.enter_context(guide_cluster(place, new_folder(tmp_path), BASE))
        cluster.secrets["matrix", "minio-main-root"] = secret("matrix", "minio-main-root", {"access-key": "key", "secret-key": "secret"})
        moved(cluster, tmp_path / "old", kind, database)
        assert [words.split()[-1] for words in cluster.asked_of_synapse] == ["--replicas=0", "--replicas=1"]
        for name in ("port.yaml", "synapse.sql"):
            assert not (tmp_path / "old" / name).exists() or stat.S_IMODE((tmp_path / "old" / name).stat().st_mode) == 0o600
        site = read_site(cluster.folder / "site.yaml")
        assert site.server_name == old.name
        there = cluster.databases[MAIN]
        arguments = {"host": LOOPBACK, "port": there.port, "user": "synapse", "password": APPLICATION_PASSWORD, "dbname": "synapse"}
        platform = stack.enter_context(
            moved_platform(site, tmp_path / "platform", WORKERS, keys_of(cluster), arguments, place.storage.endpoint)
        )
        look(platform, people, old.name)
        report.scenarios.append(
            (f"moving in from {kind}", f"{len(people.tokens)} sessions, {len(people.said)} messages and a file are there")
        )


def new_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def look(platform: MovedPlatform, people: People, server: str) -> None:
    """With the tokens of before: who they are, what was said, the file; and then something new, which the other one sees."""
    for user, token in people.tokens.items():
        status, answer = platform.call("GET", "/_matrix/client/v3/account/whoami", token)
        assert (status, json.loads(answer)["user_id"]) == (200, f"@{user}:{server}"), answer
    alice, bob = people.tokens["alice"], people.tokens["bob"]
    room = quote(people.room)
    status, answer = platform.call("GET", f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=200", alice)
    found = [event["event_id"] for event in json.loads(answer)["chunk"] if event["type"] == "m.room.message"]
    assert (status, found[::-1]) == (200, people.said)
    status, content = platform.call("GET", f"/_matrix/client/v1/media/download/{people.file.removeprefix('mxc://')}", bob)
    assert (status, hashlib.sha256(content).digest()) == (200, hashlib.sha256(people.content).digest())
    status, answer = platform.call("GET", "/_matrix/client/v3/sync?set_presence=offline", bob)
    assert (status, people.room in json.loads(answer)["rooms"]["join"]) == (200, True)
    since = json.loads(answer)["next_batch"]
    body = {"msgtype": "m.text", "body": "we have moved"}
    status, answer = platform.call("PUT", f"/_matrix/client/v3/rooms/{room}/send/m.room.message/new", alice, body, at="main")
    assert status == 200, answer
    sent = json.loads(answer)["event_id"]
    assert sent not in people.said

    def seen() -> bool:
        _, answer = platform.call("GET", f"/_matrix/client/v3/sync?set_presence=offline&timeout=1000&since={since}", bob)
        return sent in answer.decode()

    wait_for(seen, 60, "bob to see what alice has sent")
    status, answer = platform.call("POST", "/_matrix/client/v3/keys/query", alice, {"device_keys": {f"@bob:{server}": []}})
    assert (status, len(json.loads(answer)["device_keys"][f"@bob:{server}"])) == (200, 1)
    status, answer = platform.call("POST", "/_matrix/media/v3/upload?filename=new", alice, b"new")
    assert status == 200, answer
