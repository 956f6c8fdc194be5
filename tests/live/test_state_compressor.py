"""The state of rooms takes less room, and stays what it was: the real compressor on the database of a real Synapse, over TLS."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from attrs import asdict, evolve, frozen

from services.state_compressor.compressor import PROGRAM, SCHEMA, Request, command, environment
from tests.kustomize import ROOT
from tests.live.certificates import authority
from tests.live.homeservers import Homeserver, running_homeserver
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, free_ports
from tests.live.programs import chosen
from tests.live.report import Report
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(600)]

PASSWORD = "password-of-the-test"
KEYS, CHANGES = 40, 180
Resolved = dict[int, frozenset[tuple[str, str, str]]]


@frozen
class Site:
    """A homeserver with a room that has a long history of its state, and what the compressor is asked to do."""

    homeserver: Homeserver
    room: str
    folder: Path
    request: Request
    programs: Path

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        database = self.request.database
        with psycopg.connect(**database, password=PASSWORD, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def change(self, key: int, value: int) -> int:
        """A state event of the room; the status of the answer."""
        path = f"/_matrix/client/v3/rooms/{self.room}/state/org.example.setting/k{key}"
        return self.homeserver.request("PUT", path, json.dumps({"value": value}).encode(), "admin", "application/json")[0]

    def state(self) -> Resolved:
        """The state of each group, followed by its edges."""
        edges = dict(self.sql("SELECT state_group, prev_state_group FROM state_group_edges"))
        own: dict[int, dict[tuple[str, str], str]] = {group: {} for (group,) in self.sql("SELECT id FROM state_groups ORDER BY id")}
        for group, kind, key, event in self.sql("SELECT state_group, type, state_key, event_id FROM state_groups_state"):
            own[group][kind, key] = event
        found: Resolved = {}
        for group in own:
            chain = [group]
            while chain[-1] in edges:
                chain.append(edges[chain[-1]])
            whole: dict[tuple[str, str], str] = {}
            for one in reversed(chain):
                whole |= own[one]
            found[group] = frozenset((kind, key, event) for (kind, key), event in whole.items())
        return found

    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM state_groups_state")[0][0])

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT), "PATH": f"{self.programs}:/usr/bin:/bin"}

    def compress(self, code: int = 0, **changes: Any) -> dict[str, Any]:
        """Run the program; its last line."""
        request = evolve(self.request, **changes)
        file = self.folder / "request.json"
        file.write_text(json.dumps(asdict(request)))
        words: list[str | Path] = [synapse_python(), "-m", "services.state_compressor.compress", file]
        run = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=200, check=False)
        assert run.returncode == code, run.stdout + run.stderr
        assert PASSWORD not in run.stdout + run.stderr
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return found | {"said": run.stdout + run.stderr}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program = Path(chosen("STATE_COMPRESSOR", [ROOT / ".tools/state-compressor" / PROGRAM], f"{PROGRAM}: make state-compressor"))
    folder = tmp_path_factory.mktemp("compressor")
    (port,) = free_ports(1)
    own, other = authority("authority"), authority("another")
    for name, text in {"ca.crt": own.certificate, "other.crt": other.certificate, "password": f"{PASSWORD}\n"}.items():
        (folder / name).write_text(text)
    with running_postgresql(port, "synapse", PASSWORD, tls=own.issue("localhost")):
        parameters: dict[str, Any] = {"host": "localhost", "port": port, "dbname": "synapse", "user": "synapse"}
        with psycopg.connect(**{**parameters, "dbname": "postgres"}, password=PASSWORD, autocommit=True) as connection:
            connection.execute("CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        database = {"name": "psycopg2", "args": {**parameters, "host": LOOPBACK, "password": PASSWORD, "cp_min": 1, "cp_max": 5}}
        with running_homeserver(folder / "synapse", database=database) as homeserver:
            request = Request(parameters, str(folder / "password"), str(folder / "ca.crt"), 200, 100, "100,50,25", 2)
            path = f"/_synapse/admin/v1/users/@admin:{homeserver.name}/override_ratelimit"
            assert homeserver.request("POST", path, b'{"messages_per_second": 0}', "admin", "application/json")[0] == 200
            answer = homeserver.request("POST", "/_matrix/client/v3/createRoom", b"{}", "admin", "application/json")
            found = Site(homeserver, json.loads(answer[1])["room_id"], folder, request, program.parent)
            assert {found.change(number % KEYS, number) for number in range(KEYS + CHANGES)} == {200}
            yield found


def test_rows_are_saved_while_people_go_on_and_the_state_of_every_event_stays_what_it_was(site: Site, report: Report) -> None:
    before, rows, done = site.state(), site.rows(), threading.Event()
    refused: list[int] = []

    def go_on() -> None:
        number = 0
        while not done.is_set():
            number += 1
            refused.extend(status for status in (site.change(number % KEYS, -number),) if status != 200)

    people = threading.Thread(target=go_on)
    people.start()
    try:
        found = site.compress()
    finally:
        done.set()
        people.join()
    assert refused == []
    assert found["rows_saved"] > 0
    after = site.state()
    assert {group: after[group] for group in before} == before
    assert len(after) > len(before), "people have gone on"
    assert found["finished"]
    report.scenarios.append(
        ("state compressed", f"{found['rows_saved']} of {rows} rows saved in {len(before)} groups, none of them changed")
    )


def test_what_is_compressed_is_not_compressed_again_and_its_tables_are_apart_from_those_of_synapse(site: Site) -> None:
    site.compress()
    assert site.compress()["chunks"] == 0
    where = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'state_compressor%'"
    assert site.sql(where) == [(SCHEMA,)]


def test_it_does_nothing_while_synapse_is_about_to_delete_groups(site: Site) -> None:
    assert site.change(0, 1) == 200
    site.sql("INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) SELECT max(id), 9e15 FROM state_groups")
    try:
        found = site.compress(minutes=0.05)
        assert "waiting: Synapse is about to delete 1 state groups" in found["said"]
        assert (found["chunks"], found["finished"]) == (0, False)
    finally:
        site.sql("DELETE FROM state_groups_pending_deletion")
    assert site.compress()["chunks"] == 1


def test_where_synapse_has_deleted_the_groups_that_it_would_go_on_with_it_begins_anew(site: Site) -> None:
    assert site.change(0, 2) == 200
    site.compress()
    assert site.change(0, 3) == 200
    site.sql(f"UPDATE {SCHEMA}.state_compressor_state SET current_head = 1000000 WHERE level_num = 1")
    alone = command(site.request, 1)
    run = subprocess.run(alone, env=environment(site.request, site.environment()), executable=site.programs / PROGRAM, check=False)
    assert run.returncode, "the compressor alone ends there"
    before = site.state()
    found = site.compress()
    assert (found["chunks"], found["finished"]) == (1, True)
    assert site.state() == before


def test_of_a_room_that_is_gone_nothing_is_remembered(site: Site) -> None:
    site.compress()
    site.sql(f"INSERT INTO {SCHEMA}.state_compressor_progress VALUES ('!gone:example.com', 7)")
    site.sql(f"INSERT INTO {SCHEMA}.state_compressor_state VALUES ('!gone:example.com', 1, 100, 0, NULL)")
    assert site.change(0, 4) == 200
    site.compress()
    for table in ("state_compressor_state", "state_compressor_progress"):
        assert site.sql(f"SELECT DISTINCT room_id = '!gone:example.com' FROM {SCHEMA}.{table}") == [(False,)]


@pytest.mark.parametrize(
    ("changes", "why"), [({"authority_file": "other.crt"}, "certificate verify failed"), ({"host": LOOPBACK}, "does not match")]
)
def test_a_server_that_cannot_show_who_it_is_is_told_no_password(site: Site, changes: Mapping[str, str], why: str) -> None:
    """Neither by this program nor by the compressor, which upstream's does."""
    request = site.request
    if "host" in changes:
        request = evolve(request, database={**request.database, **changes})
    else:
        request = evolve(request, authority_file=str(site.folder / changes["authority_file"]))
    assert why in site.compress(code=1, database=request.database, authority_file=request.authority_file)["said"]
    alone = subprocess.run(
        command(request, 1),
        env=environment(request, site.environment()),
        executable=site.programs / PROGRAM,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode
    assert "error performing TLS handshake" in alone.stderr
    assert PASSWORD not in " ".join(command(request, 1)) + alone.stderr


def test_two_never_run_at_once(site: Site) -> None:
    with psycopg.connect(**site.request.database, password=PASSWORD, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('synapse_auto_compressor'))")
        assert "another one runs" in site.compress(code=1)["said"]
