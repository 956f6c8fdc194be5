"""From 100-ccu to 1000-ccu as the scaling guide says, while people are logged in: what they wrote before and after is there."""

import time
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.live.access_log import compare, read
from tests.live.cluster import Cluster
from tests.live.installation import PUBLIC, SERVER_NAME, haproxy_logs, launch, messaging, objects, register
from tests.live.processes import wait_for
from tests.live.report import Report
from tests.live.traffic import finish, traffic
from tests.live.traffic_log import Line, lost, twice

READY_SECONDS = 240.0
RECOVERY_SECONDS = 120.0

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = pytest.mark.timeout(600)
QUIET_SECONDS = 5.0
PEOPLE = ("frank", "grace", "heidi")


@frozen
class Scaled:
    """What happened. Times on the machine's monotonic clock."""

    lines: list[Line]
    stopped: float
    started: float
    persisters_before: int


def is_synapse(o: dict[str, Any]) -> bool:
    """Whether `kubectl delete statefulset -l app.kubernetes.io/name=synapse` would delete it."""
    return bool(o["kind"] == "StatefulSet" and o["metadata"]["labels"].get("app.kubernetes.io/name") == "synapse")


@pytest.fixture(scope="module")
def scaled(cluster: Cluster, live_dist: Path, report: Report) -> Scaled:
    small, large = objects(live_dist, "100-ccu"), objects(live_dist, "1000-ccu")
    with traffic(cluster, *PEOPLE, rooms=6) as people:
        begun = time.monotonic()
        wait_for(lambda: people.flows(begun), RECOVERY_SECONDS, "traffic before")
        time.sleep(QUIET_SECONDS)
        persisters = len(cluster.pods("event-persister"))
        stopped = time.monotonic()
        # docs/02-SCALING-GUIDE.md: no process with the old list of shards may meet one with the new.
        cluster.apply([o for o in small if not is_synapse(o)])
        synapse = {o["metadata"]["name"] for o in small if is_synapse(o)}
        wait_for(lambda: not synapse & {pod.workload for pod in cluster.pods()}, READY_SECONDS, "all of Synapse to be gone")
        gone = time.monotonic()
        cluster.apply(large)
        cluster.wait_ready(READY_SECONDS, *messaging(cluster))
        started = time.monotonic()
        wait_for(lambda: people.flows(started), RECOVERY_SECONDS, "traffic after")
        time.sleep(QUIET_SECONDS)
        lines = finish(people)
    report.scaling += [
        ("all of Synapse stopped", f"{gone - stopped:.0f} s"),
        ("1000-ccu ready", f"{started - gone:.0f} s, {len(cluster.pods())} pods"),
        ("accepted before and after", " and ".join(str(n) for n in _accepted(lines, stopped, started))),
        ("lost, twice", f"{len(lost(lines))}, {len(twice(lines))}"),
        ("logged out", f"{sum(not line['logged_in'] for line in lines if line['kind'] == 'still')} of {len(PEOPLE)}"),
    ]
    return Scaled(lines, stopped, started, persisters)


def _accepted(lines: list[Line], stopped: float, started: float) -> tuple[int, int]:
    times = [line["at"] for line in lines if line["kind"] == "accepted"]
    return sum(at < stopped for at in times), sum(at > started for at in times)


def test_messages_of_before_and_of_after_are_shown_to_everybody_once(scaled: Scaled) -> None:
    before, after = _accepted(scaled.lines, scaled.stopped, scaled.started)
    assert before > 5
    assert after > 5
    assert lost(scaled.lines) == set()
    assert twice(scaled.lines) == set()


def test_nobody_is_logged_out(scaled: Scaled) -> None:
    assert {line["by"]: line["logged_in"] for line in scaled.lines if line["kind"] == "still"} == dict.fromkeys(PEOPLE, True)
    assert [line for line in scaled.lines if line["kind"] == "refused" and "401" in line["why"]] == []


def test_rooms_are_written_by_more_event_persisters_than_before(scaled: Scaled, cluster: Cluster) -> None:
    names = [pod.name for pod in cluster.pods("event-persister")]
    assert len(names) > scaled.persisters_before
    # Each has written: the sequence of its stream is in the database.
    ask = "SELECT DISTINCT instance_name FROM events WHERE type = 'm.room.message'"
    written = (
        cluster.exec("postgresql-main-1", ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "synapse", "-Atc", ask]).check().output
    )
    assert set(names) <= set(written.split())


@pytest.mark.usefixtures("scaled")
def test_the_larger_size_is_used_as_the_smaller_one(cluster: Cluster) -> None:
    people = register(cluster, "ivan", "judy", "kit")
    given = {
        "base": PUBLIC,
        "host": f"matrix.{SERVER_NAME}",
        "people": people,
        "place": {"server_name": SERVER_NAME},
        "only": ["messages", "encrypted_messages", "ephemeral", "sliding_sync", "search", "media", "nothing_is_lost"],
    }
    # HAProxy's pods are new, so their logs begin after the change.
    used = launch(cluster, "use", given).wait(RECOVERY_SECONDS).check().json
    assert {name: result["failed"] for name, result in used["scenarios"].items() if "failed" in result} == {}
    assert compare(used["requests"], read(haproxy_logs(cluster))).wrong == []
