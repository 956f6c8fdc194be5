"""Run what people do from inside a cluster: `python -m tests.live.clients use|administer|officers|traffic`, with JSON on standard input.

`administer`: see administration.py. `officers`: see officers.py.
`use`: prints one JSON value: for each scenario its facts or the reason of its failure, and every request that was made.
`traffic`: see traffic.py.
"""

import asyncio
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.live.clients import administration, officers, scenarios, traffic
from tests.live.clients.people import Person, UnmetError, Wire
from tests.live.clients.scenarios import SCENARIOS, Cast, Place

SECONDS = 60.0
"""What one scenario may take."""


async def use(given: dict[str, Any]) -> dict[str, Any]:
    """All scenarios, in order. One that fails does not keep the next from being tried, except the first, which makes the rooms.

    `given`: `base` (URL of HAProxy's public port), `host` (what clients ask for), `place` (fields of `Place`), `people` (the passwords of
    alice, bob and the bot, by name), `only` (names of scenarios; all if it is missing), `elsewhere` (for who is at another server: his name,
    to `base`, `host` and `server_name` of that one), `server_name` of the others where the rooms are made by who is elsewhere, `network` (the
    first three bytes of their addresses).
    """
    place = Place(**given["place"])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as store:
        network, here = given.get("network", "203.0.113"), {"server_name": place.server_name} | given
        people = []
        for number, (name, password) in enumerate(given["people"].items(), 1):
            at = given.get("elsewhere", {}).get(name, here)
            wire = Wire(at["base"], f"{network}.{number}", at["host"])
            people.append(await Person.log_in(wire, at["server_name"], name, password, Path(store) / name))
        alice, bob, bot = people
        cast = Cast(place, given["people"], alice, bob, bot)
        chosen = [scenario for scenario in SCENARIOS if scenario.__name__ in given.get("only", [s.__name__ for s in SCENARIOS])]
        for scenario in (scenarios.rooms, *chosen):
            started = time.monotonic()
            try:
                facts: dict[str, Any] = {"facts": await asyncio.wait_for(scenario(cast), SECONDS)}
            except UnmetError as failure:
                facts = {"failed": str(failure)}
            except Exception:
                facts = {"failed": traceback.format_exc()}
            results[scenario.__name__] = {**facts, "seconds": round(time.monotonic() - started, 2)}
            if scenario is scenarios.rooms and "failed" in facts:
                break
        for person in people:
            await person.close()
    return {
        "scenarios": results,
        "requests": [
            {"by": person.wire.address, "method": method, "target": target, "status": status}
            for person in people
            for method, target, status in person.wire.requests
        ],
    }


def main() -> None:
    """See the module's own words."""
    given = json.load(sys.stdin)
    if sys.argv[1:] == ["use"]:
        print(json.dumps(asyncio.run(use(given)), indent=1))
    elif sys.argv[1:] == ["administer"]:
        print(json.dumps(asyncio.run(administration.run(given)), indent=1))
    elif sys.argv[1:] == ["officers"]:
        print(json.dumps(asyncio.run(officers.run(given)), indent=1))
    elif sys.argv[1:] == ["traffic"]:
        asyncio.run(traffic.run(given))
    else:
        sys.exit(__doc__)


main()
