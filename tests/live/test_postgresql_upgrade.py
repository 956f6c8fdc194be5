"""docs/08-UPGRADES.md, PostgreSQL: what the operator does, with real programs of two minors and of two majors, and the archive before and after.

For a major its Job runs `pg_upgrade --link` (cloudnative-pg, internal/cmd/manager/instance/upgrade). Debian's own PostgreSQL is the old one here.
For a minor it starts the standby's files with the new program, then changes their places (internal/controller/cluster_upgrade.go).
"""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from attrs import define, field

from app.inspection.changes import READ_AT_START
from tests.live.archives import NEW, RESTORED, Place, archived, backup, databases, rendered
from tests.live.li_stack import PASSWORD, Cluster, Service, primary_conninfo
from tests.live.processes import LOOPBACK, free_ports, wait_for
from tests.live.programs import newest_postgresql_programs, older_postgresql_programs, postgresql_programs

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


@define
class Sender:
    """Somebody who writes all the time, and notes what was acknowledged and the longest time without an answer."""

    port: int
    acknowledged: list[int] = field(factory=list)
    pause: float = 0.0
    ended: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        """Until the end. A connection that breaks is opened again."""
        last = time.monotonic()
        while not self.ended.is_set():
            try:
                with psycopg.connect(
                    host=LOOPBACK, port=self.port, user="postgres", password=PASSWORD, dbname="synapse", autocommit=True, connect_timeout=5
                ) as connection:
                    while not self.ended.is_set():
                        (number,) = connection.execute("insert into events (json) values ('{}') returning n").fetchall()[0]
                        now = time.monotonic()
                        self.acknowledged.append(number)
                        self.pause, last = max(self.pause, now - last), now
                        time.sleep(0.02)
            except psycopg.Error:
                time.sleep(0.1)

    def sends(self) -> bool:
        """Whether something is acknowledged from now on."""
        known = len(self.acknowledged)
        return bool(wait_for(lambda: len(self.acknowledged) > known, 30, "a write that is acknowledged"))


@pytest.mark.optional
def test_a_database_goes_to_the_next_minor_by_one_switchover_and_loses_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = older_postgresql_programs(), newest_postgresql_programs()
    assert version(old) < version(new), "the newer one is Debian's: name an older one in tests/live/postgresql-minor"
    assert version(old)[0] == version(new)[0]
    first = rendered(NEW, place.storage)
    one, two = _cluster(place, "one", old), _cluster(place, "two", old)
    one.make({**place._settings(first, one), "restore_command": "''"})
    one.start()
    one.sql("create database synapse", database="postgres")
    one.sql("create table events (n bigserial primary key, json jsonb not null)", "create index on events using gin (json)")
    backup(first, one)
    # Its client programs are not in the package; those of the newer one take the copy.
    from_one = ["-h", LOOPBACK, "-p", str(one.port), "-U", "postgres"]
    Cluster(new, two.folder, two.port, two.stack).run("pg_basebackup", "-D", two.folder, *from_one, "-X", "stream", "-c", "fast")
    follow(two, one, **(place._settings(first, two) | {"restore_command": "''"}))
    two.start()
    (port,) = free_ports(1)
    service, sender = Service(port, one.port), Sender(port)
    service.start()
    place.stack.callback(service.stop)
    place.stack.callback(sender.ended.set)
    threading.Thread(target=sender.run, daemon=True).start()
    assert sender.sends()

    # The standby first: it follows one that is older.
    stopped(two)
    two.programs = new
    two.start()
    assert running_version(one) == version(old)
    assert running_version(two) == version(new)
    wait_for(lambda: one.sql("select count(*) from pg_stat_replication where state = 'streaming'") == [(1,)], 60, "the standby to follow")

    # Then they change places: the primary ends when the standby has all that was written, and nobody else is led to it.
    stopped(one)
    two.sql("select pg_promote()")
    service.lead_to(two.port)
    assert sender.sends()

    # And its files follow with the new program, as they are.
    one.programs = new
    follow(one, two)
    one.start()
    assert running_version(one) == version(new)
    sender.ended.set()
    (written,) = two.sql("select pg_current_wal_lsn()")[0]
    wait_for(lambda: one.sql(f"select pg_last_wal_replay_lsn() >= '{written}'") == [(True,)], 60, "the old primary to follow")
    for database in (one, two):
        kept = {n for (n,) in database.sql("select n from events")}
        assert not set(sender.acknowledged) - kept
    two.sql("reindex table events")

    # The archive goes on in its place, and leads through both.
    archived(two)
    stopped(one)
    two.kill()
    kept = {n for (n,) in place.restored(rendered(RESTORED, place.storage), "restored").sql("select n from events")}
    assert not set(sender.acknowledged) - kept
    with capsys.disabled():
        print(
            f"\nPostgreSQL {'.'.join(map(str, version(old)))} to {'.'.join(map(str, version(new)))}: {len(sender.acknowledged)} writes "
            f"acknowledged, none lost; the longest pause {sender.pause:.1f} s"
        )


def version(programs: Path) -> tuple[int, int]:
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30)
    numbers = re.search(r"(\d+)\.(\d+)", said.stdout)
    assert numbers
    return int(numbers[1]), int(numbers[2])


def running_version(database: Cluster) -> tuple[int, int]:
    return divmod(int(database.sql("show server_version_num")[0][0]), 10000)


def follow(database: Cluster, primary: Cluster, **settings: str) -> None:
    """Make it the standby of another one."""
    database.configure({**settings, "primary_conninfo": primary_conninfo(primary)})
    (database.folder / "standby.signal").touch()


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
