"""Whose rooms and events are: asked of synapse-li's database, if the site has given a role that may read it."""

from collections.abc import Sequence

from django.db import connections

ALIAS = "synapse"

# Anybody who ever was in a room, was invited or knocked has a row for it; who left may still have read what came before.
_MEMBERS = (
    "SELECT DISTINCT user_id FROM room_memberships WHERE room_id = %s AND membership IN ('join', 'leave', 'ban') AND user_id = ANY(%s)"
)
_ROOM = "SELECT room_id FROM events WHERE event_id = %s"


def available() -> bool:
    """Whether the question can be asked."""
    return ALIAS in connections.settings


def room_of(event_id: str) -> str | None:
    """The room of an event, or None if there is no such event here. Raises django.db.Error when the database does not answer."""
    if not available():
        return None
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(_ROOM, [event_id])
        row = cursor.fetchone()
        return None if row is None else str(row[0])


def members_among(room_id: str, users: Sequence[str]) -> frozenset[str]:
    """Which of these users are or were in a room. Raises django.db.Error when the database does not answer."""
    if not available() or not users:
        return frozenset()
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(_MEMBERS, [room_id, list(users)])
        return frozenset(str(row[0]) for row in cursor.fetchall())
