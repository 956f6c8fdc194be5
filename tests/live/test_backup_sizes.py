"""How much a homeserver's database takes in its archive: a real Synapse, PostgreSQL 18 as rendered, and barman-cloud's own compression.

What is measured here, infrastructure/postgresql/retention.py counts with.
"""

import json
import random
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field

from infrastructure.postgresql.retention import BASE_PERCENT, PER_MESSAGE
from tests.live.archives import NEW, Place, Rendered, archived, backup, databases, rendered
from tests.live.homeservers import Homeserver, running_homeserver
from tests.live.li_stack import PASSWORD, Cluster
from tests.live.processes import LOOPBACK

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

PEOPLE = ("alice", "admin", "bob")
ROOMS = 8
MESSAGES = 300
_CHECKPOINT_EACH = 20
"""Messages from one checkpoint to the next. The fewer there are, the more of the log is whole pages; these are few."""


@define
class Talk:
    """People in rooms, who send encrypted messages, which no compression makes smaller."""

    homeserver: Homeserver
    rooms: list[str] = field(factory=list)
    chance: random.Random = field(factory=lambda: random.Random(1))

    def begin(self) -> None:
        """Make the rooms. Nobody is held back."""
        for user in PEOPLE:
            limits = f"/_synapse/admin/v1/users/@{user}:{self.homeserver.name}/override_ratelimit"
            self._ask("POST", limits, {"messages_per_second": 0, "burst_count": 0}, "admin")
        for _ in range(ROOMS):
            room = self._ask("POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat"}, "alice")["room_id"]
            for user in PEOPLE[1:]:
                self._ask("POST", f"/_matrix/client/v3/join/{room}", {}, user)
            self.rooms.append(room)

    def send(self, count: int) -> None:
        """So many messages, from one after the other, to one room after the other."""
        for number in range(count):
            content = {
                "algorithm": "m.megolm.v1.aes-sha2",
                "ciphertext": self._secret(self.chance.randrange(150, 600)),
                "device_id": "ABCDEFGHIJ",
                "sender_key": self._secret(32),
                "session_id": self._secret(32),
            }
            path = f"/_matrix/client/v3/rooms/{self.rooms[number % ROOMS]}/send/m.room.encrypted/{self.chance.random()}"
            self._ask("PUT", path, content, PEOPLE[number % len(PEOPLE)])

    def _secret(self, size: int) -> str:
        return b64encode(self.chance.randbytes(size)).decode().rstrip("=")

    def _ask(self, method: str, path: str, body: Any, user: str) -> Any:
        status, text, _ = self.homeserver.request(method, path, json.dumps(body).encode(), user, "application/json")
        assert status == 200, text
        return json.loads(text)


@define
class Archive:
    """The archive of a database that people fill."""

    of: Rendered
    place: Place
    database: Cluster
    talk: Talk

    def size(self, folder: str) -> int:
        """Bytes of the base backups (`base`) or of the write-ahead log (`wals`)."""
        pages = self.place.storage.client().get_paginator("list_objects_v2").paginate(Bucket="matrix-backups")
        return sum(one["Size"] for page in pages for one in page.get("Contents", ()) if f"/{folder}/" in one["Key"])


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with databases() as place:
        of = rendered(NEW, place.storage)
        database = place.new(of, "first")
        args = {
            "host": LOOPBACK,
            "port": database.port,
            "user": "postgres",
            "password": PASSWORD,
            "dbname": "synapse",
            "cp_min": 1,
            "cp_max": 5,
        }
        with running_homeserver(place.folder / "homeserver", database={"name": "psycopg2", "args": args}) as homeserver:
            homeserver.register("bob")
            talk = Talk(homeserver)
            talk.begin()
            yield Archive(of, place, database, talk)


def test_a_message_takes_no_more_of_the_log_than_is_counted_with(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archived(archive.database)
    before = archive.size("wals")
    for _ in range(MESSAGES // _CHECKPOINT_EACH):
        archive.database.sql("checkpoint")
        archive.talk.send(_CHECKPOINT_EACH)
    time.sleep(1)
    archived(archive.database)
    each = (archive.size("wals") - before) / MESSAGES
    with capsys.disabled():
        print(f"\narchived log: {each / 1024:.1f} KiB a message", end="")
    assert PER_MESSAGE.count / 3 < each <= PER_MESSAGE.count


def test_a_base_backup_takes_no_more_of_the_volume_than_is_counted_with(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    # A database that is as good as empty is mostly PostgreSQL's own catalogues: what counts is what comes with messages.
    empty, empty_backup = _taken(archive)
    archive.talk.send(3 * MESSAGES)
    full, full_backup = _taken(archive)
    percent = 100 * (full_backup - empty_backup) / (full - empty)
    with capsys.disabled():
        print(
            f"\nbase backup: {percent:.0f} % of what {3 * MESSAGES} messages are on the volume, {100 * full_backup / full:.0f} % of all",
            end="",
        )
    assert BASE_PERCENT / 3 < percent <= BASE_PERCENT


def _taken(archive: Archive) -> tuple[int, int]:
    """The size of the database, and that of a new base backup of it."""
    before = archive.size("base")
    archive.database.sql("vacuum", "checkpoint")
    size = archive.database.sql("select sum(pg_database_size(oid)) from pg_database")[0][0]
    backup(archive.of, archive.database)
    return int(size), archive.size("base") - before
