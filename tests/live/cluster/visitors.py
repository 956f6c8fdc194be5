"""Programs that tests run: in a network namespace of their own, inside or outside the pods' network, or on the node itself."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from attrs import define

from tests.live.cluster import network
from tests.live.cluster.container import read_first_process
from tests.live.cluster.files import STATE
from tests.live.cluster.node import Node
from tests.live.cluster.pods import User
from tests.live.cluster.sandbox import container_command, etc_files
from tests.live.cluster.services import Backend
from tests.live.cluster.substitutes import image

_WORLD = IPv4Network("1.1.1.0/24")
"""Public addresses, such as no policy calls private or reserved."""
_NOBODY = User(65534, 65534, (), (), True)


@define(eq=False)
class Visitor:
    """A program of a test, and the files that it reads and writes."""

    folder: Path
    interface: str
    process: asyncio.subprocess.Process
    first_process: int
    names: tuple[str, ...]

    def text(self, name: str) -> str:
        """What it has printed: `output` or `errors`."""
        return (self.folder / name).read_text(errors="replace")


class Visitors:
    """All of them, by key."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[str, Visitor] = {}
        self._world_addresses = map(str, _WORLD.hosts())

    async def launch(self, command: Sequence[str], place: Mapping[str, Any], environment: Mapping[str, str], given: str) -> str:
        """Start one. `place`: a `client.Place`. Returns its key."""
        node, kind = self._node, place["kind"]
        interface = node.next_interface()
        key, address = f"client-{interface}", node.node_address
        if kind != "node":
            address = next(self._world_addresses) if kind == "world" else node.next_address()
            await network.add(interface, interface, address, node.node_address)
        if kind == "pod":
            node.guests[key] = Backend(place["namespace"], key, place["labels"], address, ready=True)
        node.guest_names |= {name: [address] for name in place["names"]}
        if kind == "pod" or place["names"]:
            await node.changed()
        folder = STATE / "clients" / key
        (folder / "etc").mkdir(parents=True)
        (folder / "given").write_text(given)
        search = [f"matrix.svc.{node.domain}", f"svc.{node.domain}", node.domain]
        for name, text in etc_files(key, address, _NOBODY, nameserver=network.DNS_ADDRESS, search=search, dns={}).items():
            (folder / "etc" / name).write_text(text)
        stand_in = image("substitute/client")
        information, theirs = os.pipe()
        words = container_command(
            stand_in,
            command,
            _NOBODY,
            network=interface if kind != "node" else None,
            hostname=key,
            etc=folder / "etc",
            mounts=[],
            read_only=False,
            information=theirs,
        )
        with (folder / "given").open("rb") as stdin, (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=stdin,
                stdout=output,
                stderr=errors,
                env={**stand_in.variables(""), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **environment},
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        own = interface if kind != "node" else ""
        self._known[key] = Visitor(folder, own, process, await read_first_process(information), tuple(place["names"]))
        return key

    def running(self, key: str) -> bool:
        """Whether it has not ended."""
        return self._known[key].process.returncode is None

    def output(self, key: str) -> str:
        """What it has printed so far."""
        return self._known[key].text("output")

    def signal(self, key: str, number: int) -> None:
        """Send it a signal."""
        if self.running(key):
            os.kill(self._known[key].first_process, number)

    async def wait(self, key: str, seconds: float) -> dict[str, Any]:
        """Its end, and the end of its network: a `client.Completed` without the command."""
        visitor = self._known[key]
        try:
            code = await asyncio.wait_for(visitor.process.wait(), seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(visitor.first_process or visitor.process.pid, signal.SIGKILL)
            await visitor.process.wait()
            code = 124
        if visitor.interface:
            await network.remove(visitor.interface, visitor.interface)
            visitor.interface = ""
        for name in visitor.names:
            self._node.guest_names.pop(name, None)
        if self._node.guests.pop(key, None) or visitor.names:
            await self._node.changed()
        return {"code": code if code >= 0 else 128 - code, "output": visitor.text("output"), "errors": visitor.text("errors")}
