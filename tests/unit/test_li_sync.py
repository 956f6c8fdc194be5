"""What li_sync computes: settings, checkpoints, what the feeder says, how two listings are compared, when a subscription may go on."""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from services.li_sync import follow as following
from services.li_sync import tasks
from services.li_sync import watch as watching
from services.li_sync.checkpoint import Checkpoints
from services.li_sync.follow import Feed, Position, Positions, Row
from services.li_sync.media import SHA256, Inventory, Object, Store, Tally, _outlive, _side_by_side
from services.li_sync.officers import add_officer, user_id
from services.li_sync.postgres import TASKS, Problem
from services.li_sync.refresh import _rolled_out
from services.li_sync.settings import InvalidSettings, RedisServer, parse_settings, read_secret
from services.li_sync.status import OPENAPI, Observation, make_site, observe, status, task_status
from services.li_sync.subscription import SWAPPING, Slot, Subscription
from services.li_sync.tables import UnknownSchema, synapse_tables
from services.li_sync.tasks import beat_schedule, make_app, queue
from services.li_sync.watch import NotPrepared

DATABASE = {
    "host": "127.0.0.1",
    "port": 1,
    "database": "synapse",
    "user": "somebody",
    "password_file": "/run/secrets/password",
    "sslmode": "disable",
}
BUCKET = {"endpoint": "http://minio:9000", "name": "media", "keys": "/run/secrets/keys"}
DOCUMENT: dict[str, Any] = {
    "state": "/var/lib/li-sync",
    "broker": {"host": "redis"},
    "main": {"owner": DATABASE, "replication": DATABASE},
    "li": {"owner": DATABASE},
    "follow": {"database": DATABASE, "redis": {"host": "redis"}, "server_name": "example.org"},
    "media": {"source": BUCKET, "target": BUCKET},
    "refresh": {"health": "http://synapse-li:8008/health", "command": ["true"]},
}


def settings_with(**changes: Any) -> Any:
    return parse_settings(yaml.safe_dump(DOCUMENT | changes))


# --- settings ---


def test_settings_are_read_with_their_defaults() -> None:
    settings = settings_with()
    assert settings.subscription.name == "li"
    assert settings.main.owner.password_file == Path("/run/secrets/password")
    assert settings.schedule.watch == 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "here"}, "state: 'here' is relative"),
        ({"broker": {"host": "redis", "port": 70000}}, "70000 is no TCP port"),
        ({"broker": {"host": "redis", "port": "6379"}}, "'6379' is not a whole number @ broker.port"),
        ({"broker": {}}, "host is missing"),
        ({"brokers": 1}, "unknown: brokers"),
        ({"li": {"owner": DATABASE | {"user": "Robert'); DROP"}}}, "is no name for PostgreSQL"),
        ({"li": {"owner": DATABASE | {"sslmode": "prefer"}}}, "sslmode"),
        ({"schedule": {"watch": 0.1}}, "schedule.watch: 0.1 is less than a second"),
        ({"schedule": {"refresh": "daily"}}, "has not five fields"),
        ({"refresh": {"health": "http://x"}}, "give either `workload` or `command`"),
        ({"media": {"source": BUCKET | {"endpoint": "minio:9000"}, "target": BUCKET}}, "endpoint"),
        ({"statement_seconds": -1}, "-1.0 is not positive"),
        ({"media": {"source": BUCKET, "target": BUCKET, "keep_deleted_seconds": -1}}, "-1.0 is negative"),
    ],
)
def test_a_mistake_in_the_settings_is_named_with_what_to_write(changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_with(**changes)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_with(broker={"host": 1}, media={"source": BUCKET, "target": BUCKET | {"name": 2}})
    assert "2 is not a text @ media.target.name" in str(caught.value)
    assert "1 is not a text @ broker.host" in str(caught.value)


@pytest.mark.parametrize("text", ["[", "- a", "", "a: &a [*a]"])
def test_what_is_no_settings_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings):
        parse_settings(text)


def test_a_secret_is_never_part_of_an_error(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(InvalidSettings, match="mount the Secret"):
        read_secret(path)
    path.write_bytes(b"\xff secret")
    with pytest.raises(InvalidSettings) as caught:
        read_secret(path)
    assert "secret" not in str(caught.value).replace(str(path), "")
    path.write_text(" \n")
    with pytest.raises(InvalidSettings, match="is empty"):
        read_secret(path)


def test_a_password_of_the_broker_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/w:rd?\n")
    assert RedisServer("redis", password_file=tmp_path / "password").url() == "redis://:p%40ss%2Fw%3Ard%3F@redis:6379/0"


# --- tables ---


def test_a_later_schema_and_an_unknown_table_are_refused() -> None:
    tables = synapse_tables()
    every = [*tables.published, *tables.local]
    with pytest.raises(UnknownSchema, match="schema version is 95"):
        tables.present(every, 95)
    with pytest.raises(UnknownSchema, match="no list names these tables of main: secrets_of_a_later_synapse"):
        tables.present([*every, "secrets_of_a_later_synapse"], tables.schema_version)
    with pytest.raises(UnknownSchema, match="main lacks these tables of schema version 94: events"):
        tables.present([name for name in every if name != "events"], tables.schema_version)


def test_an_older_schema_may_lack_tables() -> None:
    tables = synapse_tables()
    found = tables.present([name for name in tables.published if name != "quarantined_media_changes"], 93)
    assert "quarantined_media_changes" not in found.published
    assert "events" in found.published


def test_credentials_and_sessions_are_published_to_nobody() -> None:
    tables = synapse_tables()
    for name in (
        "access_tokens",
        "refresh_tokens",
        "login_tokens",
        "open_id_tokens",
        "sessions",
        "ui_auth_sessions",
        "threepid_validation_token",
    ):
        assert name in tables.local
    assert tables.withheld_columns["users"] == ["password_hash"]


# --- checkpoints ---


def test_a_checkpoint_keeps_what_the_last_success_found_through_failures_and_interruptions(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.read("verify") is None
    checkpoints.succeed(checkpoints.begin("verify"), {"main_lsn": "0/1"})
    checkpoints.fail(checkpoints.begin("verify"), "no")
    checkpoints.step(checkpoints.begin("verify"), "comparing events")
    last = checkpoints.begin("verify")
    assert (last.runs, last.failures, last.interruptions, last.facts, last.state) == (4, 1, 1, {"main_lsn": "0/1"}, "running")
    assert checkpoints.read("verify") == last


def test_a_checkpoint_that_is_half_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "verify.json").write_text('{"task": "ver')
    with pytest.raises(Problem, match=r"verify\.json is no checkpoint"):
        Checkpoints(tmp_path).read("verify")


# --- the feeder ---


def feed() -> Feed:
    return Feed("main-master", counter=1_000)


def test_a_position_is_said_with_itself_as_the_one_before() -> None:
    assert list(feed().positions([Position("events", "event-persister-0", 7)], all_of_them=False)) == [
        "POSITION events event-persister-0 7 7"
    ]


def test_mains_main_process_has_another_name_on_li() -> None:
    said = list(feed().positions([Position("push_rules", "master", 3)], all_of_them=False))
    assert said == ["POSITION push_rules main-master 3 3"]


@given(st.lists(st.lists(st.integers(1, 40), max_size=8), max_size=8))
def test_every_cache_row_is_said_once_in_whatever_order_it_comes_and_the_counter_rises(polls: list[list[int]]) -> None:
    each, said = feed(), []
    for poll in polls:
        said += list(each.rows([Row(id_, "f", ["k"], 1) for id_ in sorted(set(poll))]))
    counters = [int(message.split(" ")[3]) for message in said]
    assert len(said) == len({id_ for poll in polls for id_ in poll})
    assert counters == sorted(set(counters))
    assert all(counter > 1_000 for counter in counters)


@given(st.lists(st.builds(Position, st.sampled_from(["events", "receipts"]), st.sampled_from(["a", "b"]), st.integers(1, 9)), max_size=20))
def test_the_last_position_of_every_writer_is_said_and_none_twice_in_a_row(found: list[Position]) -> None:
    each, said = feed(), []
    for one in found:
        said += list(each.positions([one], all_of_them=False))
    last: dict[tuple[str, str], int] = {}
    expected = []
    for one in found:
        if last.get((one.stream, one.writer)) != one.id:
            expected.append(f"POSITION {one.stream} {one.writer} {one.id} {one.id}")
        last[one.stream, one.writer] = one.id
    assert said == expected


def test_cache_rows_are_said_as_synapse_reads_them() -> None:
    (message,) = feed().rows([Row(5, "get_user_by_id", ["@a:b"], 17)])
    assert message.startswith("RDATA caches li-feeder 1001 ")
    assert json.loads(message.split(" ", 4)[4]) == ["get_user_by_id", ["@a:b"], 17]


class _Replica:
    """LI's database: what `stream_positions` has, and which ids of events are whose."""

    def __init__(self) -> None:
        self.positions: list[tuple[str, str, int]] = []
        self.ids: dict[str, list[int]] = {}

    def rows(self, *_: Any) -> list[tuple[str, str, int]]:
        return self.positions

    def value(self, _: Any, __: Any, wanted: dict[str, Any]) -> int | None:
        return max((id_ for id_ in self.ids.get(wanted["writer"], []) if wanted["low"] < id_ <= wanted["at"]), default=None)


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> _Replica:
    found = _Replica()
    monkeypatch.setattr(following, "rows", found.rows)
    monkeypatch.setattr(following, "value", found.value)
    return found


DATABASE_OF_LI: Any = None


def test_a_writer_is_said_to_be_at_its_own_last_id_and_not_at_one_of_another_writer(replica: _Replica) -> None:
    # b has written 417; a has heard of it, and stands there too.
    replica.ids = {"a": [415, 416], "b": [411, 417]}
    replica.positions = [("events", "a", 417), ("events", "b", 411)]
    read = Positions(synapse_tables())
    assert read.read(DATABASE_OF_LI) == [Position("events", "a", 416), Position("events", "b", 411)]
    replica.positions = [("events", "a", 417), ("events", "b", 417)]
    assert read.read(DATABASE_OF_LI) == [Position("events", "a", 416), Position("events", "b", 417)]


def test_a_writer_that_has_long_been_at_rest_is_at_its_position(replica: _Replica) -> None:
    replica.ids, replica.positions = {"b": [9]}, [("receipts", "a", 5), ("receipts", "b", 9)]
    assert Positions(synapse_tables()).read(DATABASE_OF_LI) == [Position("receipts", "a", 5), Position("receipts", "b", 9)]


def test_a_streams_only_writer_is_at_its_position_though_its_rows_do_not_say_who_wrote_them(replica: _Replica) -> None:
    read = Positions(synapse_tables())
    for position in (5, 6):
        replica.positions = [("account_data", "a", position)]
        assert read.read(DATABASE_OF_LI) == [Position("account_data", "a", position)]


def test_backfilled_events_have_falling_ids_and_are_spoken_of_as_positive(replica: _Replica) -> None:
    replica.ids, replica.positions = {"a": [4], "b": [5]}, [("backfill", "a", -5), ("backfill", "b", -5)]
    assert Positions(synapse_tables()).read(DATABASE_OF_LI) == [Position("backfill", "a", 4), Position("backfill", "b", 5)]


def test_streams_that_lis_own_synapse_writes_are_never_said_and_unknown_ones_are_counted(replica: _Replica) -> None:
    replica.positions = [("to_device", "master", 3), ("of_a_later_synapse", "master", 1)]
    read = Positions(synapse_tables())
    assert not read.read(DATABASE_OF_LI)
    assert read.unknown == {"of_a_later_synapse"}


# --- media ---


@given(st.dictionaries(st.text(max_size=4), st.integers(0, 2)), st.dictionaries(st.text(max_size=4), st.integers(0, 2)))
def test_two_listings_are_paired_by_key(ours: dict[str, int], theirs: dict[str, int]) -> None:
    def listing(keys: dict[str, int]) -> list[Object]:
        return [Object(key, keys[key], "") for key in sorted(keys, key=str.encode)]

    pairs = list(_side_by_side(listing(ours), listing(theirs)))
    assert {a.key: a.size for a, _ in pairs if a} == ours
    assert {b.key: b.size for _, b in pairs if b} == theirs
    assert all(a.key == b.key for a, b in pairs if a and b)
    assert len(pairs) == len({*ours} | {*theirs})


class _Objects:
    """LI's S3 server: keys to the metadata of their objects."""

    def __init__(self, **objects: Mapping[str, str]) -> None:
        self.objects = dict(objects)

    def head_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803 - as boto3 has it
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404"}}, f"HeadObject of {Bucket}")
        return {"Metadata": self.objects[Key]}

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: ARG002, N803
        del self.objects[Key]


def outlives(path: Path, server: _Objects, key: str, keep: float | None, later: float, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """What a run keeps and deletes that comes so many seconds later and finds an object deleted on main."""
    inventory, tally, now = Inventory.open(path), Tally(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + later)
    with contextlib.closing(inventory.database):
        store = Store(settings_with().media.target, server)
        _outlive(store, inventory, key, inventory.deleted().get(key), keep, tally)
    monkeypatch.undo()
    return tally.kept, tally.deleted


def test_what_main_deletes_goes_when_its_time_is_over_and_what_is_not_ours_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, server = tmp_path / "media.sqlite", _Objects(ours={SHA256: "00"}, other={})
    assert outlives(path, server, "ours", None, 0, monkeypatch) == (1, 0)
    assert outlives(path, server, "ours", 60, 50, monkeypatch) == (1, 0)
    assert outlives(path, server, "ours", 60, 70, monkeypatch) == (0, 1)
    assert outlives(path, server, "other", 0, 0, monkeypatch) == (0, 0)
    assert {*server.objects} == {"other"}


# --- when a subscription may go on ---


class _Connection:
    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subscriptions that were enabled; main answers, and has its slot."""
    found: list[str] = []
    monkeypatch.setattr(watching, "connect", lambda *_, **__: _Connection())
    monkeypatch.setattr(watching, "enable", lambda _, settings: found.append(settings.subscription.name))
    monkeypatch.setattr(watching, "reachable", lambda _: True)
    monkeypatch.setattr(watching, "read_slot", lambda *_: Slot(True, "reserved", 1, "0/1", 0, 0, True))
    return found


def subscription(*, enabled: bool = False, comment: str = "", errors: int = 0, conflicts: int = 0) -> Subscription:
    return Subscription(enabled, "li_1", comment, enabled, errors, 0, conflicts, 0, 82)


def watch(monkeypatch: pytest.MonkeyPatch, found: Subscription | None, before: Mapping[str, Any]) -> Mapping[str, Any]:
    monkeypatch.setattr(watching, "read_subscription", lambda *_: found)
    return watching.watch(settings_with(), before)


def test_after_an_error_of_the_connection_it_goes_on(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    before = watch(monkeypatch, subscription(enabled=True), {})
    assert watch(monkeypatch, subscription(errors=1), before)["attempts"] == 1
    assert enabled == ["li"]


def test_after_a_conflict_it_never_goes_on(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    before = watch(monkeypatch, subscription(enabled=True), {})
    for _ in range(3):
        with pytest.raises(Problem, match="conflict"):
            watch(monkeypatch, subscription(errors=1, conflicts=1), before)
    assert not enabled


def test_while_main_is_away_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    monkeypatch.setattr(watching, "reachable", lambda _: False)
    before = watch(monkeypatch, subscription(enabled=True), {})
    for _ in range(20):
        before = watch(monkeypatch, subscription(errors=1), before)
    assert not enabled
    monkeypatch.setattr(watching, "reachable", lambda _: True)
    assert watch(monkeypatch, subscription(errors=1), before)["action"] == "enabled after an error"


def test_what_fails_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    before: Mapping[str, Any] = watch(monkeypatch, subscription(enabled=True), {})
    for error in range(1, watching.ATTEMPTS + 1):
        before = watch(monkeypatch, subscription(errors=error), before)
    with pytest.raises(Problem, match="5 times in a row"):
        watch(monkeypatch, subscription(errors=watching.ATTEMPTS + 1), before)
    assert len(enabled) == watching.ATTEMPTS


@pytest.mark.usefixtures("enabled")
def test_what_has_worked_since_begins_to_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = watch(monkeypatch, subscription(errors=1), watch(monkeypatch, subscription(enabled=True), {}))
    assert watch(monkeypatch, subscription(enabled=True, errors=1), before)["attempts"] == 0


def test_what_somebody_has_disabled_stays_so(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    before = watch(monkeypatch, subscription(enabled=True, errors=3), {})
    with pytest.raises(Problem, match="somebody has disabled it"):
        watch(monkeypatch, subscription(errors=3), before)
    assert not enabled


def test_what_an_interrupted_swap_has_disabled_goes_on(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    watch(monkeypatch, subscription(comment=SWAPPING), {})
    assert enabled == ["li"]


def test_a_lost_slot_needs_a_rebuild(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    monkeypatch.setattr(watching, "read_slot", lambda *_: Slot(False, "lost", -1, "0/1", 0, 0, True))
    with pytest.raises(Problem, match="run rebuild"):
        watch(monkeypatch, subscription(errors=1), {})
    assert not enabled


@pytest.mark.usefixtures("enabled")
def test_a_slot_that_was_lost_while_li_was_away_is_found_though_the_subscription_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    trying = evolve(subscription(enabled=True), working=False)
    watch(monkeypatch, trying, {})
    monkeypatch.setattr(watching, "read_slot", lambda *_: Slot(False, "lost", -1, "0/1", 0, 0, True))
    with pytest.raises(Problem, match="run rebuild"):
        watch(monkeypatch, trying, {})


# --- Celery, Kubernetes, the status ---


def test_every_task_has_its_queue_and_its_time() -> None:
    app = make_app(settings_with())
    assert {f"li_sync.{task}" for task in TASKS} <= {*app.tasks}
    assert {queue(task) for task in TASKS} == {"database", "media"}
    assert {*beat_schedule(settings_with())} == {"watch", "prepare", "verify", "mirror_new_media", "mirror_media", "refresh"}
    never: dict[str, Any] = dict.fromkeys(("watch", "prepare", "verify", "mirror_new_media", "mirror_media", "refresh"))
    assert beat_schedule(settings_with(schedule=never)) == {}


def test_a_rollout_is_done_when_every_pod_is_new_and_ready() -> None:
    done = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
    assert _rolled_out({"spec": {"replicas": 1}, "status": done}, 2)
    for change in ({"observedGeneration": 1}, {"replicas": 2}, {"updatedReplicas": 0}, {"readyReplicas": 0}):
        assert not _rolled_out({"spec": {"replicas": 1}, "status": done | change}, 2)


def test_a_run_that_was_killed_is_shown_as_interrupted(tmp_path: Path) -> None:
    checkpoint = Checkpoints(tmp_path).begin("rebuild")
    assert task_status("rebuild", checkpoint, frozenset())["state"] == "interrupted"
    assert task_status("rebuild", checkpoint, frozenset({"rebuild"}))["state"] == "running"
    assert task_status("rebuild", checkpoint, None)["state"] == "running"


def test_the_status_of_databases_that_are_not_there_is_a_problem_and_no_secret(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("do-not-show")
    database = DATABASE | {"password_file": str(password)}
    changes = {"state": str(tmp_path), "main": {"owner": database, "replication": database}, "li": {"owner": database}}
    settings = settings_with(**changes)
    found = status(settings, observe(settings))
    assert not found["well"]
    assert len(found["problems"]) == 2
    assert "do-not-show" not in json.dumps(found)


def test_the_page_shows_what_an_error_says_as_text(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.fail(checkpoints.begin("verify"), "<script>alert(1)</script>")
    site = make_site(settings_with(state=str(tmp_path)))
    page = site.test_client().get("/")
    assert page.status_code == 200
    assert b"<script>" not in page.data
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed_by_the_status_server(method: str, tmp_path: Path) -> None:
    client = make_site(settings_with(state=str(tmp_path))).test_client()
    for path in ("/", "/metrics", "/healthz", "/openapi.json", *OPENAPI["paths"]):
        assert client.open(path, method=method).status_code == 405


def test_an_observation_without_problems_is_well(tmp_path: Path) -> None:
    seen = Observation(subscription(enabled=True), Slot(True, "reserved", 1, "0/1", 0, 0, True), "0/1", frozenset(), ())
    assert status(settings_with(state=str(tmp_path)), seen)["well"]


def test_the_image_has_the_versions_that_are_tested() -> None:
    def pins(path: str) -> dict[str, str]:
        lines = (Path(__file__).parents[2] / path).read_text().splitlines()
        return dict(line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))

    ours, tested = pins("services/li_sync/requirements.lock"), pins("requirements/dev.lock")
    assert {name: tested.get(name) for name in ours} == ours
    assert {"celery", "psycopg", "gunicorn", "boto3"} <= {*ours}


# --- officers, and a new instance


@pytest.mark.parametrize("name", ["anna", "li-", "li-Anna", "li-anna:example.org", "@li-anna", "li-anna\n"])
def test_an_officers_name_is_one_that_main_cannot_have(name: str) -> None:
    settings = evolve(settings_with(), li=evolve(settings_with().li, reserved_prefix="li-"))
    assert user_id(settings, "li-anna") == f"@li-anna:{settings.follow.server_name}"
    with pytest.raises(Problem, match="an officer's name begins with 'li-'"):
        user_id(settings, name)


def test_a_password_is_no_hash_of_one() -> None:
    with pytest.raises(Problem, match="no hash of a password") as found:
        add_officer(settings_with(), "li-anna", "correct horse battery staple")
    assert "horse" not in str(found.value)


def test_a_new_instance_is_prepared_as_soon_as_main_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    # Other applications in this process have nothing to do with it.
    others = [make_app(settings_with()) for _ in range(20)]
    app, sent = make_app(settings_with()), []
    assert app not in others
    monkeypatch.setattr(app, "send_task", lambda name, **options: sent.append((name, options["queue"])))

    def unprepared(*_: object) -> Mapping[str, Any]:
        raise NotPrepared("LI has no subscription")

    monkeypatch.setattr(tasks, "run_task", unprepared)
    app.tasks["li_sync.watch"]()
    assert sent == [("li_sync.prepare", "database")]


def test_without_a_subscription_there_is_nothing_to_watch_yet(monkeypatch: pytest.MonkeyPatch, enabled: list[str]) -> None:
    with pytest.raises(NotPrepared):
        watch(monkeypatch, None, {})
    assert enabled == []
