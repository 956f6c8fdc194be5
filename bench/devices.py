"""Many devices that sync, for bench.stickiness: `python -m bench.devices`, with JSON on standard input.

Makes the rooms if there are none in `given`, and then takes `rounds` turns: somebody writes to each room, and every device asks for the news.
Prints the rooms and how far each device is.
"""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import quote

import aiohttp

V3 = "/_matrix/client/v3"
SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
AT_ONCE = 8
LISTS = {"all": {"ranges": [[0, 19]], "required_state": [["m.room.name", ""], ["m.room.member", "$LAZY"]], "timeline_limit": 10}}
EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}


class Devices:
    """All of them. `tokens`: of each device one for each stretch of rounds; `positions`: where each device is, empty before its first sync."""

    def __init__(self, given: dict[str, Any], http: aiohttp.ClientSession) -> None:
        self.base, self.http = given["base"], http
        self.rooms: dict[str, str] = given["rooms"]
        self.positions: dict[str, str] = given["positions"]
        self.gate = asyncio.Semaphore(AT_ONCE)

    async def ask(self, method: str, path: str, token: str, body: object = None) -> dict[str, Any]:
        """A request that must succeed."""
        async with (
            self.gate,
            self.http.request(method, f"{self.base}{path}", json=body, headers={"Authorization": f"Bearer {token}"}) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path.partition('?')[0]}: {answer.status} {found}")
            return found

    async def make_rooms(self, members: dict[str, list[str]]) -> None:
        """`members`: the tokens of who is in each room; the first makes it."""

        async def make(name: str, tokens: list[str]) -> None:
            made = await self.ask("POST", f"{V3}/createRoom", tokens[0], {"name": name, "preset": "public_chat"})
            self.rooms[made["room_id"]] = tokens[0]
            for token in tokens[1:]:
                await self.ask("POST", f"{V3}/join/{quote(made['room_id'], safe='')}", token, {})

        await asyncio.gather(*(make(name, tokens) for name, tokens in members.items()))

    async def news(self, device: str, token: str, *, sliding: bool) -> None:
        """One sync from where the last one ended."""
        position = quote(self.positions.get(device, ""), safe="")
        if sliding:
            body = {"conn_id": "main", "lists": LISTS, "extensions": EXTENSIONS}
            answer = await self.ask("POST", f"{SLIDING_SYNC}?timeout=0" + (f"&pos={position}" if position else ""), token, body)
            self.positions[device] = answer["pos"]
        else:
            answer = await self.ask("GET", f"{V3}/sync?timeout=0" + (f"&since={position}" if position else ""), token)
            self.positions[device] = answer["next_batch"]

    async def turn(self, number: int, tokens: dict[str, list[str]], lasts: int) -> None:
        """Messages, and then everybody's sync. Devices get their next token one after the other, not all at once."""
        sends = (
            self.ask(
                "PUT", f"{V3}/rooms/{quote(room, safe='')}/send/m.room.message/{number}", token, {"msgtype": "m.text", "body": f"{number}"}
            )
            for room, token in self.rooms.items()
        )
        await asyncio.gather(*sends)
        await asyncio.sleep(0.5)
        syncs = (
            self.news(device, own[(number + place) // lasts % len(own)], sliding=device.endswith("-sliding"))
            for place, (device, own) in enumerate(tokens.items())
        )
        await asyncio.gather(*syncs)


async def main() -> None:
    """See the module's own words."""
    given = json.load(sys.stdin)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120), connector=aiohttp.TCPConnector(limit=0)) as http:
        devices = Devices(given, http)
        if not devices.rooms:
            await devices.make_rooms(given["members"])
        for number in range(given["first"], given["first"] + given["rounds"]):
            await devices.turn(number, given["tokens"], given["lasts"])
        for token in given["asking"]:
            await devices.ask("GET", f"{V3}/account/whoami", token)
    print(json.dumps({"rooms": devices.rooms, "positions": devices.positions}))


asyncio.run(main())
