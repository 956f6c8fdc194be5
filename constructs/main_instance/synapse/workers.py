"""The types of Synapse worker, 22 where all is on: which requests, streams and duties each takes from the main process.

Synapse matches its own path patterns against the path as it came over the wire, still percent-encoded, and lets one identifier
be one path segment (synapse/http/server.py, JsonResource). So do these: a proxy must not decode or normalise the path before it
looks here, an encoded slash in a room alias (`%2F`) never splits a segment, and no identifier needs to have a certain form: the
ids of rooms of version 12 name no server. The patterns use only what Python's `re` and PCRE2 share.

A path that no route matches belongs to the main process, which serves everything but media and the streams written elsewhere.
`OPTIONS` never gets here: the proxy answers it. Synapse answers HEAD wherever it answers GET.

Source: Synapse's docs/workers.md, and the servlets that 1.163.2 registers on each of these workers, against which
tests/live/test_synapse_routes.py checks every row.
"""

import re
from collections.abc import Collection

from main_instance.synapse.worker_type import Balance, Duty, Listener, Load, Route, Scaling, Stream, When, Work, WorkerType

MAIN = "main"
"""The process that is no worker: what `WorkerType.fallback` and the proxy call it."""

_ID = "[^/]+"
"""One path segment: a user, room, event or other identifier, encoded or not."""
_CLIENT = "^/_matrix/client"
_V = f"{_CLIENT}/(?:r0|v3|unstable)"
_V_OLD = f"{_CLIENT}/(?:api/v1|r0|v3|unstable)"
_ROOM = f"{_V}/rooms/{_ID}"
_ROOM_OLD = f"{_V_OLD}/rooms/{_ID}"
_FEDERATION = "^/_matrix/federation"
_ADMIN = "^/_synapse/admin"
_DELAYED_EVENTS = rf"{_CLIENT}/unstable/org\.matrix\.msc4140/delayed_events"
_READ = ("GET", "HEAD")


def _routes(*patterns: str, methods: tuple[str, ...] = (), when: When | None = None, federation: bool = False) -> tuple[Route, ...]:
    return tuple(Route(pattern, methods, when, federation) for pattern in patterns)


# --- Sync: long polls, so many connections to one instance, and every request of a user to the same one, whose caches are warm.

INITIAL_SYNCHROTRON = WorkerType(
    "initial-synchrotron",
    summary="First syncs of new devices, which are expensive, apart from everybody else's.",
    scaling=Scaling.ELASTIC,
    routes=(
        *_routes(f"{_V}/sync$", when=When.INITIAL_SYNC),
        *_routes(f"{_V_OLD}/events$", when=When.INITIAL_EVENTS),
        *_routes(f"{_V_OLD}/initialSync$", f"{_ROOM_OLD}/initialSync$"),
    ),
    balance=Balance.USER,
    fallback="synchrotron",
    load=Load.MEDIUM,
    max_connections=50,
    server_timeout_seconds=600,  # Synapse lets one statement run for 10 minutes (synapse/config/database.py, statement_timeout)
)
SYNCHROTRON = WorkerType(
    "synchrotron",
    summary="Incremental syncs: the long poll that every client of the classic sync keeps open.",
    scaling=Scaling.ELASTIC,
    routes=_routes(f"{_V}/sync$", f"{_V_OLD}/events$"),
    balance=Balance.USER,
    fallback="sliding-sync",
    load=Load.HEAVY,
    max_connections=2000,
    queue_timeout_seconds=5,
)
SLIDING_SYNC = WorkerType(
    "sliding-sync",
    summary="Sliding sync (MSC4186): the long poll of Element X and of newer clients.",
    scaling=Scaling.ELASTIC,
    routes=_routes(rf"{_CLIENT}/unstable/org\.matrix\.simplified_msc3575/sync$"),
    balance=Balance.USER,
    fallback="synchrotron",
    load=Load.HEAVY,
    max_connections=2000,
    queue_timeout_seconds=5,
)

# --- Writers of streams. Their routes are theirs alone: any other process, main too, answers 500, or waits a minute for the writer.

TYPING_PERSISTER = WorkerType(
    "typing-persister",
    summary="Typing notifications.",
    scaling=Scaling.SINGLE,
    writes=(Stream.TYPING,),
    routes=_routes(f"{_ROOM_OLD}/typing/"),
)
ENCRYPTION = WorkerType(
    "encryption",
    summary="Messages from device to device: the key exchange of end-to-end encryption.",
    scaling=Scaling.SINGLE,
    writes=(Stream.TO_DEVICE,),
    routes=_routes(f"{_V}/sendToDevice/"),
)
ACCOUNT_DATA = WorkerType(
    "account-data",
    summary="Account data and room tags of users.",
    scaling=Scaling.SINGLE,
    writes=(Stream.ACCOUNT_DATA,),
    routes=_routes(f"{_V}/user/{_ID}/(?:rooms/{_ID}/)?account_data/", f"{_V}/user/{_ID}/rooms/{_ID}/tags(?:/|$)"),
)
PRESENCE_WRITER = WorkerType(
    "presence-writer",
    summary="Who is online.",
    scaling=Scaling.SINGLE,
    writes=(Stream.PRESENCE,),
    routes=_routes(f"{_V_OLD}/presence/"),
)
PUSH_RULES = WorkerType(
    "push-rules",
    summary="Users' notification settings.",
    scaling=Scaling.SINGLE,
    writes=(Stream.PUSH_RULES,),
    routes=_routes(f"{_V_OLD}/pushrules/"),
)
RECEIPTS = WorkerType(
    "receipts",
    summary="Read receipts and read markers.",
    scaling=Scaling.SHARDED,
    writes=(Stream.RECEIPTS,),
    routes=_routes(f"{_ROOM}/(?:receipt/|read_markers$)"),
    balance=Balance.USER,
)
DEVICE_LISTS = WorkerType(
    "device-lists",
    summary="Devices and their published keys.",
    scaling=Scaling.SHARDED,
    writes=(Stream.DEVICE_LISTS,),
    routes=_routes(
        f"{_V}/(?:keys/upload|keys/signatures/upload|delete_devices)$",
        f"{_V}/devices(?:/|$)",
        f"{_CLIENT}/(?:v3|unstable)/keys/device_signing/upload$",
    ),
    balance=Balance.USER,
)
EVENT_PERSISTER = WorkerType(
    "event-persister",
    summary="Writes events to the database; rooms are spread over its instances.",
    scaling=Scaling.SHARDED,
    writes=(Stream.EVENTS,),
    listeners=(),
    load=Load.HEAVY,
)

# --- Media. No other process loads the media repository; the instances share the object store and each has a cache of its own.

MEDIA_REPOSITORY = WorkerType(
    "media-repository",
    summary="Uploads, downloads and thumbnails, and the administration of media.",
    scaling=Scaling.SHARDED,
    writes=(Stream.QUARANTINED_MEDIA,),
    duties=(Duty.MEDIA_BACKGROUND_JOBS,),
    routes=(
        *_routes("^/_matrix/media/", f"{_CLIENT}/v1/media/"),
        *_routes(f"{_FEDERATION}/v1/media/", federation=True),
        *_routes(
            f"{_ADMIN}/v1/(?:purge_media_cache$|media/|quarantine_media/)",
            f"{_ADMIN}/v1/(?:room/{_ID}/media(?:/quarantine)?|user/{_ID}/media/quarantine|users/{_ID}/media)$",
        ),
    ),
    listeners=(Listener.MEDIA,),
    balance=Balance.MEDIA,
    load=Load.MEDIUM,
    settings={"enable_media_repo": True},
)

# --- Requests of clients.

EVENT_CREATOR = WorkerType(
    "event-creator",
    summary="Sending messages, changing room state and memberships, creating rooms, profiles.",
    scaling=Scaling.ELASTIC,
    routes=_routes(
        f"{_ROOM_OLD}/(?:send|redact|state)/",
        f"{_ROOM_OLD}/(?:join|invite|leave|ban|unban|kick)(?:/|$)",
        f"{_V_OLD}/(?:join|profile)/",
        f"{_V}/knock/",
        f"{_V_OLD}/createRoom(?:/|$)",
    ),
    balance=Balance.ROOM,
    fallback="client-reader",
    load=Load.MEDIUM,
)
CLIENT_READER = WorkerType(
    "client-reader",
    summary="What clients read: messages, members, state, keys, search; and login and registration.",
    scaling=Scaling.ELASTIC,
    routes=(
        *_routes(
            f"{_ROOM_OLD}/(?:messages|members|joined_members|state|context/{_ID}|event/{_ID})$",
            f"{_V}/keys/(?:query|changes|claim)$",
            f"{_V}/room_keys/",
            f"{_CLIENT}/(?:v1|unstable)/rooms/{_ID}/relations/",
            f"{_CLIENT}/v1/rooms/{_ID}/(?:hierarchy|threads|timestamp_to_event)$",
            f"{_CLIENT}/versions$",
            f"{_V_OLD}/(?:publicRooms|joined_rooms|search|voip/turnServer|login)$",
            f"{_V_OLD}/directory/room/{_ID}$",
            f"{_V}/(?:account/(?:3pid|whoami|deactivate)|capabilities|notifications|password_policy|register|register/available)$",
            f"{_V}/user/{_ID}/filter(?:/|$)",
            rf"{_CLIENT}/(?:r0|v3|unstable/org\.matrix\.msc2432)/rooms/{_ID}/aliases$",
            f"{_CLIENT}/v1/room_summary/{_ID}$",
            rf"{_CLIENT}/unstable/im\.nheko\.summary/(?:summary/{_ID}|rooms/{_ID}/summary)$",
            rf"{_CLIENT}/(?:v1|unstable)/register/m\.login\.registration_token/validity$",
            rf"{_CLIENT}/unstable/org\.matrix\.msc4143/rtc/transports$",
            f"{_ADMIN}/v1/rooms/{_ID}$",
        ),
        # The other methods of these paths exist on main alone: any worker answers 405.
        *_routes(f"{_DELAYED_EVENTS}(?:/{_ID})?$", f"{_ADMIN}/v2/users/{_ID}$", methods=_READ),
        *_routes(f"{_DELAYED_EVENTS}/{_ID}/restart$", methods=("POST",)),
    ),
    # Upstream asks for one instance per room for /messages, lest two of them backfill the same room.
    balance=Balance.ROOM,
    fallback="event-creator",
    load=Load.MEDIUM,
)
USER_DIR = WorkerType(
    "user-dir",
    summary="Keeps the user directory and searches it.",
    scaling=Scaling.SINGLE,
    duties=(Duty.USER_DIRECTORY,),
    routes=_routes(f"{_V}/user_directory/search$"),
    fallback="client-reader",
)
SSO_LOGIN = WorkerType(
    "sso-login",
    summary="Single sign-on: a login in progress lives in the memory of this one process.",
    only_for=Work.SINGLE_SIGN_ON,
    scaling=Scaling.SINGLE,
    routes=_routes(
        f"{_V_OLD}/login/(?:sso/redirect|cas/redirect|cas/ticket)$",
        f"{_CLIENT}/(?:r0|v3)/login/sso/redirect/",
        "^/_synapse/client/(?:pick_idp|new_user_consent|sso_register|oidc/callback|saml2/authn_response)$",
        "^/_synapse/client/pick_username/",
    ),
    fallback=MAIN,
)
MAS_HELPER = WorkerType(
    "mas-helper",
    summary="In place of `sso-login` where the Matrix Authentication Service logs people in: what that service does to accounts and devices.",
    only_for=Work.AUTHENTICATION_SERVICE,
    scaling=Scaling.ELASTIC,
    # The second is a client's first question: who logs people in here.
    routes=_routes("^/_synapse/mas/", rf"{_CLIENT}/(?:v1|unstable|unstable/org\.matrix\.msc2965)/auth_metadata$"),
    fallback=MAIN,
    grows=False,
)

# --- Federation.

FEDERATION_INBOUND = WorkerType(
    "federation-inbound",
    summary="Transactions that other servers send.",
    only_for=Work.FEDERATION,
    scaling=Scaling.ELASTIC,
    routes=_routes(f"{_FEDERATION}/v1/send/", federation=True),
    listeners=(Listener.FEDERATION,),
    balance=Balance.CLIENT_ADDRESS,
    fallback="federation-reader",
    load=Load.MEDIUM,
)
FEDERATION_READER = WorkerType(
    "federation-reader",
    summary="What other servers ask: events, state, joins, profiles, keys.",
    only_for=Work.FEDERATION,
    scaling=Scaling.ELASTIC,
    # docs/workers.md leaves out `user/keys`; a worker of 1.163.2 was seen to answer as main does.
    routes=_routes(
        f"{_FEDERATION}/v1/(?:version|publicRooms)$",
        f"{_FEDERATION}/v1/(?:event|state|state_ids|event_auth|backfill|get_missing_events|timestamp_to_event|hierarchy)/",
        f"{_FEDERATION}/v1/(?:make_join|make_leave|make_knock|send_knock|exchange_third_party_invite|query|user/devices)/",
        f"{_FEDERATION}/(?:v1|v2)/(?:send_join|send_leave|invite)/",
        f"{_FEDERATION}/v1/user/keys/(?:query|claim)$",
        "^/_matrix/key/v2/query(?:/|$)",
        federation=True,
    ),
    listeners=(Listener.FEDERATION,),
    balance=Balance.URI,
    fallback="federation-inbound",
    load=Load.MEDIUM,
)
FEDERATION_SENDER = WorkerType(
    "federation-sender",
    summary="Sends events to other servers; the servers are spread over its instances.",
    only_for=Work.FEDERATION,
    scaling=Scaling.SHARDED,
    duties=(Duty.SEND_FEDERATION,),
    listeners=(),
    load=Load.MEDIUM,
)

# --- Work that no request asks for.

PUSHER = WorkerType(
    "pusher",
    summary="Push notifications and e-mails; the users are spread over its instances.",
    only_for=Work.NOTIFICATIONS,
    scaling=Scaling.SHARDED,
    duties=(Duty.PUSH,),
    listeners=(),
)
APPSERVICE = WorkerType(
    "appservice",
    summary="Hands events to bridges and bots (application services).",
    only_for=Work.APPLICATION_SERVICES,
    scaling=Scaling.SINGLE,
    duties=(Duty.APPLICATION_SERVICES,),
    listeners=(),
)
BACKGROUND = WorkerType(
    "background",
    summary="Statistics, clean-ups and other periodic work.",
    scaling=Scaling.SINGLE,
    duties=(Duty.BACKGROUND_TASKS,),
    listeners=(),
)

WORKER_TYPES: tuple[WorkerType, ...] = (
    INITIAL_SYNCHROTRON,  # before synchrotron, whose routes it narrows
    SYNCHROTRON,
    SLIDING_SYNC,
    TYPING_PERSISTER,
    ENCRYPTION,
    ACCOUNT_DATA,
    PRESENCE_WRITER,
    PUSH_RULES,
    RECEIPTS,
    DEVICE_LISTS,
    EVENT_PERSISTER,
    MEDIA_REPOSITORY,
    EVENT_CREATOR,
    CLIENT_READER,
    USER_DIR,
    SSO_LOGIN,
    FEDERATION_INBOUND,
    FEDERATION_READER,
    FEDERATION_SENDER,
    PUSHER,
    APPSERVICE,
    BACKGROUND,
)
"""In routing order: the first type with a matching route takes the request. Only the two synchrotrons overlap."""


def serving(*paths: str) -> frozenset[str]:
    """The processes that may come to serve one of these paths: types that have a route for it, who stands in for them, or main."""
    found: list[str] = []
    for path in paths:
        found += [worker.name for worker in WORKER_TYPES if any(re.search(route.pattern, path) for route in worker.routes)] or [MAIN]
    stand_ins = {worker.name: worker.fallback for worker in WORKER_TYPES}
    for name in found:
        if (other := stand_ins.get(name)) and other not in found:
            found.append(other)
    return frozenset(found)


AUTHENTICATING = serving(
    *(f"/_matrix/client/v3/{path}" for path in ("login", "register", "login/sso/redirect", "auth/m.login.sso/fallback/web")),
    # What asks for the password, or for the provider, once more (synapse/rest/client, users of validate_user_via_ui_auth).
    *(f"/_matrix/client/v3/{path}" for path in ("account/password", "account/deactivate", "account/3pid/add", "delete_devices")),
    *(f"/_matrix/client/v3/{path}" for path in ("devices/ID", "keys/device_signing/upload")),
    "/_matrix/client/v1/login/get_token",
    "/_synapse/client/oidc/callback",
)
"""The processes that find out who somebody is: they know the identity providers, and ask these and the directory."""

CALLING_APPLICATION_SERVICES = frozenset({APPSERVICE.name}) | serving(
    # A question about an alias goes to whom its name belongs, wherever it is asked (synapse/handlers/directory.py).
    *(f"/_matrix/client/v3/{path}" for path in ("directory/room/ALIAS", "join/ALIAS", "createRoom", "thirdparty/protocols")),
    *("/_matrix/client/v1/room_summary/ALIAS", "/_matrix/client/v1/appservice/ID/ping", "/_matrix/federation/v1/query/directory"),
)
"""The processes that call application services: what is sent to them goes out from one, questions are asked by whom they are put to."""


EVERY_TYPE: tuple[WorkerType, ...] = tuple(worker for of in WORKER_TYPES for worker in ((of, MAS_HELPER) if of is SSO_LOGIN else (of,)))
"""With the one that stands in the place of another: no homeserver has all of them."""


def worker_types(work: Collection[Work]) -> tuple[WorkerType, ...]:
    """The worker types of a homeserver that does this besides what all do: no process is there without work.

    A type that is not there leaves nothing undone: its routes go to the main process, which answers that there is no such thing, and its
    duty is nobody's.
    """
    return tuple(worker for worker in EVERY_TYPE if worker.only_for is None or worker.only_for in work)
