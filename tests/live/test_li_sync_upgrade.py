"""Main goes to another schema version: LI stops, main does not, and `rebuild` makes LI follow again."""

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.live.installed_synapse import installed_synapse
from tests.live.li_reader import reading
from tests.live.li_stack import LISTED, OFFICER, SERVER_NAME, Stack, running_stack, write_li_files
from tests.live.processes import wait_for
from tests.live.report import Report

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(installed_synapse("1.150.0")) as found:
        yield found


def test_lis_database_is_rebuilt_for_mains_new_schema(stack: Stack, report: Report) -> None:
    alice = stack.register("alice")
    room = alice.call("POST", "/createRoom", {"preset": "private_chat"}).ok()["room_id"]
    before = [alice.send(room, f"{number}") for number in range(5)]
    stack.task("prepare")
    stack.task("verify")
    assert stack.checkpoint("prepare")["facts"]["schema_version"] == 93
    stack.add_officer()
    stack.start("follow", "follow")
    stack.start_synapse("synapse-li")
    with reading(stack.on_li("alice", stack.officer())) as reader:
        reader.wait_for([alice.send(room, "seen by the old LI")], 20)

    for name in LISTED:
        stack.programs[name].stop()
    stack.synapse = None
    write_li_files(stack)
    for name in LISTED:
        stack.start_synapse(name)
    wait_for(lambda: stack.main.sql("SELECT count(*) FROM background_updates")[0][0] == 0, 180, "main's background updates")
    assert stack.main.sql("SELECT version FROM schema_version") == [(94,)]
    # Main goes on, though LI has stopped, or stops at the first row of a table that is another one now.
    after = [alice.send(room, f"{number}") for number in range(5)]
    alice.call("PUT", f"/rooms/{quote(room)}/redact/{after[0]}/1", {}).ok()
    said = stack.task("verify", code=1).stderr
    assert "rebuild" in said or "is off" in said
    assert "run rebuild" in stack.task("prepare", code=1).stderr

    begin = time.monotonic()
    stack.task("rebuild")
    took = time.monotonic() - begin
    stack.task("verify")
    officer = stack.officer()
    li = stack.on_li("alice", officer)
    shown = {event["event_id"] for event in li.call("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=100").ok()["chunk"]}
    assert {*before, *after} <= shown
    with reading(li) as reader:
        reader.wait_for([alice.send(room, "seen by the new LI")], 20)
    version = officer.call("GET", "/_synapse/admin/v1/server_version").ok()["server_version"]
    assert stack.checkpoint("rebuild")["facts"]["accounts_carried"] == 1
    assert OFFICER in str(officer.call("GET", f"/_synapse/admin/v2/users/@{OFFICER}:{SERVER_NAME}").body)
    report.scenarios.append((f"LI: main from Synapse 1.150.0 (schema 93) to {version} (94)", f"main went on; LI rebuilt in {took:.0f} s"))
