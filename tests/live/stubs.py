"""Stand-ins for the pods behind a proxy: HTTP servers that say who they are and what they received, and the DNS that names them.

Each server has a loopback address of its own, so that all listen on the same two ports, as pods do.
"""

import asyncio
import itertools
import json
import random
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from tests.live.processes import LOOPBACK, free_ports

T = TypeVar("T")


@define(eq=False)
class Stub:
    """One server. Its answer is JSON: `server`, and what it received: `method`, `target`, `headers`, `body`.

    Headers are pairs with names in lower case, the body is its number of bytes. A request's query may ask the server to wait before it
    answers (`stub_delay`, seconds) or to hang up instead (`stub_hangup`). To whoever asks whose a token is it says that too (`user_id`), and
    refuses a token that `users` has not.
    """

    name: str
    address: str
    users: dict[str, str]
    """Tokens with their users."""
    delay: float = 0
    """Seconds before it answers anybody."""
    requests: int = 0
    """How many it has received so far, health checks not counted."""
    open_requests: int = 0
    last: dict[str, str] = field(factory=dict)
    """The headers of the last one."""
    _listeners: list[asyncio.Server] = field(factory=list)
    _connections: set[asyncio.StreamWriter] = field(factory=set)

    @property
    def listening(self) -> bool:
        """Whether it has been started and not killed."""
        return bool(self._listeners)

    async def start(self, port: int, health_port: int) -> None:
        self._listeners = [
            await asyncio.start_server(self._serve, self.address, port),
            await asyncio.start_server(self._serve_health, self.address, health_port),
        ]

    async def kill(self) -> None:
        """As a process that is killed: no listener and no connection remains."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        for connection in list(self._connections):
            connection.transport.abort()

    async def _serve_health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            status = b"200 OK" if request.startswith(b"GET /health ") else b"404 Not Found"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
        body = await reader.readexactly(int(dict(headers).get("content-length", 0)))
        query = parse_qs(urlsplit(target).query)
        self.requests, self.last = self.requests + 1, dict(headers)
        if "stub_hangup" in query:
            return False
        self.open_requests += 1
        try:
            await asyncio.sleep(self.delay + float(query.get("stub_delay", ["0"])[0]))
        finally:
            self.open_requests -= 1
        answer = {"server": self.name, "method": method, "target": target, "headers": headers, "body": len(body)}
        status = "200 OK"
        if target.endswith("/account/whoami"):
            user = self.users.get(dict(headers).get("authorization", "").removeprefix("Bearer "))
            answer |= {"user_id": user} if user else {"errcode": "M_UNKNOWN_TOKEN"}
            status = status if user or not self.users else "401 Unauthorized"
        text = json.dumps(answer).encode()
        told = (f"HTTP/1.1 {status}", f"X-Server: {self.name}", "Content-Type: application/json", f"Content-Length: {len(text)}", "", "")
        writer.write("\r\n".join(told).encode() + (b"" if method == "HEAD" else text))
        await writer.drain()
        return True


@define(eq=False)
class Dns(asyncio.DatagramProtocol):
    """A DNS server that knows the addresses of names (with their final dot), and answers after up to `delay` seconds, so in any order."""

    names: dict[str, str]
    delay: float = 0
    transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        asyncio.get_running_loop().call_later(random.uniform(0, self.delay), self.transport.sendto, self._answer(data), addr)

    def _answer(self, query: bytes) -> bytes:
        """The response to a query with one question (RFC 1035, section 4)."""
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode())
            position += 1 + length
        (record_type,) = struct.unpack_from("!H", query, position + 1)
        name = ".".join(labels).lower() + "."
        address = self.names.get(name)
        answer = b""
        if address and record_type == 1:
            answer = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 5, 4, bytes(map(int, address.split("."))))
        not_found = 0 if address else 3
        return query[:2] + struct.pack("!HHHHH", 0x8580 | not_found, 1, bool(answer), 0, 0) + query[12 : position + 5] + answer


class Pods:
    """A cluster's worth of stubs, and the DNS that names them: `receipts-0.<domain>`, the domain with its final dot.

    One thread serves all.
    """

    def __init__(self, domain: str, port: int, health_port: int) -> None:
        self.domain = domain
        self.port = port
        self.health_port = health_port
        self.stubs: dict[str, Stub] = {}
        self.names: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count()

    def start(self, *names: str) -> None:
        """Start pods, each at an address that none has had before. One that runs under the same name is killed."""
        for name in names:
            if name in self.stubs:
                self.kill(name)
            number = next(self._numbers)
            stub = Stub(name, f"127.77.{number // 250}.{number % 250 + 1}", self.users)
            self._run(stub.start(self.port, self.health_port))
            self.stubs[name] = stub
            self.names[f"{name}.{self.domain}"] = stub.address

    def restart(self, *names: str) -> None:
        """Let killed pods listen again where they were."""
        for name in names:
            self._run(self.stubs[name].start(self.port, self.health_port))

    def kill(self, *names: str) -> None:
        """Let processes die. Their names stay, as those of a pod do while its container restarts."""
        for name in names:
            self._run(self.stubs[name].kill())

    def delete(self, *names: str) -> None:
        """Let pods vanish with their names, as on a scale-down."""
        for name in names:
            self.kill(name)
            del self.stubs[name]
            del self.names[f"{name}.{self.domain}"]

    def listening(self) -> set[str]:
        """The names of the pods that answer."""
        return {name for name, stub in self.stubs.items() if stub.listening}

    def dns(self, delay: float = 0) -> int:
        """Start a DNS server for the pods, and return its UDP port."""
        endpoint = self._loop.create_datagram_endpoint(lambda: Dns(self.names, delay), (LOOPBACK, 0))
        transport, _ = self._run(endpoint)
        return int(transport.get_extra_info("sockname")[1])

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @classmethod
    @contextmanager
    def running(cls, domain: str) -> Iterator["Pods"]:
        """A cluster without pods, for the time of a `with` block."""
        pods = cls(domain, *free_ports(2))
        thread = threading.Thread(target=pods._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield pods
        finally:
            pods.kill(*pods.stubs)
            pods._loop.call_soon_threadsafe(pods._loop.stop)
            thread.join(10)
            pods._loop.close()
