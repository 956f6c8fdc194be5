"""Traffic for the time of a fault: people who send and read without a pause, and a line of JSON for everything that happens.

Each sender writes to one room after the other and sends again, with the same transaction id, what got no answer, as clients do. Each reader
waits for news by sync, or by sliding sync, and starts again where it was when an answer fails. The lines on standard output:

    {"at": 12.3, "kind": "accepted", "by": "alice", "room": "!r", "event": "$e", "seconds": 0.1, "attempts": 1}
    {"at": 12.4, "kind": "read", "by": "bob", "event": "$e", "how": "sync"}
    {"at": 12.5, "kind": "refused", "by": "alice", "what": "send", "why": "502 ..."}
    {"at": 12.6, "kind": "ready"}                                        # everybody is in all rooms, and the traffic begins
    {"at": 99.9, "kind": "history", "asked": 99.7, "by": "bob", "room": "!r", "texts": {"$e": "alice 1"}}   # what a member is shown

`at`: seconds of the machine's monotonic clock, which all processes share. No text is sent twice, unless as the same message.
SIGUSR1 asks for the histories while the traffic goes on, then comes a line {"kind": "checked"}; SIGTERM lets what is under way come to its
end, asks for them a last time and ends the program.
"""

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define

from tests.live.clients.people import Person, UnmetError, Wire, done, segment
from tests.live.clients.scenarios import SLIDING_SYNC, V3, history

_RETRY_SECONDS = 0.25
"""Clients wait longer; a shorter pause shows a gap as it is."""
_QUESTIONS = 20
"""How often a history is asked for that is refused."""
_LAST_SECONDS = 60.0
"""What a request that is under way at the end may take."""


def say(kind: str, **facts: Any) -> None:
    """One line."""
    print(json.dumps({"at": round(time.monotonic(), 3), "kind": kind, **facts}), flush=True)


@define(eq=False)
class Traffic:
    """Who sends where, how often, and whether they go on."""

    rooms: list[str]
    pause: float
    """Seconds between two messages of a sender."""
    going: bool = True
    reading: bool = True

    async def send(self, person: Person) -> None:
        """Until the end: a message, a pause."""
        number = 0
        while self.going:
            number += 1
            room, started, attempts = self.rooms[number % len(self.rooms)], time.monotonic(), 0
            path = f"{V3}/rooms/{segment(room)}/send/m.room.message/{person.device}.{number}"
            answer = None
            while answer is None and (self.going or time.monotonic() < started + _LAST_SECONDS):
                attempts += 1
                answer = await self._ask(person, "send", "PUT", path, {"msgtype": "m.text", "body": f"{person.name} {number}"})
            if answer:
                facts = {"seconds": round(time.monotonic() - started, 3), "attempts": attempts}
                say("accepted", by=person.name, room=room, event=answer["event_id"], **facts)
            await asyncio.sleep(self.pause)

    async def sync(self, person: Person) -> None:
        """Until the end: wait for news of the classic kind."""
        since = person.client.next_batch
        while self.reading:
            answer = await self._ask(person, "sync", "GET", f"{V3}/sync?timeout=10000&since={segment(since)}")
            if answer:
                since = answer["next_batch"]
                timelines = [joined["timeline"] for joined in answer.get("rooms", {}).get("join", {}).values()]
                _read(person, "sync", timelines)

    async def slide(self, person: Person) -> None:
        """Until the end: wait for news by sliding sync. When the server has forgotten the connection, a new one begins, as in clients."""
        request = {"conn_id": "traffic", "lists": {"all": {"ranges": [[0, 20]], "required_state": [], "timeline_limit": 50}}}
        position = ""
        while self.reading:
            query = f"?timeout=10000&pos={segment(position)}" if position else "?timeout=0"
            answer = await self._ask(person, "sliding sync", "POST", f"{SLIDING_SYNC}{query}", request)
            if answer:
                position = answer["pos"]
                _read(person, "sliding sync", [{"events": room.get("timeline", [])} for room in answer["rooms"].values()])
            elif answer is None and position and self._forgotten(person):
                position = ""

    def _forgotten(self, person: Person) -> bool:
        return person.wire.requests[-1][2] == 400

    async def _ask(self, person: Person, what: str, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        """The answer, or None when there is none worth anything: then what was wrong is told, and a moment has passed."""
        try:
            answer = await person.call(method, path, body)
            if answer.status == 200:
                return answer.json
            say("refused", by=person.name, what=what, why=f"{answer.status} {answer.json.get('errcode')}")
            await asyncio.sleep(max(_RETRY_SECONDS, answer.json.get("retry_after_ms", 0) / 1000 if answer.status == 429 else 0))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            say("refused", by=person.name, what=what, why=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def logged_in(self, person: Person) -> bool:
        """Whether the session holds: only the answer that the token is unknown says no.

        What else is refused is asked again, as clients do: a connection that was open when PostgreSQL died fails once, at its next use, and
        Synapse answers 500.

        Raises UnmetError when nothing but that comes.
        """
        for _ in range(_QUESTIONS):
            if await self._ask(person, "whoami", "GET", f"{V3}/account/whoami") is not None:
                return True
            if person.wire.requests[-1][2] == 401:
                return False
        raise UnmetError(f"whether {person.name} is still logged in had no answer")

    async def check(self, people: list[Person]) -> None:
        """Tell what every member is shown of every room."""
        for person in people:
            for room in self.rooms:
                texts, asked = None, time.monotonic()
                for _ in range(_QUESTIONS):
                    with suppress(UnmetError, aiohttp.ClientError, TimeoutError, OSError):
                        events = await history(person, room)
                        texts = {event["event_id"]: event["content"]["body"] for event in events if event["type"] == "m.room.message"}
                        break
                    await asyncio.sleep(0.5)
                say("history", asked=round(asked, 3), by=person.name, room=room, texts=texts)
        say("checked")


def _read(person: Person, how: str, timelines: list[dict[str, Any]]) -> None:
    for timeline in timelines:
        for event in timeline["events"]:
            if event["type"] == "m.room.message":
                say("read", by=person.name, event=event["event_id"], how=how)


async def run(given: dict[str, Any]) -> None:
    """Log in, make the rooms, and let the traffic go on until SIGTERM.

    `given`: `base`, `host`, `server_name`, `people` (passwords by name: all send; all but the last read by sync, the last by sliding sync),
    `rooms` (how many), `pause` (seconds between the messages of a sender).
    """
    stop, check = asyncio.Event(), asyncio.Event()
    for number, happened in ((signal.SIGTERM, stop), (signal.SIGUSR1, check)):
        asyncio.get_running_loop().add_signal_handler(number, happened.set)
    with tempfile.TemporaryDirectory() as store:
        people = [
            await Person.log_in(
                Wire(given["base"], f"198.51.100.{number}", given["host"]), given["server_name"], name, password, Path(store) / name
            )
            for number, (name, password) in enumerate(given["people"].items(), 1)
        ]
        traffic = Traffic(await _make_rooms(people, given["rooms"]), given["pause"])
        readers = [asyncio.create_task(reads(person)) for person, reads in _readers(traffic, people)]
        senders = [asyncio.create_task(traffic.send(person)) for person in people]
        say("ready", rooms=traffic.rooms)
        while not stop.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (stop, check)]
            finished, _ = await asyncio.wait([*waits, *readers, *senders], return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            for task in finished.intersection((*readers, *senders)):
                task.result()  # nobody stops of their own accord: this raises what went wrong
            if check.is_set():
                check.clear()
                await traffic.check(people)
        traffic.going = False
        await asyncio.gather(*senders)
        traffic.reading = False
        await asyncio.gather(*readers)
        await traffic.check(people)
        for person in people:
            say("still", by=person.name, logged_in=await traffic.logged_in(person))
            await person.close()


def _readers(traffic: Traffic, people: list[Person]) -> list[tuple[Person, Callable[[Person], Any]]]:
    *classic, modern = people
    return [*((person, traffic.sync) for person in classic), (modern, traffic.slide)]


async def _make_rooms(people: list[Person], count: int) -> list[str]:
    """Rooms with everybody in them; each has synced since."""
    first, *others = people
    rooms = []
    for number in range(count):
        made = await first.client.room_create(name=f"Traffic {number}", invite=[person.id for person in others])
        rooms.append(str(done(made).room_id))
    for person in others:
        for room in rooms:
            done(await person.client.join(room))
    for person in people:
        await person.sync(0)
    return rooms
