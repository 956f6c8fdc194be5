"""What an administrator does by Synapse's administration API, at HAProxy's internal port."""

import tempfile
from pathlib import Path
from typing import Any

from tests.live.clients.people import Person, Wire, expect, segment

ADMIN = "/_synapse/admin"


async def run(given: dict[str, Any]) -> dict[str, Any]:
    """Look at the server, at a user and at a room, and put a picture into quarantine. Returns facts, and every request.

    `given`: `base` (URL of the internal port), `host`, `server_name`, `people` (name and password of the administrator), `user` (id), `room`
    (id), `media` (`mxc://` URI).
    """
    ((name, password),) = given["people"].items()
    with tempfile.TemporaryDirectory() as store:
        admin = await Person.log_in(Wire(given["base"], "203.0.113.99", given["host"]), given["server_name"], name, password, Path(store))
    version = await admin.ask("GET", f"{ADMIN}/v1/server_version")
    user = await admin.ask("GET", f"{ADMIN}/v2/users/{segment(given['user'])}")
    room = await admin.ask("GET", f"{ADMIN}/v1/rooms/{segment(given['room'])}")
    medium = given["media"].removeprefix("mxc://")
    await admin.ask("POST", f"{ADMIN}/v1/media/quarantine/{medium}", {})
    seen = await admin.call("GET", f"/_matrix/client/v1/media/download/{medium}")
    expect(seen.status == 404, "what is in quarantine is not given out", seen.status)
    await admin.close()
    return {
        "version": version["server_version"],
        "user": user["name"],
        "members": room["joined_members"],
        "requests": [{"by": admin.wire.address, "method": m, "target": t, "status": s} for m, t, s in admin.wire.requests],
    }
