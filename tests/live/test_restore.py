"""The archive of one life of a database and that of the next: each in a place of its own, and restored in turn.

That what is archived comes back, tests/live/test_backup_guide.py shows by following the guide; the operator's part is in tests/cluster.
"""

from collections.abc import Iterator

import pytest

from tests.live.archives import NEW, RESTORED, Place, archived, backup, databases, rendered

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ROWS = "create table messages (id bigserial primary key, at timestamptz default clock_timestamp())"
SEND = "insert into messages default values returning id"


@pytest.fixture
def place() -> Iterator[Place]:
    with databases() as found:
        yield found


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
    sent = restored.sql("select id from messages order by id")
    restored.kill()
    third = rendered("backups: {generation: 3, restore: {generation: 2}}\n", place.storage)
    assert place.restored(third, "again").sql("select id from messages order by id") == sent


def test_a_new_database_refuses_the_archive_of_another(place: Place) -> None:
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    database.sql(ROWS)
    backup(first, database)
    archived(database)
    said = first.run("barman-cloud-check-wal-archive", first.server, code=1)
    assert "Expected empty archive" in said
