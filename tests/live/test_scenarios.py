"""People use the platform through HAProxy, as their clients do, and HAProxy's log and the workers' own show who did the work."""

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import frozen

from tests.live.access_log import Routing, Served, compare, read
from tests.live.cluster import Cluster
from tests.live.installation import CHANGES, PUBLIC, SERVER_NAME, haproxy_logs, launch, register
from tests.live.report import Report
from tests.live.route_classes import CLASSES

FEDERATION = bool(CHANGES.get("features", {}).get("federation"))
RUN_SECONDS = 240.0


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
    place = {"server_name": SERVER_NAME, "federation": FEDERATION, "openid": FEDERATION}
    given = {"base": PUBLIC, "host": f"matrix.{SERVER_NAME}", "people": people, "place": place}
    answers = launch(cluster, "use", given).wait(RUN_SECONDS).check().json
    report.scenarios = [
        (name.replace("_", " "), f"{result['seconds']} s" if "facts" in result else "FAILED")
        for name, result in answers["scenarios"].items()
    ]
    return Run(answers["scenarios"], answers["requests"], read(haproxy_logs(cluster)))


@pytest.fixture(scope="module")
def routing(run: Run, report: Report) -> Routing:
    found = compare(run.requests, run.lines)
    worker = {row.name: row.worker for row in CLASSES}
    report.routes = [(name, number, worker[name]) for name, number in found.taken.items()] if not found.wrong else []
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


def test_the_public_reaches_no_administration(run: Run) -> None:
    assert set(run.facts("closed_doors")["statuses"].values()) <= {403, 404}


def test_single_sign_on_is_answered_by_its_worker(run: Run) -> None:
    assert run.facts("sign_in_page")["status"] in (302, 400, 404)


def test_other_servers_are_heard_and_must_sign_what_they_send(run: Run) -> None:
    assert run.facts("federation")["version"] == "1.163.2"


def test_a_client_finds_the_homeserver_by_the_name_of_the_server(run: Run) -> None:
    assert run.facts("well_known")["homeserver"].rstrip("/") == f"https://matrix.{SERVER_NAME}"


def test_credentials_for_turn_are_given(run: Run) -> None:
    assert run.facts("turn")["uris"]


def test_a_message_is_pushed_to_a_phone(run: Run) -> None:
    assert run.facts("push")["pushkey"]


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
