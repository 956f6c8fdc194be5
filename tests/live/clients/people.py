"""People with Matrix clients: matrix-nio for what it knows, plain calls for the rest, and a record of every request that they make."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import nio
from attrs import define, field, frozen
from yarl import URL

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that anything which should happen at once may take on a busy machine."""
_REQUEST_SECONDS = 90.0
"""Longer than HAProxy waits for a queue (60 s), so that it is HAProxy that gives up."""


class UnmetError(Exception):
    """Something that a person expected did not happen; the message says what."""


@frozen
class Answer:
    """What the server said. `json`: empty when the body is no JSON object."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: dict[str, Any]


def expect(condition: object, what: str, found: object = None) -> None:
    """Raise UnmetError unless the condition holds."""
    if not condition:
        raise UnmetError(what if found is None else f"{what}: {found!r:.600}")


def segment(text: str) -> str:
    """An identifier as one segment of a path."""
    return quote(text, safe="")


@define(eq=False)
class Wire:
    """The requests of one person, as the ingress controller passes them on: with the address of the client and the scheme.

    `requests` has a row for each request that was sent: method, path and query as they went over the wire, and the status of the
    answer, which is missing (None) when none came.
    """

    base: str
    address: str
    host: str
    requests: list[tuple[str, str, int | None]] = field(factory=list)

    @property
    def headers(self) -> dict[str, str]:
        """What an ingress controller adds."""
        return {"X-Forwarded-For": self.address, "X-Forwarded-Proto": "https", "Host": self.host}

    def session(self) -> aiohttp.ClientSession:
        """An HTTP client whose requests are recorded."""
        trace = aiohttp.TraceConfig()

        async def ended(_: Any, __: Any, params: aiohttp.TraceRequestEndParams) -> None:
            self.requests.append((params.method, _target(params.url), params.response.status))

        async def failed(_: Any, __: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
            self.requests.append((params.method, _target(params.url), None))

        trace.on_request_end.append(ended)
        trace.on_request_exception.append(failed)
        # Many requests at once are many connections, as they are when many people come through an ingress controller.
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        return aiohttp.ClientSession(trace_configs=[trace], headers=self.headers, connector=connector, timeout=timeout)


def _target(url: URL) -> str:
    return str(url.raw_path_qs)


@define(eq=False)
class Person:
    """One user on one device.

    `timeline`, `ephemeral`, `to_device` and `presence` collect what sync brings: (room, event), or the event alone.
    """

    name: str
    wire: Wire
    client: nio.AsyncClient
    http: aiohttp.ClientSession
    timeline: list[tuple[str, nio.Event]] = field(factory=list)
    ephemeral: list[tuple[str, Any]] = field(factory=list)
    to_device: list[Any] = field(factory=list)
    presence: list[Any] = field(factory=list)
    invites: list[str] = field(factory=list)

    @classmethod
    async def log_in(cls, wire: Wire, server_name: str, name: str, password: str, store: Path, device: str = "first") -> "Person":
        """Log in with a password, on a new device with an empty key store in the folder `store`."""
        store.mkdir(parents=True, exist_ok=True)
        client = nio.AsyncClient(
            wire.base,
            f"@{name}:{server_name}",
            store_path=str(store),
            # Errors of the network are shown and not waited for; only 429, with the time to wait, is nio's to handle.
            config=nio.AsyncClientConfig(encryption_enabled=True, max_timeouts=0, request_timeout=_REQUEST_SECONDS),
        )
        http = wire.session()
        client.client_session = http
        person = cls(name, wire, client, http)
        client.add_event_callback(lambda room, event: person.timeline.append((room.room_id, event)), nio.Event)
        client.add_event_callback(lambda room, _: person.invites.append(room.room_id), nio.InviteEvent)
        client.add_ephemeral_callback(lambda room, event: person.ephemeral.append((room.room_id, event)), nio.EphemeralEvent)
        client.add_to_device_callback(person.to_device.append, nio.ToDeviceEvent)
        client.add_presence_callback(person.presence.append, nio.PresenceEvent)
        answer = await insist(lambda: client.login(password, device_name=device))
        if not isinstance(answer, nio.LoginResponse):
            await http.close()
            raise UnmetError(f"{name} cannot log in: {answer}")
        return person

    @property
    def id(self) -> str:
        """The user id, `@name:server`."""
        return str(self.client.user_id)

    @property
    def device(self) -> str:
        """The id of the device."""
        return str(self.client.device_id)

    async def close(self) -> None:
        """Close the connections; the person stays logged in."""
        await self.http.close()

    async def call(
        self, method: str, path: str, body: Any = None, *, token: bool = True, host: str | None = None, redirects: bool = False
    ) -> Answer:
        """One request that nio has no function for. `path`: with its query, encoded."""
        headers = {"Authorization": f"Bearer {self.client.access_token}"} if token else {}
        if host:
            headers["Host"] = host
        url = URL(self.wire.base + path, encoded=True)
        async with self.http.request(method, url, json=body, headers=headers, allow_redirects=redirects) as answer:
            content = await answer.read()
            parsed: Any = {}
            with suppress(ValueError):
                parsed = await answer.json(content_type=None)
            return Answer(
                answer.status, {k.lower(): v for k, v in answer.headers.items()}, content, parsed if isinstance(parsed, dict) else {}
            )

    async def ask(self, method: str, path: str, body: Any = None, *, token: bool = True) -> dict[str, Any]:
        """As `call`, where anything but success is a failure. Returns the JSON."""
        answer = await self.call(method, path, body, token=token)
        expect(answer.status == 200, f"{self.name}: {method} {path} was answered", (answer.status, answer.body))
        return answer.json

    async def sync(self, timeout_seconds: float = 1.0) -> None:
        """One sync from where the last one ended; waits so long for news."""
        answer = await self.client.sync(timeout=int(timeout_seconds * 1000))
        expect(isinstance(answer, nio.SyncResponse), f"{self.name}: sync", answer)
        for room in [room for room in self.invites if room in self.client.rooms]:
            self.invites.remove(room)
        if self.client.should_upload_keys:
            done(await insist(self.client.keys_upload))
        if self.client.should_query_keys:
            done(await self.client.keys_query())
        if self.client.should_claim_keys:
            done(await self.client.keys_claim(self.client.get_users_for_key_claiming()))
        await self.client.send_to_device_messages()

    async def until(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Sync until the condition's value is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise UnmetError(f"{self.name} has not seen in {seconds:.0f} s: {what}")
            await self.sync()
        return value

    async def sees(self, room: str, event_id: str) -> nio.Event:
        """Sync until an event has arrived."""

        def arrived() -> nio.Event | None:
            return next((event for place, event in self.timeline if place == room and event.event_id == event_id), None)

        return await self.until(arrived, f"the event {event_id}")

    async def say(self, room: str, text: str, **content: Any) -> str:
        """Send a text, encrypted where the room is. Returns the event's id."""
        answer = await self.client.room_send(
            room, "m.room.message", {"msgtype": "m.text", "body": text, **content}, ignore_unverified_devices=True
        )
        return str(done(answer).event_id)


def done(answer: T) -> T:
    """What nio answered, unless that is an error."""
    expect(not isinstance(answer, nio.ErrorResponse), "the server refused", answer)
    return answer


async def insist(ask: Callable[[], Awaitable[T]], attempts: int = 20) -> T:
    """Ask again, as clients do, when the server has failed: after PostgreSQL was lost, each connection that a process had kept costs an answer."""
    for _ in range(attempts - 1):
        answer = await ask()
        response = getattr(answer, "transport_response", None)
        if not isinstance(answer, nio.ErrorResponse) or response is None or response.status < 500:
            return answer
        await asyncio.sleep(1)
    return await ask()


async def eventually(question: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE) -> T:
    """Ask until the answer is true: for what the server does after it has answered, such as indexing."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise UnmetError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.2)
