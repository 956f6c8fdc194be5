"""What officers do from where the ingress controller is: `python -m tests.live.clients officers`, and what people do meanwhile.

`given`: `people` (passwords of two users of the main instance), `officer` (name and password of an account of the other one), `main`,
`homeserver`, `cases` (URLs of what the ingress leads to), `host` (of the cases), `server_name`, `investigator` and `approver` (the common names
of two officers' certificates). Prints facts as JSON.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
from attrs import frozen

PATIENCE = 60.0


@frozen
class Caller:
    """Somebody who asks one of the hosts. `officer`: whose certificate the ingress has verified."""

    session: aiohttp.ClientSession
    base: str
    officer: str = ""
    token: str = ""
    host: str = ""

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.officer:
            headers["X-Forwarded-Tls-Client-Cert-Info"] = quote(f'Subject="CN={self.officer}"', safe="")
        if self.host:
            headers["Host"] = self.host
        async with self.session.request(method, f"{self.base}{path}", json=body, headers=headers) as answer:
            try:
                return answer.status, await answer.json(content_type=None)
            except ValueError:
                return answer.status, None

    async def must(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a good answer."""
        status, found = await self.ask(method, path, body)
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {status} {found}")
        return found


async def log_in(session: aiohttp.ClientSession, base: str, name: str, password: str, officer: str = "") -> Caller:
    """Log in with a password."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    found = await Caller(session, base, officer).must("POST", "/_matrix/client/v3/login", body)
    return Caller(session, base, officer, found["access_token"])


async def run(given: dict[str, Any]) -> dict[str, Any]:
    """One case, from before it is requested until after it is closed."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session:
        alice, mallory = [await log_in(session, given["main"], name, password) for name, password in given["people"].items()]
        names = [f"@{name}:{given['server_name']}" for name in given["people"]]
        room: str = (await alice.must("POST", "/_matrix/client/v3/createRoom", {"invite": [names[1]]}))["room_id"]
        await mallory.must("POST", f"/_matrix/client/v3/join/{quote(room)}")
        name, password = given["officer"]
        officer = await log_in(session, given["homeserver"], name, password, given["investigator"])
        reading = f"/_synapse/admin/v1/rooms/{quote(room)}/messages?dir=b&limit=50"
        facts: dict[str, Any] = {"without a case": (await officer.ask("GET", reading))[0]}

        investigator, approver = [Caller(session, given["cases"], given[who], host=given["host"]) for who in ("investigator", "approver")]
        case = f"/api/v1/cases/{(await investigator.must('POST', '/api/v1/cases', request(given, names[1])))['id']}"
        facts["approved by who requested it"] = (await investigator.ask("POST", f"{case}/approve", {"reason": "I am in a hurry"}))[0]
        await approver.must("POST", f"{case}/approve", {"reason": "The order is in force"})
        facts["approved and not open"] = (await officer.ask("GET", reading))[0]
        await investigator.must("POST", f"{case}/open", {"reason": "Beginning"})

        facts["seconds"] = [await seen_after(mallory, officer, room, reading, f"message {number}") for number in range(5)]
        writing = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/1"
        facts["writing"] = (await officer.ask("PUT", writing, {"msgtype": "m.text", "body": "never"}))[0]
        facts["logging in as somebody"] = (await officer.ask("POST", f"/_synapse/admin/v1/users/{quote(names[1])}/login", {}))[0]
        facts["somebody else"] = (await officer.ask("GET", f"/_synapse/admin/v2/users/{quote(names[0])}"))[0]
        facts["synchronisation"] = await investigator.must("GET", "/synchronisation/api/v1/status")
        await investigator.must("POST", f"{case}/close", {"reason": "Done"})
        facts["after it is closed"] = (await officer.ask("GET", reading))[0]
        facts["main's password"] = (await password_of_main(session, given))[0]
        return facts


def request(given: dict[str, Any], target: str) -> dict[str, Any]:
    """A request of a case for an hour, with the fields of ETSI TS 103 120."""
    start = datetime.now(UTC)
    order = {
        "AuthorisationReference": "12 Gs 345/26",
        "AuthorisationLegalType": "StPO 100a",
        "AuthorisationLegalEntity": "Amtsgericht Musterstadt",
        "AuthorisationManualInformation": "Messages of one suspect",
        "DocumentName": "order-345.pdf",
        "DocumentSHA256": "ab" * 32,
    }
    timespan = {"StartTime": start.isoformat(), "EndTime": (start + timedelta(hours=1)).isoformat()}
    return {"order": order, "AuthorisationTimespan": timespan, "targets": [target], "acting": [given["investigator"]]}


async def seen_after(sender: Caller, reader: Caller, room: str, reading: str, text: str) -> float:
    """How long after main has answered a message is shown to the officer."""
    path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/{time.time_ns()}"
    sent: str = (await sender.must("PUT", path, {"msgtype": "m.text", "body": text}))["event_id"]
    begin = time.monotonic()
    while time.monotonic() < begin + PATIENCE:
        shown = (await reader.must("GET", reading))["chunk"]
        if any(event["event_id"] == sent and event["content"].get("body") == text for event in shown):
            return round(time.monotonic() - begin, 2)
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{text} is not shown within {PATIENCE:.0f} s")


async def password_of_main(session: aiohttp.ClientSession, given: dict[str, Any]) -> tuple[int, Any]:
    """A user of main tries to log in to the other instance."""
    name, password = next(iter(given["people"].items()))
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    return await Caller(session, given["homeserver"], given["investigator"]).ask("POST", "/_matrix/client/v3/login", body)
