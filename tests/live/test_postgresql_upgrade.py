"""docs/08-UPGRADES.md, "PostgreSQL, major": what the operator's Job does, with real programs of two majors, and the archive before and after.

The Job runs `pg_upgrade --link` (cloudnative-pg, internal/cmd/manager/instance/upgrade). Debian's own PostgreSQL is the old one here.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.inspection.changes import READ_AT_START
from tests.live.archives import NEW, Place, archived, backup, databases, rendered
from tests.live.li_stack import Cluster
from tests.live.processes import free_ports
from tests.live.programs import newest_postgresql_programs, postgresql_programs

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

NEXT = "backups: {generation: 2}\n"
NOBODY = 65534
SINCE_17 = ("sync_replication_slots", "idle_replication_slot_timeout", "io_method")
"""Parameters that the old one does not know."""


@pytest.fixture
def place() -> Iterator[Place]:
    with databases() as found:
        yield found


def major(programs: Path) -> int:
    return int((programs.parent / "bin").parent.name)


def stopped(database: Cluster) -> None:
    """As it ends when all its pods are ended."""
    database.run("pg_ctl", "stop", "-D", database.folder, "-m", "fast", "-w")


def test_a_database_goes_to_the_next_major_with_its_rows_its_settings_and_an_archive_of_its_own(place: Place) -> None:
    old_programs, new_programs = postgresql_programs(), newest_postgresql_programs()
    if major(old_programs) >= major(new_programs):
        pytest.skip(f"needs a PostgreSQL older than {major(new_programs)}: Debian's package postgresql")
    first, second = rendered(NEW, place.storage), rendered(NEXT, place.storage)
    assert (first.server, second.server) == ("postgresql-main-1", "postgresql-main-2"), "one line of site.yaml"

    old = _cluster(place, "old", old_programs)
    parameters = {name: f"'{value}'" for name, value in first.cluster["postgresql"]["parameters"].items() if "." not in name}
    old.make({name: value for name, value in parameters.items() if name not in SINCE_17} | {"wal_level": "logical"})
    old.start()
    old.sql("create database synapse encoding 'UTF8' lc_collate 'C' lc_ctype 'C' template template0", database="postgres")
    old.sql(
        "create table events (stream_ordering bigint primary key, json jsonb not null)",
        "create index on events using gin (json)",
        "insert into events select n, jsonb_build_object('body', repeat('x', n % 100), 'n', n) from generate_series(1, 20000) n",
        "create sequence events_stream_seq",
        "select setval('events_stream_seq', 20000)",
    )
    before = old.sql("select count(*), sum(length(json::text)) from events")
    stopped(old)

    # The new cluster is made as the old one was, and takes over its files.
    new = _cluster(place, "new", new_programs)
    checksums = [] if major(old_programs) >= 18 else ["--no-data-checksums"]
    new.run("initdb", "-D", new.folder, "-U", "postgres", "--locale=C", "-E", "UTF8", "--no-sync", *checksums)
    for folder in (old.folder, new.folder):
        _trusted(folder)
    folders: list[str | Path] = ["-b", old_programs, "-B", new_programs, "-d", old.folder, "-D", new.folder, "-s", place.folder]
    new.run("pg_upgrade", "--link", "-U", "postgres", *folders, "-p", str(old.port), "-P", str(new.port))
    new.configure({**place._settings(second, new), "fsync": "off", "listen_addresses": "'127.0.0.1'", "unix_socket_directories": "''"})
    new.start()
    assert new.sql("select count(*), sum(length(json::text)) from events") == before
    assert new.sql("select nextval('events_stream_seq')") == [(20001,)]
    assert new.sql("show server_version_num")[0][0].startswith(str(major(new_programs)))
    new.run("vacuumdb", "--all", "--analyze-in-stages", "-h", "127.0.0.1", "-p", str(new.port), "-U", "postgres")
    assert new.sql("select reltuples from pg_class where relname = 'events'") == [(20000.0,)]

    # It archives in the place of its own generation, from its first timeline, and is restored from there.
    backup(second, new)
    new.sql("insert into events select 20001, '{}'")
    archived(new)
    new.kill()
    third = rendered("backups: {generation: 3, restore: {generation: 2}}\n", place.storage)
    assert place.restored(third, "restored").sql("select count(*) from events") == [(20001,)]


def test_without_another_generation_the_new_one_would_not_find_its_archive_empty(place: Place) -> None:
    """Its log begins again at the first timeline, and the plugin asks before it archives for the first time."""
    first = rendered(NEW, place.storage)
    database = place.new(first, "first")
    backup(first, database)
    archived(database)
    assert "Expected empty archive" in first.run("barman-cloud-check-wal-archive", first.server, code=1)
    rendered(NEXT, place.storage).run("barman-cloud-check-wal-archive", rendered(NEXT, place.storage).server)


def _cluster(place: Place, name: str, programs: Path) -> Cluster:
    folder = place.folder / name
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    place.folder.chmod(0o777)
    return Cluster(programs, folder, free_ports(1)[0], place.stack)


def _trusted(folder: Path) -> None:
    """pg_upgrade starts both by a socket that only it can reach, as the instance manager lets it."""
    rules = folder / "pg_hba.conf"
    shutil.copy(rules, folder / "pg_hba.conf.before")
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")


def test_the_parameters_for_which_instances_are_replaced_are_those_that_the_server_reads_at_its_start() -> None:
    said = subprocess.run(
        [newest_postgresql_programs() / "postgres", "--describe-config"], capture_output=True, text=True, check=True, timeout=30
    )
    rows = [line.split("\t") for line in said.stdout.splitlines()]
    assert set(READ_AT_START.split()) == {row[0] for row in rows if row[1] == "postmaster"}
