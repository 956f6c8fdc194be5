"""Who should serve what clients ask, written by hand from Synapse's docs/workers.md, and nothing of the generator.

Each row is a class of requests that the documentation names, with the worker that we mean to give it to: for the streams' writers the one
that the documentation asks for, for the rest one that it allows. What stands in no row of a worker is in a row of main; a request that
stands in no row at all is a hole in this table, which a test shows.
"""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from attrs import frozen

MAIN = "main"


@frozen
class RouteClass:
    """A class of requests. `path`: a pattern for the whole path, in which `*` is one segment; `query`: a condition on the query."""

    name: str
    worker: str
    path: str
    methods: str = "GET HEAD POST PUT DELETE"
    query: Callable[[dict[str, list[str]]], bool] = lambda _: True

    def has(self, method: str, target: str) -> bool:
        """Whether a request belongs to it."""
        url = urlsplit(target)
        pattern = re.escape(self.path).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
        return method in self.methods.split() and re.fullmatch(pattern, url.path) is not None and self.query(parse_qs(url.query))


_C = "/_matrix/client/v3"
_V1 = "/_matrix/client/v1"
_ROOM = f"{_C}/rooms/*"
_FEDERATION = "/_matrix/federation"


def _first(query: dict[str, list[str]]) -> bool:
    return "since" not in query or query.get("full_state") == ["true"]


CLASSES: tuple[RouteClass, ...] = (
    RouteClass("first sync", "initial-synchrotron", f"{_C}/sync", query=_first),
    RouteClass("events, from now", "initial-synchrotron", f"{_C}/events", query=lambda query: "from" not in query),
    RouteClass("initialSync of a room", "initial-synchrotron", f"{_ROOM}/initialSync"),
    RouteClass("sync", "synchrotron", f"{_C}/sync", query=lambda query: not _first(query)),
    RouteClass("events, from a point", "synchrotron", f"{_C}/events", query=lambda query: "from" in query),
    RouteClass("sliding sync", "sliding-sync", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"),
    # Writers of streams.
    RouteClass("typing", "typing-persister", f"{_ROOM}/typing/*"),
    RouteClass("to-device messages", "encryption", f"{_C}/sendToDevice/*/*"),
    RouteClass("account data", "account-data", f"{_C}/user/*/account_data/*"),
    RouteClass("account data of a room", "account-data", f"{_C}/user/*/rooms/*/account_data/*"),
    RouteClass("room tags", "account-data", f"{_C}/user/*/rooms/*/tags"),
    RouteClass("a room tag", "account-data", f"{_C}/user/*/rooms/*/tags/*"),
    RouteClass("presence", "presence-writer", f"{_C}/presence/*/status"),
    RouteClass("push rules", "push-rules", f"{_C}/pushrules/**"),
    RouteClass("receipts", "receipts", f"{_ROOM}/receipt/*/*"),
    RouteClass("read markers", "receipts", f"{_ROOM}/read_markers"),
    RouteClass("publishing keys", "device-lists", f"{_C}/keys/upload"),
    RouteClass("publishing cross-signing keys", "device-lists", f"{_C}/keys/device_signing/upload"),
    RouteClass("publishing signatures", "device-lists", f"{_C}/keys/signatures/upload"),
    RouteClass("the list of devices", "device-lists", f"{_C}/devices"),
    RouteClass("a device", "device-lists", f"{_C}/devices/*"),
    # Media.
    RouteClass("uploads", "media-repository", "/_matrix/media/v3/upload"),
    RouteClass("downloads", "media-repository", f"{_V1}/media/download/*/*"),
    RouteClass("thumbnails", "media-repository", f"{_V1}/media/thumbnail/*/*"),
    RouteClass("the limits of media", "media-repository", f"{_V1}/media/config"),
    RouteClass("downloads without login", "media-repository", "/_matrix/media/v3/download/*/*"),
    RouteClass("administration: quarantine", "media-repository", "/_synapse/admin/v1/media/quarantine/*/*", "POST"),
    # Events.
    RouteClass("sending", "event-creator", f"{_ROOM}/send/*/*", "PUT"),
    RouteClass("redacting", "event-creator", f"{_ROOM}/redact/*/*", "PUT"),
    RouteClass("a state event", "event-creator", f"{_ROOM}/state/*"),
    RouteClass("a state event with a key", "event-creator", f"{_ROOM}/state/*/"),
    RouteClass("creating rooms", "event-creator", f"{_C}/createRoom", "POST"),
    RouteClass("joining a room", "event-creator", f"{_ROOM}/join", "POST"),
    RouteClass("joining by alias", "event-creator", f"{_C}/join/*", "POST"),
    RouteClass("knocking", "event-creator", f"{_C}/knock/*", "POST"),
    *(RouteClass(f"{verb}", "event-creator", f"{_ROOM}/{verb}", "POST") for verb in ("invite", "leave", "kick", "ban", "unban")),
    RouteClass("a profile", "event-creator", f"{_C}/profile/*"),
    RouteClass("a part of a profile", "event-creator", f"{_C}/profile/*/*"),
    # Reading.
    *(
        RouteClass(f"{what} of a room", "client-reader", f"{_ROOM}/{what}", "GET")
        for what in ("messages", "members", "joined_members", "state", "aliases")
    ),
    RouteClass("an event", "client-reader", f"{_ROOM}/event/*", "GET"),
    RouteClass("the context of an event", "client-reader", f"{_ROOM}/context/*", "GET"),
    RouteClass("relations of an event", "client-reader", f"{_V1}/rooms/*/relations/**", "GET"),
    *(
        RouteClass(f"{what} of a room", "client-reader", f"{_V1}/rooms/*/{what}", "GET")
        for what in ("threads", "hierarchy", "timestamp_to_event")
    ),
    RouteClass("the summary of a room", "client-reader", f"{_V1}/room_summary/*", "GET"),
    RouteClass("an alias", "client-reader", f"{_C}/directory/room/*"),
    RouteClass("asking for keys", "client-reader", f"{_C}/keys/query", "POST"),
    RouteClass("changed keys", "client-reader", f"{_C}/keys/changes", "GET"),
    RouteClass("claiming keys", "client-reader", f"{_C}/keys/claim", "POST"),
    RouteClass("the key backup", "client-reader", f"{_C}/room_keys/**"),
    RouteClass("login", "client-reader", f"{_C}/login", "GET POST"),
    RouteClass("versions", "client-reader", "/_matrix/client/versions", "GET"),
    RouteClass("filters", "client-reader", f"{_C}/user/*/filter", "POST"),
    *(
        RouteClass(what, "client-reader", f"{_C}/{what}")
        for what in ("publicRooms", "joined_rooms", "search", "voip/turnServer", "account/whoami", "capabilities", "notifications")
    ),
    RouteClass("administration: a room", "client-reader", "/_synapse/admin/v1/rooms/*", "GET"),
    RouteClass("administration: a user", "client-reader", "/_synapse/admin/v2/users/*", "GET"),
    RouteClass("the user directory", "user-dir", f"{_C}/user_directory/search", "POST"),
    # The site has no identity provider, so no worker for it: main says that there is none.
    RouteClass("single sign-on", MAIN, f"{_C}/login/sso/redirect", "GET"),
    # Other servers.
    RouteClass("transactions of other servers", "federation-inbound", f"{_FEDERATION}/v1/send/*", "PUT"),
    RouteClass("questions of other servers", "federation-reader", f"{_FEDERATION}/v1/version", "GET"),
    RouteClass("profiles for other servers", "federation-reader", f"{_FEDERATION}/v1/query/*", "GET"),
    # Main.
    RouteClass("logout", MAIN, f"{_C}/logout", "POST"),
    RouteClass("forgetting a room", MAIN, f"{_ROOM}/forget", "POST"),
    RouteClass("reporting an event", MAIN, f"{_ROOM}/report/*", "POST"),
    RouteClass("pushers", MAIN, f"{_C}/pushers", "GET"),
    RouteClass("setting a pusher", MAIN, f"{_C}/pushers/set", "POST"),
    RouteClass("an OpenID token", MAIN, f"{_C}/user/*/openid/request_token", "POST"),
    RouteClass("administration: the version", MAIN, "/_synapse/admin/v1/server_version", "GET"),
    RouteClass("checking an OpenID token", MAIN, f"{_FEDERATION}/v1/openid/userinfo", "GET"),
)


def classify(method: str, target: str) -> RouteClass:
    """The class of a request. `target`: path and query as they went over the wire. Raises LookupError when it is in none."""
    found = next((row for row in CLASSES if row.has(method, target)), None)
    if found is None:
        raise LookupError(f"no row of the table says who serves {method} {target}")
    return found
