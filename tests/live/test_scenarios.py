"""People use the platform through HAProxy, as their clients do, and HAProxy's log and the workers' own show who did the work."""

import json
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import frozen

from tests.live.access_log import Routing, Served, compare, read
from tests.live.cluster import INGRESS, NODE, WORLD, Cluster, Completed
from tests.live.installation import CHANGES, INTERNAL, NAMESPACE, PUBLIC, PUSH_GATEWAY, SERVER_NAME, haproxy_logs, launch, metrics, register
from tests.live.processes import wait_for
from tests.live.report import Report
from tests.live.route_classes import CLASSES, MAIN

FEDERATION = bool(CHANGES.get("features", {}).get("federation"))
RUN_SECONDS = 240.0

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = pytest.mark.timeout(600)


@frozen
class Run:
    """The answers of the program that plays the people."""

    scenarios: Mapping[str, Mapping[str, Any]]
    requests: list[Mapping[str, Any]]
    lines: list[Served]

    def facts(self, scenario: str) -> Mapping[str, Any]:
        """What a scenario has seen; AssertionError with its reason if it failed."""
        result = self.scenarios[scenario]
        assert "failed" not in result, result["failed"]
        facts: Mapping[str, Any] = result["facts"]
        return facts


@pytest.fixture(scope="module")
def run(cluster: Cluster, report: Report) -> Run:
    people = register(cluster, "alice", "bob", "bot")
    place = {"server_name": SERVER_NAME, "federation": FEDERATION, "openid": FEDERATION, "push_gateway": PUSH_GATEWAY}
    given = {"base": PUBLIC, "host": f"matrix.{SERVER_NAME}", "people": people, "place": place}
    answers = launch(cluster, "use", given).wait(RUN_SECONDS).check().json
    report.scenarios = [
        (name.replace("_", " "), f"{result['seconds']} s" if "facts" in result else "FAILED")
        for name, result in answers["scenarios"].items()
    ]
    return Run(answers["scenarios"], answers["requests"], read(haproxy_logs(cluster)))


@pytest.fixture(scope="module")
def administration(cluster: Cluster, run: Run) -> Mapping[str, Any]:
    """What an administrator finds who forwards HAProxy's internal port, as the deployment guide says."""
    given = {
        "base": INTERNAL,
        "host": f"matrix.{SERVER_NAME}",
        "server_name": SERVER_NAME,
        "people": register(cluster, "ada", administrators=True),
        "user": f"@alice:{SERVER_NAME}",
        "room": run.facts("push")["room"],
        "media": run.facts("media")["uri"],
    }
    facts: Mapping[str, Any] = launch(cluster, "administer", given, NODE).wait(RUN_SECONDS).check().json
    return facts


@pytest.fixture(scope="module")
def routing(run: Run, administration: Mapping[str, Any], cluster: Cluster, report: Report) -> Routing:
    lines = read(haproxy_logs(cluster))
    # Who forwards a port comes from the node, which is no ingress controller: HAProxy believes no address that they give.
    (forwarded,) = {line.client for line in lines if line.frontend == "internal"}
    found = compare([*run.requests, *({**row, "by": forwarded} for row in administration["requests"])], lines)
    worker = {row.name: row.worker for row in CLASSES}
    report.routes = [(name, number, worker[name]) for name, number in found.taken.items()] if not found.wrong else []
    report.unproven = [row.name for row in found.unproven]
    return found


# --- What people do


def test_people_meet_in_a_plain_and_in_an_encrypted_room(run: Run) -> None:
    assert run.facts("rooms")["members"] == 3


def test_a_message_is_answered_by_a_bot_edited_reacted_to_and_redacted(run: Run) -> None:
    assert run.facts("messages")["accepted"] >= 4


def test_an_encrypted_message_is_read_by_the_members_and_by_nobody_else(run: Run) -> None:
    assert run.facts("encrypted_messages")["readers"] == 3


def test_people_see_who_types_who_has_read_and_who_is_there(run: Run) -> None:
    assert set(run.facts("ephemeral").values()) == {True}


def test_a_message_goes_from_device_to_device(run: Run) -> None:
    assert run.facts("to_device")["delivered"]


def test_devices_are_listed_and_their_keys_found(run: Run) -> None:
    assert run.facts("devices")["devices"] >= 1


def test_a_device_is_verified_by_cross_signing(run: Run) -> None:
    assert run.facts("cross_signing") == {"master_key": True, "verified": ["self_signing_key", "device"]}


def test_two_people_verify_each_others_device_by_what_both_show(run: Run) -> None:
    assert run.facts("verification") == {"emoji": 7}


def test_a_key_backup_gives_old_messages_back(run: Run) -> None:
    assert run.facts("key_backup")["keys"] == 1


def test_sliding_sync_lists_rooms_and_brings_news(run: Run) -> None:
    facts = run.facts("sliding_sync")
    assert facts["rooms"] >= 2
    assert facts["extensions"] == ["account_data", "e2ee", "receipts", "to_device", "typing"]


def test_messages_and_people_are_found(run: Run) -> None:
    assert run.facts("search") == {"messages": 1, "users": 1}


def test_media_come_back_as_they_were_and_scaled_and_only_to_who_is_logged_in(run: Run) -> None:
    assert run.facts("media")["thumbnail"] == [96, 96]


def test_a_new_name_is_seen_by_others(run: Run) -> None:
    assert run.facts("profiles")["displayname"].startswith("Alice")


def test_settings_are_kept(run: Run) -> None:
    facts = run.facts("settings")
    assert (facts["account_data"], facts["tags"], facts["push_rule"]) == (True, True, True)


def test_what_clients_ask_about_rooms_is_answered(run: Run) -> None:
    assert run.facts("reading")["messages"] > 0


def test_people_come_and_go_as_the_rooms_owner_lets_them(run: Run) -> None:
    assert run.facts("membership")["room"]


def test_a_device_logs_out_and_the_others_stay(run: Run) -> None:
    assert run.facts("only_main")["openid"] == "Bearer"


def test_the_administration_is_open_from_inside(administration: Mapping[str, Any]) -> None:
    assert administration["user"] == f"@alice:{SERVER_NAME}"
    assert administration["members"] == 3


def test_the_ingress_reaches_no_internal_port(cluster: Cluster) -> None:
    """Not even if it tried: the policies leave it HAProxy's public port alone."""
    ask = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    host = f"haproxy.{NAMESPACE}.svc.cluster.local"
    assert cluster.run(["python", "-c", ask, host, "8008"], INGRESS).code == 0
    assert cluster.run(["python", "-c", ask, host, "8009"], INGRESS).code != 0


def test_the_public_reaches_no_administration(run: Run) -> None:
    assert set(run.facts("closed_doors")["statuses"].values()) <= {403, 404}


def test_single_sign_on_is_answered_by_its_worker(run: Run) -> None:
    assert run.facts("sign_in_page")["status"] in (302, 400, 404)


def test_other_servers_are_heard_and_must_sign_what_they_send(run: Run) -> None:
    assert run.facts("federation")["version"] == "1.163.2"


def test_a_client_finds_the_homeserver_by_the_name_of_the_server(run: Run) -> None:
    assert run.facts("well_known")["homeserver"].rstrip("/") == f"https://matrix.{SERVER_NAME}"


def test_with_credentials_for_turn_people_are_relayed_by_coturn_and_only_to_the_internet(run: Run, cluster: Cluster) -> None:
    facts = run.facts("turn")
    assert facts["uris"] == [f"turn:turn.{SERVER_NAME}:3478?transport={transport}" for transport in ("udp", "tcp")]
    server = cluster.pods("coturn")[0].address
    peer = cluster.launch(["python", "-m", "tests.live.clients.udp_echo", server, "3480"], WORLD)

    def talk(password: str, to: str) -> Completed:
        words = [
            "turnutils_uclient",
            "-u",
            facts["username"],
            "-w",
            password,
            "-p",
            "3478",
            "-n",
            "3",
            "-c",
            "-e",
            to,
            "-r",
            "3480",
            server,
        ]
        return cluster.run(words, WORLD, seconds=40)

    address = wait_for(peer.output, 10, "the peer").strip()
    assert "Total lost packets 0 (0.000000%)" in talk(facts["password"], address).check().output
    assert "Cannot complete Allocation" in talk("made up", address).output
    assert "Forbidden IP" in talk(facts["password"], cluster.pod("postgresql-main-1").address).output
    peer.signal(signal.SIGKILL)


def test_a_message_is_pushed_to_a_phone(run: Run, cluster: Cluster) -> None:
    facts = run.facts("push")

    def pushed() -> list[str]:
        lines = [
            line for pod in cluster.pods("sygnal") for line in cluster.logs(pod.name).splitlines() if line.startswith('{"notification"')
        ]
        notifications = [json.loads(line)["notification"] for line in lines]
        return [one["devices"][0]["pushkey"] for one in notifications if one.get("event_id") == facts["event_id"]]

    assert wait_for(pushed, 30, "the notification to reach the gateway") == [facts["pushkey"]]


def test_every_accepted_message_is_in_the_timeline_of_every_member_once(run: Run) -> None:
    facts = run.facts("nothing_is_lost")
    assert facts["members"] == 3
    assert facts["accepted"] > 10


# --- Who did the work


def test_every_request_was_answered(run: Run) -> None:
    assert [row for row in run.requests if row["status"] is None or row["status"] >= 500] == []


def test_every_request_was_served_by_the_worker_type_that_should_serve_it(routing: Routing) -> None:
    assert routing.wrong == []
    assert sum(routing.taken.values()) > 150


def test_main_served_nothing_that_a_worker_should_have(routing: Routing) -> None:
    assert routing.by_main == []


def test_each_class_of_the_table_was_asked_for(routing: Routing) -> None:
    assert [row.name for row in routing.unproven] == []


def test_the_process_that_haproxy_names_has_the_request_in_its_own_log(run: Run, cluster: Cluster) -> None:
    """By the id that HAProxy gives each request: so it is no other process that answered at that address."""
    served: dict[str, set[str]] = {}
    for line in run.lines:
        if line.passed_on and line.client.startswith("203.0.113."):
            served.setdefault("synapse-0" if line.pool == MAIN else line.server, set()).add(line.request_id)
    assert len(served) > 15
    for pod, ids in served.items():
        log = cluster.logs(pod)
        assert [request for request in ids if request not in log] == [], pod


WRITERS = {
    "typing-persister": "typing",
    "encryption": "to_device",
    "account-data": "account_data",
    "presence-writer": "presence",
    "push-rules": "push_rules",
    "receipts": "receipts",
    "device-lists": "device_lists",
    "event-persister": "events",
    "media-repository": "quarantined_media",
}
"""The name of the replication stream (synapse/replication/tcp/streams/_base.py) that each of them writes."""

DUTIES = {
    "federation-sender": ("synapse_event_processing_positions", "federation_sender"),
    "user-dir": ("synapse_event_processing_positions", "user_dir"),
    "background": ("synapse_event_processing_positions", "stats"),
    "pusher": ("synapse_http_httppusher_http_pushes_processed_total", ""),
}
"""Workers that no request needs to reach: a metric with the value of one of its labels, which says that they do their duty. The positions are
set by who does that work alone."""


def total(cluster: Cluster, worker: str, metric: str, label: str) -> float:
    """The sum of a metric over all processes of a worker type, and over its samples that have a label of this value (all if it is empty)."""
    lines = [line for pod in cluster.pods(worker) for line in metrics(cluster, pod.name).splitlines() if line.startswith(f"{metric}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'="{label}"' in line or not label)


@pytest.mark.usefixtures("administration")
def test_each_stream_is_written_by_its_writer(cluster: Cluster) -> None:
    written = {
        worker: total(cluster, worker, "synapse_replication_tcp_resource_stream_updates_total", stream)
        for worker, stream in WRITERS.items()
    }
    assert [worker for worker, number in written.items() if not number] == []


@pytest.mark.usefixtures("administration")
def test_every_worker_type_of_the_site_works(cluster: Cluster, report: Report) -> None:
    requests = Counter(line.pool for line in read(haproxy_logs(cluster)) if line.passed_on)
    duties = {worker: total(cluster, worker, metric, label) for worker, (metric, label) in DUTIES.items()}
    assert [worker for worker, number in duties.items() if not number] == []
    written = {worker: f"wrote the stream {stream}" for worker, stream in WRITERS.items()}
    done = {worker: f"{metric} {label}".strip() for worker, (metric, label) in DUTIES.items()}
    for worker in {row.worker for row in CLASSES} | set(WRITERS) | set(DUTIES):
        evidence = [f"{requests[worker]} requests"] * bool(requests[worker]) + [
            found[worker] for found in (written, done) if worker in found
        ]
        if worker != MAIN and evidence:
            report.workers[worker] = ", ".join(evidence)
    # All 22 but sso-login and appservice: the site has no identity provider and no bridge.
    assert len(report.workers) == 20
