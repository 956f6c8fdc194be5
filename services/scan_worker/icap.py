"""Other engines by ICAP (RFC 3507): the file goes to the server as the body of an HTTP response that it may pass or modify (RESPMOD).

`Allow: 204` asks the server to answer 204 for what it would pass unmodified: then the file is clean. What it has found it says in one of
the headers that such servers use: X-Infection-Found, X-Virus-ID, X-Violations-Found (draft-stecher-icap-subid-00). Its ISTag names
the state of the service and changes with its signatures (RFC 3507, 4.7), so it is what verdicts are kept under.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from attrs import frozen

from services.scan_worker.engines import Connection, Session, printable
from services.scan_worker.verdicts import EngineError, Finding, Trouble

DEFAULT_PORT = 1344
_LONGEST_HEADER = 32 * 1024
_THREAT = re.compile(r"Threat=([^;]+)", re.IGNORECASE)


@frozen
class Service:
    """Where a service is: icap://host:port/path."""

    host: str
    port: int
    url: str


def service(url: str) -> Service:
    """Read an address. Raises ValueError that says what to write."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme != "icap" or not parts.hostname or port == 0 or parts.username or any(c.isspace() for c in url):
        raise ValueError(f"{url!r} is no address of an ICAP service: write icap://host:1344/service")
    return Service(parts.hostname, port or DEFAULT_PORT, url)


@frozen
class Answer:
    """The head of an ICAP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def state(self) -> str | None:
        """The ISTag."""
        return printable(self.headers.get("istag", "").strip().strip('"')) or None

    @property
    def threat(self) -> str | None:
        """The name of what was found, None if the headers tell of nothing."""
        if text := self.headers.get("x-infection-found"):
            match = _THREAT.search(text)
            return printable(match[1].strip() if match else "unnamed")
        if text := self.headers.get("x-virus-id"):
            return printable(text.strip())
        return "policy violation" if "x-violations-found" in self.headers else None


def parse_head(engine: str, head: bytes, protocol: str = "ICAP") -> Answer:
    """Read status line and headers. Raises EngineError."""
    lines = head.decode("latin-1").split("\r\n")
    match = re.match(rf"^{protocol}/\d\.\d (\d{{3}})( |$)", lines[0])
    if not match:
        raise EngineError(engine, Trouble.GARBAGE)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        # A line that goes on from the one before begins with white space: c-icap's X-Violations-Found does that.
        if separator and not name[:1].isspace():
            headers[name.strip().lower()] = value.strip()
    return Answer(int(match[1]), headers)


def judge(engine: str, answer: Answer, inner: Answer | None) -> Finding:
    """What an answer to RESPMOD says; `inner` is the head of the HTTP response in it. Raises EngineError if that is nothing."""
    if answer.threat:
        return Finding(engine, answer.threat, answer.state)
    if answer.status == 204:
        return Finding(engine, None, answer.state)
    if answer.status == 200 and inner and inner.status >= 400:
        # It has put a page of its own in the file's place and does not say why.
        return Finding(engine, "blocked", answer.state)
    if answer.status in (200, 201, 206):
        raise EngineError(engine, Trouble.GARBAGE, "it has modified the file and found nothing")
    raise EngineError(engine, Trouble.REFUSED, f"status {answer.status}")


class Icap:
    """One ICAP service."""

    def __init__(self, name: str, url: str, connect_seconds: float, reply_seconds: float) -> None:
        self._name, self._service = name, service(url)
        self._connect_seconds, self._reply_seconds = connect_seconds, reply_seconds
        self._state: str | None = None
        self._available = False

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    @property
    def available(self) -> bool:
        """Whether it answers."""
        return self._available

    @property
    def state(self) -> str | None:
        """Its ISTag."""
        return self._state

    @property
    def published(self) -> float | None:
        """Not known of an ICAP service."""
        return None

    @property
    def addresses(self) -> Mapping[str, bool]:
        """Its address, and whether it answers."""
        return {f"{self._service.host}:{self._service.port}": self._available}

    async def check(self) -> None:
        """Ask for its options."""
        try:
            connection = await self._connect()
            try:
                await connection.write(self._head("OPTIONS", "Encapsulated: null-body=0\r\n"))
                answer = parse_head(self._name, await connection.read_until(b"\r\n\r\n"))
            finally:
                connection.close()
        except EngineError:
            self._available = False
            return
        self._available, self._state = answer.status == 200, answer.state

    def _head(self, method: str, rest: str) -> bytes:
        where = self._service
        host = f"[{where.host}]" if ":" in where.host else where.host
        return f"{method} {where.url} ICAP/1.0\r\nHost: {host}:{where.port}\r\nConnection: close\r\n{rest}\r\n".encode()

    async def _connect(self) -> Connection:
        where = self._service
        return await Connection.open(self._name, where.host, where.port, self._connect_seconds, self._reply_seconds, _LONGEST_HEADER)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection on which one file is sent."""
        connection = await self._connect()
        try:
            request = b"GET http://matrix-media/file HTTP/1.1\r\nHost: matrix-media\r\n\r\n"
            response = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            encapsulated = f"req-hdr=0, res-hdr={len(request)}, res-body={len(request) + len(response)}"
            await connection.write(self._head("RESPMOD", f"Allow: 204\r\nEncapsulated: {encapsulated}\r\n") + request + response)
            yield _File(self._name, connection)
        finally:
            connection.close()


class _File:
    """A file as the body of a RESPMOD request."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._name, self._connection = name, connection

    async def send(self, data: bytes) -> None:
        """Hand over bytes. A server may answer and hang up before it has all of the file: then its answer counts."""
        if data:
            await self._connection.offer(b"%x\r\n" % len(data) + data + b"\r\n")

    async def finish(self) -> Finding:
        """Say that this was all, and read the answer."""
        await self._connection.offer(b"0\r\n\r\n")
        answer = parse_head(self._name, await self._connection.answer_until(b"\r\n\r\n"))
        inner = None
        if answer.status == 200 and "res-hdr" in answer.headers.get("encapsulated", ""):
            inner = parse_head(self._name, await self._connection.answer_until(b"\r\n\r\n"), "HTTP")
        finding = judge(self._name, answer, inner)
        if self._connection.hung_up and finding.signature is None:
            # It did not wait for all of the file: so it has not looked at all of it.
            raise self._connection.hung_up
        return finding
