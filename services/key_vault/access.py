"""Which requests to synapse-li read something, and about whom. What is not here is not let through.

The patterns are Synapse 1.163.2's (synapse/rest/admin); each reads, none changes anything.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from attrs import frozen

LONGEST_URI = 4096


class Kind(StrEnum):
    """What the id in a path names."""

    USER = "user"
    ROOM = "room"
    EVENT = "event"
    NONE = "none"
    """Nothing that is anybody's: the server's version, and who is asking."""


@frozen
class Route:
    """A path with, if it is about somebody, one group `id`."""

    kind: Kind
    pattern: str


_ID = r"(?P<id>[^/]+)"
ROUTES = (
    Route(Kind.NONE, r"/_synapse/admin/v1/server_version"),
    Route(Kind.NONE, r"/_matrix/client/versions"),
    Route(Kind.NONE, r"/_matrix/client/v3/account/whoami"),
    Route(Kind.USER, rf"/_synapse/admin/v2/users/{_ID}"),
    Route(Kind.USER, rf"/_synapse/admin/v2/users/{_ID}/devices"),
    Route(Kind.USER, rf"/_synapse/admin/v1/whois/{_ID}"),
    Route(Kind.USER, rf"/_synapse/admin/v1/users/{_ID}/(?:accountdata|joined_rooms|media|memberships|pushers|sent_invite_count)"),
    Route(Kind.ROOM, rf"/_synapse/admin/v1/rooms/{_ID}"),
    Route(Kind.ROOM, rf"/_synapse/admin/v1/rooms/{_ID}/(?:hierarchy|members|messages|state|timestamp_to_event)"),
    Route(Kind.ROOM, rf"/_synapse/admin/v1/rooms/{_ID}/context/[^/]+"),
    Route(Kind.ROOM, rf"/_synapse/admin/v1/room/{_ID}/media"),
    Route(Kind.EVENT, rf"/_synapse/admin/v1/fetch_event/{_ID}"),
)
METHODS = frozenset({"GET", "HEAD"})


@frozen
class Subject:
    """Whom or what a request is about. `id` is '' for `Kind.NONE`."""

    kind: Kind
    id: str


def subject(method: str, uri: str) -> Subject | None:
    """What a request reads, or None for one that is not on the list. `uri`: path and query, as the client sent it.

    A path that could be read in two ways (a slash, a dot segment, a second encoding behind an escape) is not on the list.
    """
    if method not in METHODS or len(uri) > LONGEST_URI or not uri.startswith("/") or uri.startswith("//") or not uri.isascii():
        return None
    path = urlsplit(uri).path
    for route in ROUTES:
        if match := re.fullmatch(route.pattern, path):
            groups: Mapping[str, str | None] = match.groupdict()
            try:
                identifier = unquote(groups.get("id") or "", errors="strict")
            except UnicodeDecodeError:
                return None
            if any(bad in identifier for bad in "/%\\?#") or any(part in (".", "..") for part in unquote(path).split("/")):
                return None
            if not identifier.isprintable() or identifier[:1] != {"user": "@", "room": "!", "event": "$", "none": ""}[route.kind]:
                return None
            return Subject(route.kind, identifier)
    return None
