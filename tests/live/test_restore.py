"""What is archived can be brought back: PostgreSQL 18, the backup plugin's own programs, and an S3, with what the rendered objects say.

The operator's part, and the same on three nodes, is in tests/cluster. How long each took is printed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tests.live.archives import NEW, RESTORED, Place, archived, backup, databases, rendered
from tests.live.li_stack import Cluster
from tests.live.processes import LOOPBACK

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ROWS = "create table messages (id bigserial primary key, at timestamptz default clock_timestamp())"
SEND = "insert into messages default values returning id"


@pytest.fixture
def place() -> Iterator[Place]:
    with databases() as found:
        yield found


@contextmanager
def timed(what: str, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    started = time.monotonic()
    yield
    with capsys.disabled():
        print(f"\n{what}: {time.monotonic() - started:.1f} s", end="")


def messages(database: Cluster) -> list[int]:
    return [number for (number,) in database.sql("select id from messages order by id")]


def test_what_was_archived_comes_back_after_everything_else_is_lost(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS)
    backup(first, database)
    sent = [database.sql(SEND)[0][0] for _ in range(200)]
    archived(database)
    last = [database.sql(SEND)[0][0] for _ in range(3)]
    database.kill()
    with timed("total loss: from an empty volume to a database that takes writes", capsys):
        restored = place.restored(rendered(RESTORED, place.storage), "restored")
        assert messages(restored) == sent, "what is archived, and of the last minutes what was not"
        restored.sql(SEND)
    with capsys.disabled():
        print(f"; lost: {len(last)} rows that no archived file held")


def test_a_database_goes_back_to_the_second_before_a_mistake(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS)
    backup(first, database)
    sent = [database.sql(SEND)[0][0] for _ in range(50)]
    time.sleep(1.1)
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    database.sql("delete from messages")
    database.sql(SEND)
    archived(database)
    database.kill()
    choices = f"backups: {{generation: 2, restore: {{generation: 1, time: '{before}'}}}}\n"
    with timed("point in time: from an empty volume to a database that takes writes", capsys):
        restored = place.restored(rendered(choices, place.storage), "restored")
        assert messages(restored) == sent
        restored.sql(SEND)


def test_one_table_comes_back_into_the_database_that_runs(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS, "create table other (text text)")
    backup(first, database)
    sent = [database.sql(SEND)[0][0] for _ in range(50)]
    time.sleep(1.1)
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    database.sql("drop table messages", "insert into other values ('later')")
    archived(database)
    choices = f"backups: {{generation: 2, restore: {{generation: 1, time: '{before}'}}}}\n"
    with timed("one table: restored beside, dumped, and put back", capsys):
        beside = place.restored(rendered(choices, place.storage), "beside")
        dump = place.folder / "beside" / "table.sql"
        shared = ["-h", LOOPBACK, "-U", "postgres"]
        beside.run("pg_dump", *shared, "-p", str(beside.port), "-d", "synapse", "-t", "messages", "-f", dump)
        database.run("psql", *shared, "-p", str(database.port), "-d", "synapse", "-v", "ON_ERROR_STOP=1", "-q", "-f", dump)
        assert messages(database) == sent
    assert database.sql("select text from other") == [("later",)], "nothing else has changed"


def test_a_restored_database_archives_beside_the_one_that_it_is_made_of_and_is_restored_in_turn(place: Place) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS)
    backup(first, database)
    database.sql(SEND)
    archived(database)
    database.kill()
    second = rendered(RESTORED, place.storage)
    restored = place.restored(second, "restored")
    backup(second, restored)
    restored.sql(SEND)
    archived(restored)
    sent = messages(restored)
    restored.kill()
    third = rendered("backups: {generation: 3, restore: {generation: 2}}\n", place.storage)
    assert messages(place.restored(third, "again")) == sent


def test_a_new_database_refuses_the_archive_of_another(place: Place) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS)
    backup(first, database)
    archived(database)
    said = first.run("barman-cloud-check-wal-archive", first.server, code=1)
    assert "Expected empty archive" in said
