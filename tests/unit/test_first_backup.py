"""The first base backup of a database: taken once, when it can succeed, and until it has."""

import itertools
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from services.first_backup import take as program
from services.first_backup.take import Wanted, read_request, take
from services.kubernetes_api.api import Api, ApiError, RefusedError

WANTED = Wanted("matrix", "postgresql-main", 2, "barman-cloud.cloudnative-pg.io")
READY = {"Ready": "True", "ContinuousArchiving": "True"}


@define
class Operator(Api):
    """The API, and CloudNativePG behind it: `conditions` of the Cluster from look to look, and how each backup ends."""

    conditions: Iterator[Mapping[str, str] | None] = field(factory=lambda: itertools.repeat(READY))
    ends: Iterator[str] = field(factory=lambda: itertools.repeat("completed"))
    refuse: list[int] = field(factory=list)
    backups: dict[str, dict[str, Any]] = field(factory=dict)

    def ask(self, method: str, path: str, what: str, *other: object, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        body = other[2] if len(other) > 2 else body  # type: ignore[assignment]
        if self.refuse:
            raise RefusedError(self.refuse.pop(), what)
        folder, _, name = path.rpartition("/")
        if method == "POST":
            assert body is not None
            self.backups.setdefault(body["metadata"]["name"], dict(body))
            return dict(body)
        if folder.endswith("/backups"):
            found = self.backups.get(name)
            if found and "status" in found:
                return found
            if found:
                found["status"] = {"phase": next(self.ends)}
                return {**found, "status": {"phase": "running"}}
            return None
        conditions = next(self.conditions)
        listed = [{"type": kind, "status": status} for kind, status in (conditions or {}).items()]
        return None if conditions is None else {"status": {"conditions": listed}}


def operator(seconds: float = 5, **state: Any) -> Operator:
    return Operator("api", 443, Path("token"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), time.monotonic() + seconds, **state)


def run(api: Operator) -> list[str]:
    said: list[str] = []
    take(api, WANTED, said.append, pause=0)
    return said


def test_a_backup_is_asked_for_when_the_archive_works_and_not_before() -> None:
    ways = [None, {}, {"Ready": "False", "ContinuousArchiving": "False"}, {"Ready": "True", "ContinuousArchiving": "False"}, READY]
    api = operator(conditions=iter(ways))
    assert run(api) == [
        "postgresql-main: waiting for the Cluster",
        "postgresql-main: waiting for the Cluster to be Ready and ContinuousArchiving",
        "postgresql-main: waiting for the Cluster to be ContinuousArchiving",
        "postgresql-main: waiting for postgresql-main-2-first-1",
        "postgresql-main: waiting for postgresql-main-2-first-1, which is running",
        "postgresql-main: there is a base backup",
    ]
    assert list(api.backups) == ["postgresql-main-2-first-1"]


def test_the_backup_is_of_this_database_by_the_plugin() -> None:
    api = operator()
    run(api)
    (backup,) = api.backups.values()
    assert backup["spec"] == {
        "cluster": {"name": "postgresql-main"},
        "method": "plugin",
        "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
    }


def test_one_that_fails_is_followed_by_another() -> None:
    api = operator(ends=iter(["failed", "failed", "completed"]))
    run(api)
    assert list(api.backups) == [f"postgresql-main-2-first-{number}" for number in (1, 2, 3)]


def test_a_second_run_changes_nothing() -> None:
    api = operator()
    run(api)
    before = dict(api.backups)
    assert run(api) == ["postgresql-main: there is a base backup"]
    assert api.backups == before


def test_another_generation_has_a_first_backup_of_its_own() -> None:
    assert Wanted("matrix", "a", 1, "p").name(1) != Wanted("matrix", "a", 2, "p").name(1)


@pytest.mark.parametrize("status", [403, 404])
def test_rights_and_definitions_that_come_later_are_waited_for(status: int) -> None:
    assert "there is a base backup" in run(operator(refuse=[status]))[-1]


def test_what_will_not_pass_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="422"):
        run(operator(refuse=[422]))
    monkeypatch.setattr(program, "_ACCESS_GRACE_SECONDS", -1)
    with pytest.raises(RefusedError, match="403"):
        run(operator(refuse=[403]))


def test_a_database_that_never_comes_is_an_error_in_time() -> None:
    with pytest.raises(ApiError, match="has no base backup in time: waiting for the Cluster"):
        run(operator(seconds=0.2, conditions=itertools.repeat(None)))


def test_outside_of_a_pod_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"namespace": "matrix", "cluster": "postgresql-main", "generation": 2, "plugin": WANTED.plugin}))
    assert read_request(request) == WANTED
    assert program.main([str(request)], environment={}) == program.FAILED
    assert "not in a pod with a service account token" in capsys.readouterr().out
    request.write_text("{}")
    assert program.main([str(request)], environment={}) == program.FAILED
    assert "is no request file" in capsys.readouterr().out
