"""What the live tests judge by: a request that went astray, a message that is missing or comes twice, and a gap are seen."""

import json
from typing import Any

import pytest

from main_instance.synapse.worker_type import Work
from main_instance.synapse.workers import worker_types
from tests.live.access_log import compare, read
from tests.live.report import Report
from tests.live.route_classes import CLASSES, classify
from tests.live.traffic_log import fault, longest_gap, lost, parse, twice
from tests.routing import route

SYNC = "/_matrix/client/v3/sync"
SEND = "/_matrix/client/v3/rooms/%21r/send/m.room.message/1"


def request(method: str, target: str, status: int | None = 200, by: str = "203.0.113.1") -> dict[str, Any]:
    return {"by": by, "method": method, "target": target, "status": status}


def logged(method: str, path: str, pool: str, status: int = 200, client: str = "203.0.113.1", server: str | None = None) -> str:
    line = {"time": "2026-01-01T00:00:00.000Z", "request_id": "1", "client": client, "method": method, "path": path, "status": status}
    return json.dumps({**line, "frontend": "public", "pool": pool, "server": server or f"{pool}-0", "retries": "0"})


def test_requests_that_went_where_they_should_are_counted_by_their_class() -> None:
    log = "\n".join([logged("GET", SYNC, "initial-synchrotron"), logged("GET", SYNC, "synchrotron"), logged("PUT", SEND, "event-creator")])
    routing = compare([request("GET", SYNC), request("GET", f"{SYNC}?since=s1"), request("PUT", SEND)], read([log]))
    assert (routing.wrong, routing.by_main) == ([], [])
    assert routing.taken == {"first sync": 1, "sync": 1, "sending": 1}


@pytest.mark.parametrize(
    ("log", "mention"),
    [
        ([logged("GET", SYNC, "synchrotron"), logged("PUT", SEND, "client-reader")], "client-reader"),
        ([logged("GET", SYNC, "initial-synchrotron"), logged("PUT", SEND, "event-creator")], "synchrotron"),
        ([logged("GET", SYNC, "synchrotron")], "send"),
        ([logged("GET", SYNC, "synchrotron"), logged("PUT", SEND, "event-creator", status=500)], "500"),
        ([logged("GET", SYNC, "synchrotron"), logged("PUT", SEND, "event-creator"), logged("PUT", SEND, "event-creator")], "logged 1"),
    ],
    ids=["another worker", "the other sync", "no line", "another answer", "twice"],
)
def test_a_request_that_went_astray_is_seen(log: list[str], mention: str) -> None:
    routing = compare([request("GET", f"{SYNC}?since=s1"), request("PUT", SEND)], read(log))
    assert any(mention in line for line in routing.wrong)


def test_a_request_that_main_served_in_place_of_a_worker_is_seen() -> None:
    routing = compare([request("PUT", SEND)], read([logged("PUT", SEND, "main")]))
    assert routing.by_main == [f"PUT {SEND} 200"]


def test_what_haproxy_refused_itself_needs_no_worker_and_what_others_asked_is_not_looked_at() -> None:
    log = "\n".join(
        [logged("GET", "/_synapse/admin/v1/rooms", "public", 403, server="<NOSRV>"), logged("GET", "/health", "main", client="10.0.0.1")]
    )
    routing = compare([request("GET", "/_synapse/admin/v1/rooms", 403)], read(["not JSON\n", log]))
    assert (routing.wrong, routing.taken) == ([], {})


def test_a_request_that_no_row_of_the_table_knows_is_an_error() -> None:
    with pytest.raises(LookupError, match="no row"):
        classify("GET", "/_matrix/client/v3/unheard_of")


# What the site of the live tests does; it has neither identity providers nor bridges.
LIVE_TYPES = worker_types({Work.FEDERATION, Work.NOTIFICATIONS})


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_the_table_by_hand_and_the_worker_records_agree(row: Any) -> None:
    path = row.path.replace("**", "a/b").replace("*", "x")
    for method in row.methods.split():
        for query in ("", "since=1&from=1"):
            if classify(method, f"{path}?{query}") is row:
                assert route(method, path, query, types=LIVE_TYPES) == row.worker


# --- Faults


def line(kind: str, at: float, **facts: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, **facts}


def accepted(at: float, event: str, by: str = "alice") -> dict[str, Any]:
    return line("accepted", at, by=by, room="!r", event=event, seconds=0.1, attempts=1)


def history(asked: float, texts: dict[str, str] | None, by: str = "bob") -> dict[str, Any]:
    return line("history", asked + 0.1, asked=asked, by=by, room="!r", texts=texts)


def test_an_accepted_message_that_a_member_is_not_shown_is_lost() -> None:
    lines = [accepted(1, "$a"), accepted(2, "$b"), history(3, {"$a": "1"}), history(3, {"$a": "1", "$b": "2"}, "carol")]
    assert lost(lines) == {("bob", "$b")}


def test_only_the_last_history_counts_and_what_came_after_it_is_not_in_it() -> None:
    assert lost([accepted(1, "$a"), history(2, {}), history(4, {"$a": "1"}), accepted(5, "$b")]) == set()


def test_a_history_that_could_not_be_had_shows_nothing() -> None:
    assert lost([accepted(1, "$a"), history(2, None)]) == {("bob", "$a")}


def test_a_text_in_two_messages_comes_twice() -> None:
    assert twice([history(2, {"$a": "1", "$b": "1", "$c": "2"})]) == {"1"}
    assert twice([history(2, {"$a": "1", "$c": "2"})]) == set()


def test_a_gap_at_the_ends_of_the_window_is_one_too() -> None:
    assert longest_gap([1, 2, 3], 0, 10) == 7
    assert longest_gap([9], 0, 10) == 9
    assert longest_gap([], 0, 10) == 10


def test_the_worst_person_makes_the_gap() -> None:
    lines = [accepted(t, f"$a{t}") for t in range(11)] + [accepted(0, "$b", "bob"), accepted(10, "$c", "bob")]
    lines += [line("read", t, by="bob", event="$x", how="sync") for t in (0, 4, 10)] + [
        line("refused", 5, by="bob", what="sync", why="502")
    ]
    found = fault("a fault", lines, 0, 10)
    assert (found.sending_gap, found.reading_gap, found.accepted, found.refused) == (10, 6, 13, 1)


def test_a_line_that_is_not_complete_is_left_for_later() -> None:
    assert parse('{"at": 1, "kind": "ready"}\n{"at": 2, "ki') == [{"at": 1, "kind": "ready"}]


def test_the_table_says_what_was_shown_and_nothing_when_nothing_was() -> None:
    assert Report().lines() == []
    report = Report(boot="40 pods ready after 90 s", routes=[("sync", 3, "synchrotron")], unproven=["typing"])
    report.faults.append(fault("Redis primary killed", [accepted(1, "$a"), line("read", 2, by="bob")], 0, 3))
    text = "\n".join(report.lines())
    for part in ("40 pods", "synchrotron", "Redis primary killed", "typing"):
        assert part in text
