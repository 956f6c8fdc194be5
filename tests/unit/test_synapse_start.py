"""What the program that starts Synapse says while it waits, and what it reads in a list of writers. The rest needs a real database."""

import json

import pytest

from main_instance.synapse.configuration import shard_config
from main_instance.synapse.topology import topology
from main_instance.synapse.workers import WORKER_TYPES
from services.synapse_start import speech
from services.synapse_start.shards import Shards


def test_a_reason_is_said_when_it_is_new_and_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("services.synapse_start.speech.time.monotonic", lambda: now[0])
    monkeypatch.setattr("services.synapse_start.speech.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(speech, "say", said.append)
    speech.wait_for(lambda: "the database" if now[0] < 120 else "Redis" if now[0] < 130 else None)
    assert said == ["waiting: the database"] * 2 + ["waiting: Redis", f"waited {now[0]:.0f} s"]


def test_nothing_is_said_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "say", pytest.fail)
    speech.wait_for(lambda: None)


def test_what_it_says_is_a_line_of_json_as_synapses_log_is(capfd: pytest.CaptureFixture[str]) -> None:
    speech.say("waiting: Redis")
    line = json.loads(capfd.readouterr().out)
    assert {key: line[key] for key in ("log", "namespace", "level")} == {
        "log": "waiting: Redis",
        "namespace": "synapse_start",
        "level": "INFO",
    }


def test_it_finds_every_process_that_the_list_names_and_no_other() -> None:
    site = topology({worker.name: 2 if worker.scaling.value == "sharded" else 1 for worker in WORKER_TYPES})
    shards = Shards(json.dumps(shard_config(site, lambda name: f"{name}.synapse")), "1.163.2")
    listed = {name for worker in WORKER_TYPES if worker.writes or worker.duties for name in site.instances[worker.name]}
    assert {name for name in site.workers if shards.names(name)} == listed
    assert not shards.names("event-persister-2")


def test_lists_that_differ_in_anything_have_locks_of_their_own() -> None:
    lists = [Shards(text, "1.163.2").digest for text in ("events: [a, b]", "events: [b, a]", "events: [a]")]
    assert len(set(lists)) == 3
    assert all(0 <= digest < 2**31 for digest in lists)
