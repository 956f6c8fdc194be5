"""How a process of Synapse starts: it waits for what it needs, main goes first, and two lists of writers never run together."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.inspection.tasks import TABLES
from tests.kustomize import ROOT
from tests.live.installed_synapse import installed_synapse
from tests.live.processes import wait_for
from tests.live.report import Report
from tests.live.started_synapse import (
    CREATOR,
    EVERYBODY,
    MAIN,
    PERSISTERS,
    Sender,
    StartedSynapse,
    persister_of,
    sending,
    started_synapse,
)
from tests.live.synapse_site import synapse_python

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ONE, BOTH = PERSISTERS[:1], PERSISTERS
TRAFFIC_SECONDS = 4.0


@pytest.fixture
def synapse(tmp_path: Path) -> Iterator[StartedSynapse]:
    with started_synapse(tmp_path / "synapse") as found:
        yield found


def running(synapse: StartedSynapse, persisters: Sequence[str]) -> tuple[str, ...]:
    """Start all of it with a list of persisters; the names of the processes that serve."""
    names = (MAIN, CREATOR, *persisters)
    synapse.write(persisters)
    synapse.know_password("right")
    synapse.start_database()
    synapse.start_redis()
    synapse.start(*names)
    synapse.ready(*names)
    return names


def check_writers(synapse: StartedSynapse, sender: Sender, before: Sequence[str], after: Sequence[str]) -> None:
    """Every accepted message is there once, and each room was written by one process before and by one after, which the lists say."""
    rows = synapse.sql("SELECT event_id, room_id, instance_name FROM events WHERE type = 'm.room.message' ORDER BY stream_ordering")
    accepted = [event for _, _, event in sender.accepted]
    assert len(set(accepted)) == len(accepted) > 20
    assert set(accepted) <= {event for event, _, _ in rows}
    for room in sender.rooms:
        writers = [writer for _, where, writer in rows if where == room]
        turns = [writer for writer, previous in zip(writers, [None, *writers], strict=False) if writer != previous]
        assert turns == list(dict.fromkeys([persister_of(room, before), persister_of(room, after)])), room


def test_processes_wait_for_the_database_its_password_redis_and_main_in_this_order_and_none_ends(synapse: StartedSynapse) -> None:
    names = (MAIN, CREATOR, *ONE)
    synapse.write(ONE)
    synapse.know_password("wrong")
    workers = names[1:]
    synapse.start(*names)
    for name in names:
        synapse.says(name, "waiting: the database: ")
    synapse.start_database()
    for name in names:
        synapse.says(name, "password authentication failed")
    # Main alone is behind: the others wait for it.
    synapse.stop(MAIN)
    synapse.know_password("right")
    for name in workers:
        synapse.says(name, "waiting: Redis at ")
    synapse.start_redis()
    for name in workers:
        synapse.says(name, "the main process has not said yet which list of writers is in force")
        assert not synapse.serves(name)
    synapse.start(MAIN)
    synapse.ready(*names)
    # Once for each reason, not once for each attempt.
    for name in workers:
        said = synapse.lines(name)
        assert len(said) == len(set(said)) < 12, said


def test_a_process_that_waits_ends_at_once_when_the_kubelet_says_so(synapse: StartedSynapse) -> None:
    synapse.write(ONE)
    synapse.know_password("right")
    synapse.start(*ONE)
    synapse.says(ONE[0], "waiting: the database: ")
    began = time.monotonic()
    synapse.stop(*ONE)
    assert time.monotonic() - began < 5


def test_a_second_event_persister_comes_and_goes_under_traffic_and_no_room_is_written_by_two(
    synapse: StartedSynapse, report: Report
) -> None:
    running(synapse, ONE)
    gaps = []
    for before, after in ((ONE, BOTH), (BOTH, ONE)):
        with sending(synapse) as sender:
            time.sleep(TRAFFIC_SECONDS)
            pids = {name: program.process.pid for name, program in synapse.programs.items()}
            synapse.write(after)
            # As a StatefulSet does when its size changes: in any order with main's own update.
            if len(after) > len(before):
                synapse.start(BOTH[1])
                synapse.says(BOTH[1], "the list of writers in force does not name event-persister-1")
            else:
                synapse.stop(BOTH[1])
            changed = time.monotonic()
            synapse.stop(MAIN)
            synapse.start(MAIN)
            wait_for(lambda: any(at > changed + 5 for at, _, _ in sender.accepted), 120, "messages with the new list")  # noqa: B023
            synapse.ready(MAIN, CREATOR, *after)
            time.sleep(TRAFFIC_SECONDS)
        check_writers(synapse, sender, before, after)
        gaps.append(sender.gap())
        # The same processes: a kubelet has counted no restart.
        assert all(synapse.programs[name].process.pid == pids[name] for name in (CREATOR, *ONE))
        assert all("has not stopped within" not in synapse.programs[name].output() for name in (CREATOR, *ONE))
        assert "it is in force from now on" in synapse.programs[MAIN].output()
    report.scenarios.append(("event_persister 1 to 2 and back, under traffic", f"nothing sent for {gaps[0]:.1f} s and {gaps[1]:.1f} s"))


def test_a_new_list_waits_for_a_process_that_still_has_the_old_one_and_names_it(synapse: StartedSynapse) -> None:
    running(synapse, ONE)
    frozen = synapse.programs[CREATOR]
    frozen.send(signal.SIGSTOP)
    synapse.write(BOTH)
    synapse.stop(MAIN)
    synapse.start(MAIN, BOTH[1])
    synapse.says(MAIN, f"waiting: {CREATOR} still run with another list of writers")
    for name in BOTH:
        synapse.says(name, "waiting: the main process goes first, and has come up not yet with the list of writers in force")
    assert not any(synapse.serves(name) for name in (MAIN, *BOTH))
    # They wait, for as long as it takes; the one that hangs is what the kubelet ends.
    assert all(synapse.lives(name) for name in (MAIN, *BOTH))
    assert not synapse.lives(CREATOR)
    # It wakes up, sees that its list is no longer in force, and follows.
    frozen.send(signal.SIGCONT)
    synapse.ready(MAIN, CREATOR, *BOTH)


def test_a_process_that_is_gone_without_a_word_is_not_waited_for(synapse: StartedSynapse) -> None:
    running(synapse, ONE)
    synapse.programs[CREATOR].kill()
    synapse.write(BOTH)
    synapse.stop(MAIN)
    synapse.start(MAIN, BOTH[1])
    synapse.ready(MAIN, *BOTH)
    assert synapse.sql("SELECT list LIKE '%event-persister-1%' FROM matrix_platform.shards") == [(True,)]


def test_a_process_that_loses_its_connection_keeps_its_list(synapse: StartedSynapse) -> None:
    running(synapse, ONE)
    ask = "SELECT count(DISTINCT split_part(application_name, ' ', 1)) FROM pg_stat_activity WHERE application_name LIKE '% start'"
    assert synapse.sql(ask) == [(3,)]
    synapse.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '% start'")
    wait_for(lambda: synapse.sql(ask) == [(3,)], 10, "the connections to be back")
    assert all(synapse.serves(name) for name in (MAIN, CREATOR, *ONE))
    # And follows a change that it has not been told of.
    synapse.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '% start'")
    synapse.write(BOTH)
    synapse.stop(MAIN)
    synapse.start(MAIN, BOTH[1])
    synapse.ready(MAIN, *BOTH)
    wait_for(lambda: "the list of writers has changed" in synapse.programs[CREATOR].output(), 60, "the change to be seen")
    synapse.ready(CREATOR)


def test_a_process_that_is_stopped_in_the_middle_of_an_import_becomes_itself_anew() -> None:
    """What decides that must not import the rest: here asyncio cannot be imported."""
    look = "from services.synapse_start.guard import told_to_end; print(told_to_end())"
    program = [synapse_python(), "-c", f"import sys; sys.modules['asyncio'] = None; {look}"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_position_that_the_database_does_not_know_is_taken_away_as_the_guide_says(synapse: StartedSynapse) -> None:
    """What a process writes that ran through a restore of the database: no process starts with it."""
    guide = (ROOT / "docs" / "04-TROUBLESHOOTING.md").read_text().partition("### A position that the database does not know\n")[2]
    (statement,) = re.findall(r'"(DELETE FROM .*)"', guide.partition("\n##")[0])
    running(synapse, ONE)
    synapse.stop(MAIN, CREATOR, *ONE)
    with synapse.connect() as connection:
        connection.execute("INSERT INTO stream_positions VALUES ('presence_stream', 'master', 1000000)")
    synapse.start(MAIN)
    synapse.says(MAIN, "Postgres sequence 'presence_stream_sequence' is inconsistent with associated stream position", 60)
    wait_for(lambda: synapse.programs[MAIN].process.poll(), 60, "its end")
    with synapse.connect() as connection:
        connection.execute(statement)
    synapse.start(MAIN, CREATOR, *ONE)
    synapse.ready(MAIN, CREATOR, *ONE)


def test_on_a_new_version_main_brings_the_tables_and_the_others_wait_for_them(tmp_path: Path, report: Report) -> None:
    """Synapse 1.150.0 has schema version 93, the one that is deployed 94."""
    old = installed_synapse("1.150.0")
    with started_synapse(tmp_path / "synapse") as synapse:
        synapse.synapse = old
        names = running(synapse, BOTH)
        assert synapse.sql("SELECT version FROM schema_version") == [(93,)]
        with sending(synapse) as sender:
            time.sleep(TRAFFIC_SECONDS)
            began = time.monotonic()
            synapse.synapse = None
            # All at once, as an apply does; main is the last to come.
            synapse.stop(*names)
            synapse.start(*names[1:])
            for name in names[1:]:
                synapse.says(name, "goes first, and has come up last with 1.150.0")
                assert not synapse.serves(name)
            synapse.start(MAIN)
            synapse.ready(*names)
            took = time.monotonic() - began
            wait_for(lambda: any(at > began + took for at, _, _ in sender.accepted), 60, "messages after the upgrade")
            time.sleep(TRAFFIC_SECONDS)
        assert synapse.sql("SELECT version FROM schema_version") == [(94,)]
        check_writers(synapse, sender, BOTH, BOTH)
        assert all(synapse.programs[name].process.poll() is None for name in EVERYBODY)
        report.scenarios.append(
            (
                "Synapse 1.150.0 (schema 93) to the deployed one (94), under traffic",
                f"no process ended, nothing sent for {sender.gap():.0f} s",
            )
        )
        # None of them has looked at the tables before main had brought them to its version.
        assert all("waited" in synapse.programs[name].output() for name in names[1:])


def test_plan_knows_which_tables_the_deployed_synapse_makes_and_needs() -> None:
    asked = "from synapse.storage.schema import SCHEMA_COMPAT_VERSION, SCHEMA_VERSION; print(SCHEMA_VERSION, SCHEMA_COMPAT_VERSION)"
    said = subprocess.run([synapse_python(), "-c", asked], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.split() == [str(TABLES[-1].version), str(TABLES[-1].needed)]
