"""A bridge (made with mautrix) that says again what people say: `python -m tests.live.counterparts.bridge`, with what it needs as JSON.

Its account joins where it is invited, and a user of its own, whom it makes, repeats what is said there.
"""

import asyncio
import json
import sys

from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client.state_store import MemoryStateStore
from mautrix.types import Event, EventType, Membership


class Memory(ASStateStore, MemoryStateStore):  # type: ignore[misc]  # neither has types
    """What it knows of rooms, which ends with it."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


async def serve() -> None:
    """Serve until the end. Given are `server`, `domain`, `as_token`, `hs_token`, `id`, `bot`, `ghost` and `port`."""
    given = json.load(sys.stdin)
    service = AppService(
        server=given["server"],
        domain=given["domain"],
        as_token=given["as_token"],
        hs_token=given["hs_token"],
        bot_localpart=given["bot"],
        id=given["id"],
        state_store=Memory(),
    )

    async def heard(event: Event) -> None:
        if event.type == EventType.ROOM_MEMBER and event.state_key == service.bot_mxid and event.content.membership == Membership.INVITE:
            await service.intent.join_room_by_id(event.room_id)
            print(f"joined {event.room_id}", flush=True)
        elif event.type == EventType.ROOM_MESSAGE and not event.sender.startswith((service.bot_mxid, f"@{given['ghost']}")):
            ghost = service.intent.user(f"@{given['ghost']}_{event.sender[1:].partition(':')[0]}:{given['domain']}")
            await ghost.ensure_joined(event.room_id)
            await ghost.send_text(event.room_id, f"{event.content.body}, {event.content.body}")
            print(f"said {event.content.body}", flush=True)

    service.matrix_event_handler(heard)
    await service.start("0.0.0.0", given["port"])
    await service.intent.ensure_registered()
    service.ready = True
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
