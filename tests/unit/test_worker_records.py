"""The worker records hold together, and send each request where it belongs: the requests are written by hand from docs/workers.md."""

import re
from collections import Counter

import pytest

from main_instance.synapse.worker_type import Duty, Scaling, Stream, WorkerType
from main_instance.synapse.workers import MAIN, WORKER_TYPES
from tests.routing import route

BY_NAME = {worker.name: worker for worker in WORKER_TYPES}

# Identifiers as clients send them: encoded and not, without a server (room version 12), with an encoded slash.
ROOM = "!AbCdEfGhIjKlMnOpQr:example.org"
ENCODED_ROOM = "%21AbCdEfGhIjKlMnOpQr%3Aexample.org"
ROOM_12 = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
ENCODED_ROOM_12 = "%2131hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
ROOMS = (ROOM, ENCODED_ROOM, ROOM_12, ENCODED_ROOM_12)
USER = "%40alice%3Aexample.org"
EVENT = "%24x3CkyLUbEW-TG7nPQyLz3oS1bkrcRAgyTK6kJRBpYTM"
ALIAS = "%23one%2Fsend%2Ftwo%3Aexample.org"

CLIENT = "/_matrix/client"

REQUESTS = [
    # The sync that a new device starts with is apart from the one that it goes on with.
    ("GET", f"{CLIENT}/v3/sync", "", "initial-synchrotron"),
    ("GET", f"{CLIENT}/v3/sync", "filter=1&timeout=30000", "initial-synchrotron"),
    ("GET", f"{CLIENT}/v3/sync", "since=s1_2_3&timeout=30000", "synchrotron"),
    ("GET", f"{CLIENT}/r0/sync", "since=s1_2_3&full_state=true", "initial-synchrotron"),
    ("GET", f"{CLIENT}/v3/sync", "since=s1_2_3&full_state=false", "synchrotron"),
    ("GET", f"{CLIENT}/r0/events", "", "initial-synchrotron"),
    ("GET", f"{CLIENT}/v3/events", "from=s1_2_3", "synchrotron"),
    ("GET", f"{CLIENT}/r0/initialSync", "", "initial-synchrotron"),
    ("POST", f"{CLIENT}/unstable/org.matrix.simplified_msc3575/sync", "pos=5", "sliding-sync"),
    # Writers.
    ("PUT", f"{CLIENT}/v3/sendToDevice/m.room.encrypted/m1", "", "encryption"),
    ("GET", f"{CLIENT}/v3/user/{USER}/account_data/m.direct", "", "account-data"),
    ("PUT", f"{CLIENT}/v3/user/{USER}/account_data/m.direct", "", "account-data"),
    ("PUT", f"{CLIENT}/v3/presence/{USER}/status", "", "presence-writer"),
    ("GET", f"{CLIENT}/v3/pushrules/", "", "push-rules"),
    ("PUT", f"{CLIENT}/v3/pushrules/global/override/.m.rule.master/enabled", "", "push-rules"),
    ("GET", f"{CLIENT}/v3/devices", "", "device-lists"),
    ("DELETE", f"{CLIENT}/v3/devices/ABCDEF", "", "device-lists"),
    ("POST", f"{CLIENT}/v3/delete_devices", "", "device-lists"),
    ("POST", f"{CLIENT}/v3/keys/upload", "", "device-lists"),
    ("POST", f"{CLIENT}/unstable/keys/device_signing/upload", "", "device-lists"),
    ("POST", f"{CLIENT}/v3/keys/signatures/upload", "", "device-lists"),
    # Media.
    ("GET", "/_matrix/media/v3/download/example.org/abc/file.png", "", "media-repository"),
    ("POST", "/_matrix/media/v3/upload", "filename=sync", "media-repository"),
    ("GET", f"{CLIENT}/v1/media/thumbnail/example.org/abc", "width=32", "media-repository"),
    ("GET", "/_matrix/federation/v1/media/download/abc", "", "media-repository"),
    ("POST", f"/_synapse/admin/v1/room/{ENCODED_ROOM}/media/quarantine", "", "media-repository"),
    ("GET", f"/_synapse/admin/v1/room/{ENCODED_ROOM}/media", "", "media-repository"),
    ("DELETE", f"/_synapse/admin/v1/users/{USER}/media", "", "media-repository"),
    ("POST", f"/_synapse/admin/v1/quarantine_media/{ENCODED_ROOM}", "", "media-repository"),
    ("GET", "/_synapse/admin/v1/statistics/users/media", "", MAIN),
    # Events.
    ("POST", f"{CLIENT}/v3/createRoom", "", "event-creator"),
    ("POST", f"{CLIENT}/v3/join/{ALIAS}", "server_name=example.org", "event-creator"),
    ("POST", f"{CLIENT}/v3/knock/{ENCODED_ROOM}", "", "event-creator"),
    ("GET", f"{CLIENT}/v3/profile/{USER}", "", "event-creator"),
    ("PUT", f"{CLIENT}/v3/profile/{USER}/displayname", "", "event-creator"),
    # What clients read.
    ("GET", f"{CLIENT}/v3/joined_rooms", "", "client-reader"),
    ("GET", f"{CLIENT}/v3/directory/room/{ALIAS}", "", "client-reader"),
    ("GET", f"{CLIENT}/v1/room_summary/{ALIAS}", "", "client-reader"),
    ("POST", f"{CLIENT}/v3/keys/query", "", "client-reader"),
    ("GET", f"{CLIENT}/v3/room_keys/version", "", "client-reader"),
    ("PUT", f"{CLIENT}/v3/room_keys/keys/{ENCODED_ROOM}/session", "version=1", "client-reader"),
    ("GET", f"{CLIENT}/versions", "", "client-reader"),
    ("POST", f"{CLIENT}/v3/login", "", "client-reader"),
    ("POST", f"{CLIENT}/v3/user/{USER}/filter", "", "client-reader"),
    ("GET", f"{CLIENT}/unstable/org.matrix.msc4143/rtc/transports", "", "client-reader"),
    ("POST", f"{CLIENT}/v3/user_directory/search", "", "user-dir"),
    ("GET", f"{CLIENT}/v3/login/sso/redirect", "redirectUrl=https%3A%2F%2Fx", "sso-login"),
    ("GET", f"{CLIENT}/v3/login/sso/redirect/oidc-keycloak", "", "sso-login"),
    ("GET", "/_synapse/client/oidc/callback", "code=1", "sso-login"),
    ("POST", "/_synapse/client/pick_username/account_details", "", "sso-login"),
    # One path, several processes: only GET is served by workers, or only one action.
    ("GET", f"/_synapse/admin/v2/users/{USER}", "", "client-reader"),
    ("HEAD", f"/_synapse/admin/v2/users/{USER}", "", "client-reader"),
    ("PUT", f"/_synapse/admin/v2/users/{USER}", "", MAIN),
    ("GET", f"{CLIENT}/unstable/org.matrix.msc4140/delayed_events", "", "client-reader"),
    ("GET", f"{CLIENT}/unstable/org.matrix.msc4140/delayed_events/d1", "", "client-reader"),
    ("POST", f"{CLIENT}/unstable/org.matrix.msc4140/delayed_events/d1", "", MAIN),
    ("POST", f"{CLIENT}/unstable/org.matrix.msc4140/delayed_events/d1/restart", "", "client-reader"),
    ("POST", f"{CLIENT}/unstable/org.matrix.msc4140/delayed_events/d1/cancel", "", MAIN),
    ("GET", f"/_synapse/admin/v1/rooms/{ENCODED_ROOM}", "", "client-reader"),
    ("DELETE", f"/_synapse/admin/v1/rooms/{ENCODED_ROOM}", "", "client-reader"),
    ("DELETE", f"/_synapse/admin/v2/rooms/{ENCODED_ROOM}", "", MAIN),
    ("GET", "/_synapse/admin/v1/rooms", "", MAIN),
    ("GET", f"/_synapse/admin/v1/rooms/{ENCODED_ROOM}/members", "", MAIN),
    # Main's.
    ("POST", f"{CLIENT}/v3/logout", "", MAIN),
    ("POST", f"{CLIENT}/v3/refresh", "", MAIN),
    ("GET", f"{CLIENT}/v3/pushers", "", MAIN),
    ("POST", f"{CLIENT}/v3/pushers/set", "", MAIN),
    ("POST", f"{CLIENT}/v3/account/password", "", MAIN),
    ("POST", f"{CLIENT}/v3/account/3pid/add", "", MAIN),
    ("POST", f"{CLIENT}/v3/user/{USER}/openid/request_token", "", MAIN),
    ("POST", f"{CLIENT}/v3/register/email/requestToken", "", MAIN),
    ("GET", f"{CLIENT}/v3/thirdparty/protocols", "", MAIN),
    ("GET", "/.well-known/matrix/client", "", MAIN),
    ("GET", "/health", "", MAIN),
    # Federation.
    ("PUT", "/_matrix/federation/v1/send/1234", "", "federation-inbound"),
    ("PUT", f"/_matrix/federation/v2/send_join/{ENCODED_ROOM}/{EVENT}", "", "federation-reader"),
    ("GET", f"/_matrix/federation/v1/state_ids/{ENCODED_ROOM_12}", f"event_id={EVENT}", "federation-reader"),
    ("GET", "/_matrix/federation/v1/query/profile", f"user_id={USER}", "federation-reader"),
    ("POST", "/_matrix/federation/v1/user/keys/query", "", "federation-reader"),
    ("GET", "/_matrix/federation/v1/openid/userinfo", "access_token=x", MAIN),
    ("POST", "/_matrix/key/v2/query", "", "federation-reader"),
    ("GET", "/_matrix/key/v2/server", "", MAIN),
]

ROOM_REQUESTS = [
    ("PUT", "v3", f"typing/{USER}", "typing-persister"),
    ("POST", "v3", f"receipt/m.read/{EVENT}", "receipts"),
    ("POST", "v3", "read_markers", "receipts"),
    ("PUT", "v3", "send/m.room.message/m1", "event-creator"),
    ("PUT", "v3", "send/m.room.encrypted/m1", "event-creator"),
    ("PUT", "r0", f"redact/{EVENT}/m1", "event-creator"),
    ("PUT", "v3", "state/m.room.name/", "event-creator"),
    ("PUT", "v3", "state/m.room.name", "event-creator"),
    ("GET", "v3", "state/m.room.member/%40typing%3Aexample.org", "event-creator"),
    ("POST", "v3", "join", "event-creator"),
    ("POST", "v3", "kick", "event-creator"),
    ("GET", "v3", "state", "client-reader"),
    ("GET", "v3", "messages", "client-reader"),
    ("GET", "v3", "members", "client-reader"),
    ("GET", "v3", "joined_members", "client-reader"),
    ("GET", "v3", f"context/{EVENT}", "client-reader"),
    ("GET", "v3", f"event/{EVENT}", "client-reader"),
    ("GET", "v3", "aliases", "client-reader"),
    ("GET", "v1", "hierarchy", "client-reader"),
    ("GET", "v1", "threads", "client-reader"),
    ("GET", "v1", f"relations/{EVENT}/m.thread", "client-reader"),
    ("GET", "v3", "initialSync", "initial-synchrotron"),
    ("POST", "v3", "forget", MAIN),
    ("POST", "v3", "upgrade", MAIN),
    ("POST", "v3", f"report/{EVENT}", MAIN),
]


def test_there_are_the_22_types_of_the_specification() -> None:
    assert sorted(BY_NAME) == [
        *("account-data", "appservice", "background", "client-reader", "device-lists", "encryption", "event-creator", "event-persister"),
        *("federation-inbound", "federation-reader", "federation-sender", "initial-synchrotron", "media-repository", "presence-writer"),
        *("push-rules", "pusher", "receipts", "sliding-sync", "sso-login", "synchrotron", "typing-persister", "user-dir"),
    ]
    assert len(WORKER_TYPES) == 22


def test_every_stream_has_one_type_that_writes_it_and_every_duty_one_that_does_it() -> None:
    assert Counter(stream for worker in WORKER_TYPES for stream in worker.writes) == Counter(Stream)
    assert Counter(duty for worker in WORKER_TYPES for duty in worker.duties) == Counter(Duty)


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_a_writers_requests_are_never_given_to_another_process(worker: WorkerType) -> None:
    if worker.writes:
        assert worker.fallback is None


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_only_a_type_with_a_listener_gets_requests(worker: WorkerType) -> None:
    assert bool(worker.routes) == bool(worker.listeners)


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_who_takes_over_has_the_listeners_for_it(worker: WorkerType) -> None:
    if worker.fallback not in {None, MAIN}:
        assert worker.fallback != worker.name
        assert set(worker.listeners) <= set(BY_NAME[str(worker.fallback)].listeners)


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_an_autoscaler_may_touch_only_what_no_configuration_names(worker: WorkerType) -> None:
    if worker.scaling is Scaling.ELASTIC:
        assert not worker.writes
        assert not worker.duties


@pytest.mark.parametrize("pattern", sorted({r.pattern for worker in WORKER_TYPES for r in worker.routes}))
def test_a_pattern_is_anchored_and_lets_an_identifier_be_one_segment(pattern: str) -> None:
    # `.` for any character would run over slashes; a backslash only ever escapes a dot, which PCRE2 and Python's re read alike.
    # HAProxy's map files are split at white space.
    assert pattern.startswith("^/_")
    assert not re.search(r"\s|\.\*|\.\+|\(\?[^:]|\\[^.]", pattern)
    re.compile(pattern)


@pytest.mark.parametrize(("method", "path", "query", "expected"), REQUESTS)
def test_a_request_goes_to_its_type(method: str, path: str, query: str, expected: str) -> None:
    assert route(method, path, query) == expected


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(("method", "version", "rest", "expected"), ROOM_REQUESTS)
def test_a_request_about_a_room_goes_to_its_type_however_the_room_is_written(
    method: str, version: str, rest: str, expected: str, room: str
) -> None:
    assert route(method, f"{CLIENT}/{version}/rooms/{room}/{rest}") == expected


@pytest.mark.parametrize(
    "path",
    [
        f"{CLIENT}/v3/rooms/{ENCODED_ROOM}/state/m.room.name/sync",
        f"{CLIENT}/v3/user/{USER}/account_data/typing",
        f"{CLIENT}/v3/directory/room/%23rooms%2Fx%2Fsend%2Fy%3Aexample.org",
        "/_matrix/media/v3/download/example.org/sync",
        f"{CLIENT}/v3/profile/%40rooms%2Fx%2Ftyping%3Aexample.org",
    ],
)
def test_an_identifier_that_looks_like_another_path_deceives_nobody(path: str) -> None:
    takers = {worker.name for worker in WORKER_TYPES for candidate in worker.routes if re.search(candidate.pattern, path)}
    assert len(takers) == 1


def test_only_the_two_synchrotrons_overlap() -> None:
    paths = [path for _, path, _, _ in REQUESTS]
    paths += [f"{CLIENT}/{version}/rooms/{room}/{rest}" for room in ROOMS for _, version, rest, _ in ROOM_REQUESTS]
    for path in paths:
        takers = {worker.name for worker in WORKER_TYPES for candidate in worker.routes if re.search(candidate.pattern, path)}
        assert len(takers) <= 1 or takers == {"initial-synchrotron", "synchrotron"}, path


@pytest.mark.parametrize("path", [path for _, path, _, _ in REQUESTS if path.startswith(("/_matrix/federation/", "/_matrix/key/"))])
def test_a_site_without_federation_routes_none(path: str) -> None:
    assert route("GET", path, federation=False) == MAIN
