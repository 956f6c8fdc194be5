"""Another size, and another list of writers, while people are logged in: what they wrote before and after is there."""

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from tests.live.access_log import compare, read
from tests.live.cluster import Cluster
from tests.live.installation import PUBLIC, SERVER_NAME, haproxy_logs, launch, messaging, objects, register
from tests.live.processes import wait_for
from tests.live.report import Report
from tests.live.started_synapse import persister_of
from tests.live.traffic import finish, traffic
from tests.live.traffic_log import Line, gap, lost, twice

READY_SECONDS = 420.0
RECOVERY_SECONDS = 120.0

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = pytest.mark.timeout(900)
QUIET_SECONDS = 5.0
PEOPLE = {"larger": ("frank", "grace", "heidi"), "synced": ("mallory", "niaj", "olivia")}
"""Whoever has an account keeps the password of the first time."""


@frozen
class Scaled:
    """What happened. Times on the machine's monotonic clock."""

    lines: list[Line]
    applied: float
    ready: float
    before: tuple[str, ...]
    after: tuple[str, ...]
    """The event persisters."""
    people: tuple[str, ...]
    restarted: tuple[str, ...]
    """Pods of Synapse with a container that ended and was started again."""


def persisters(cluster: Cluster) -> tuple[str, ...]:
    return tuple(sorted(pod.name for pod in cluster.pods("event-persister")))


def change(cluster: Cluster, report: Report, names: tuple[str, ...], name: str, apply: Callable[[], None]) -> Scaled:
    """Let objects be applied while people send and read, and see who was not served for how long."""
    restarts = {pod.name: pod.restarts for pod in cluster.pods()}
    with traffic(cluster, *names, rooms=6) as people:
        begun = time.monotonic()
        wait_for(lambda: people.flows(begun), RECOVERY_SECONDS, "traffic before")
        time.sleep(QUIET_SECONDS)
        before = persisters(cluster)
        applied = time.monotonic()
        apply()
        cluster.wait_ready(READY_SECONDS, *messaging(cluster))
        ready = time.monotonic()
        wait_for(lambda: people.flows(ready), RECOVERY_SECONDS, "traffic after")
        time.sleep(QUIET_SECONDS)
        lines = finish(people)
    synapse = [pod for pod in cluster.pods() if pod.labels.get("app.kubernetes.io/name") == "synapse"]
    restarted = tuple(pod.name for pod in synapse if pod.restarts > restarts.get(pod.name, 0))
    after = persisters(cluster)
    report.scaling += [
        (name, f"event persisters {len(before)} to {len(after)}; all ready after {ready - applied:.0f} s, {len(cluster.pods())} pods"),
        ("longest gap sending", f"{gap(lines, 'accepted', applied, ready + QUIET_SECONDS):.0f} s"),
        ("restarted", ", ".join(restarted) or "none"),
        ("accepted before and after", " and ".join(str(n) for n in _accepted(lines, applied, ready))),
        ("lost, twice", f"{len(lost(lines))}, {len(twice(lines))}"),
        ("logged out", f"{sum(not line['logged_in'] for line in lines if line['kind'] == 'still')} of {len(names)}"),
    ]
    return Scaled(lines, applied, ready, before, after, names, restarted)


@pytest.fixture(scope="module")
def larger(cluster: Cluster, live_dist: Path, report: Report) -> Scaled:
    """`kubectl apply -k` of the next size."""
    return change(
        cluster, report, PEOPLE["larger"], "100-ccu to 1000-ccu by plain apply", lambda: cluster.apply(objects(live_dist, "1000-ccu"))
    )


@pytest.fixture(scope="module")
def synced(larger: Scaled, cluster: Cluster, live_dist: Path, report: Report) -> Scaled:
    """Another list of writers by automatic sync: nobody does anything, and the objects come one kind after the other."""
    assert len(larger.after) > 1
    now = objects(live_dist, "1000-ccu")
    wanted = with_persisters(now, len(larger.after) - 1)

    def sync() -> None:
        for kinds in (("ConfigMap",), ("ConfigMap", "StatefulSet/event-persister")):
            cluster.apply(
                [
                    new if new["kind"] in kinds or f"{new['kind']}/{new['metadata']['name']}" in kinds else old
                    for old, new in zip(now, wanted, strict=True)
                ]
            )
            time.sleep(2)
        cluster.apply(wanted)

    return change(cluster, report, PEOPLE["synced"], "one event persister less by automatic sync", sync)


@pytest.fixture(params=["larger", "synced"])
def scaled(request: pytest.FixtureRequest) -> Scaled:
    found: Scaled = request.getfixturevalue(request.param)
    return found


def with_persisters(objects: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The same objects with so many event persisters, as they would be compiled."""
    names, changed = [f"event-persister-{ordinal}" for ordinal in range(count)], copy.deepcopy(list(objects))
    config_map = next(o for o in changed if "shards.yaml" in (o.get("data") or {}))
    shards = yaml.safe_load(config_map["data"]["shards.yaml"])
    gone = set(shards["stream_writers"]["events"]) - set(names)
    shards["stream_writers"]["events"] = names
    shards["instance_map"] = {name: place for name, place in shards["instance_map"].items() if name not in gone}
    config_map["data"]["shards.yaml"] = yaml.safe_dump(shards)
    # Kustomize names it by its content.
    old, config_map["metadata"]["name"] = config_map["metadata"]["name"], "synapse-shards-of-another-list"
    for o in changed:
        if o["kind"] == "StatefulSet" and o["metadata"]["name"] == "event-persister":
            o["spec"]["replicas"] = count
        if o["kind"] == "StatefulSet" and o["metadata"]["name"] == "synapse":
            for volume in o["spec"]["template"]["spec"]["volumes"]:
                if volume.get("configMap", {}).get("name") == old:
                    volume["configMap"]["name"] = config_map["metadata"]["name"]
    return changed


def _accepted(lines: list[Line], applied: float, ready: float) -> tuple[int, int]:
    times = [line["at"] for line in lines if line["kind"] == "accepted"]
    return sum(at < applied for at in times), sum(at > ready for at in times)


def test_messages_of_before_and_of_after_are_shown_to_everybody_once(scaled: Scaled) -> None:
    before, after = _accepted(scaled.lines, scaled.applied, scaled.ready)
    assert before > 5
    assert after > 5
    assert lost(scaled.lines) == set()
    assert twice(scaled.lines) == set()


def test_nobody_is_logged_out(scaled: Scaled) -> None:
    assert {line["by"]: line["logged_in"] for line in scaled.lines if line["kind"] == "still"} == dict.fromkeys(scaled.people, True)
    assert [line for line in scaled.lines if line["kind"] == "refused" and "401" in line["why"]] == []


@pytest.mark.usefixtures("larger")
def test_the_database_admits_the_connections_of_the_larger_size(cluster: Cluster, live_dist: Path) -> None:
    (wanted,) = (
        o["spec"]["postgresql"]["parameters"]["max_connections"]
        for o in objects(live_dist, "1000-ccu")
        if o["kind"] == "Cluster" and o["metadata"]["name"] == "postgresql-main"
    )
    ask = ["psql", "-h", "/run/postgresql", "-U", "postgres", "-Atc", "SHOW max_connections"]
    assert cluster.exec("postgresql-main-1", ask).check().output.split() == [wanted]


def test_each_room_was_written_by_one_event_persister_before_and_by_one_after(scaled: Scaled, cluster: Cluster) -> None:
    ask = "SELECT room_id, instance_name FROM events WHERE type = 'm.room.message' ORDER BY stream_ordering"
    answer = cluster.exec("postgresql-main-1", ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "synapse", "-Atc", ask]).check()
    rows = [line.split("|") for line in answer.output.split()]
    rooms = {line["room"] for line in scaled.lines if line["kind"] == "accepted"}
    assert rooms
    for room in rooms:
        writers = [writer for where, writer in rows if where == room]
        turns = [writer for writer, previous in zip(writers, [None, *writers], strict=False) if writer != previous]
        assert turns == list(dict.fromkeys([persister_of(room, scaled.before), persister_of(room, scaled.after)])), room


def test_no_process_of_synapse_was_restarted(scaled: Scaled, cluster: Cluster) -> None:
    assert scaled.before != scaled.after
    assert scaled.restarted == ()
    said = cluster.logs("synapse-0")
    assert "it is in force from now on" in said


@pytest.mark.usefixtures("synced")
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
