"""What every scan engine offers to the scanner."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.scan_worker.verdicts import EngineError, Finding, Trouble

CHUNK = 64 * 1024
"""Bytes that are handed on at once."""


class Session(Protocol):
    """One file on its way into an engine."""

    async def send(self, chunk: bytes) -> None:
        """Hand over the next bytes. Raises EngineError."""

    async def finish(self) -> Finding:
        """Say that the file is complete, and wait for what the engine says. Raises EngineError."""


class Engine(Protocol):
    """Something that scans files."""

    @property
    def name(self) -> str:
        """Its name in verdicts, logs and metrics."""

    @property
    def available(self) -> bool:
        """Whether a file can be scanned, as far as the last check knows."""

    @property
    def state(self) -> str | None:
        """Which signatures it uses; None while that is unknown, or not the same everywhere."""

    @property
    def published(self) -> float | None:
        """When the oldest signatures in use were published, in seconds since 1970; None if unknown."""

    @property
    def addresses(self) -> Mapping[str, bool]:
        """Where it runs, and whether it answered there at the last check."""

    async def check(self) -> None:
        """Look where it runs, and whether it answers there. Raises nothing: `available` says what came of it."""

    def session(self) -> AbstractAsyncContextManager[Session]:
        """A connection for one file. Raises EngineError when nothing answers."""


class Connection:
    """A TCP connection to an engine whose every wait is bounded, and whose failures are EngineErrors."""

    def __init__(self, engine: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        self._engine, self._reader, self._writer, self._seconds = engine, reader, writer, seconds
        self._hung_up: EngineError | None = None

    @classmethod
    async def open(cls, engine: str, host: str, port: int, connect_seconds: float, reply_seconds: float, limit: int) -> "Connection":
        """Connect. `limit`: the longest line of an answer, in bytes. Raises EngineError."""
        try:
            async with asyncio.timeout(connect_seconds):
                reader, writer = await asyncio.open_connection(host, port, limit=limit)
        except TimeoutError:
            raise EngineError(engine, Trouble.TIMEOUT, "connecting") from None
        except OSError as error:
            raise EngineError(engine, Trouble.UNREACHABLE, type(error).__name__) from None
        # Little is kept here, so that a slow engine slows down its client and fills nobody's memory.
        writer.transport.set_write_buffer_limits(high=2 * CHUNK)
        return cls(engine, reader, writer, reply_seconds)

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises EngineError."""
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError:
            raise EngineError(self._engine, Trouble.TIMEOUT, "sending") from None
        except OSError as error:
            raise EngineError(self._engine, Trouble.UNREACHABLE, type(error).__name__) from None

    async def offer(self, data: bytes) -> None:
        """Send bytes of a file. An engine may answer and hang up before it has all: then nothing more is sent. Raises EngineError for a wait."""
        if data and not self._hung_up:
            try:
                await self.write(data)
            except EngineError as error:
                if error.trouble is Trouble.TIMEOUT:
                    raise
                self._hung_up = error

    @property
    def hung_up(self) -> EngineError | None:
        """Why not all that was offered could be sent."""
        return self._hung_up

    async def answer_until(self, separator: bytes) -> bytes:
        """The same as `read_until`; without an answer of one who has hung up, why that was. Raises EngineError."""
        try:
            return await self.read_until(separator)
        except EngineError as error:
            raise self._hung_up or error if error.trouble is Trouble.UNREACHABLE else error from None

    async def read_until(self, separator: bytes, seconds: float | None = None) -> bytes:
        """Bytes up to and with the separator. Raises EngineError."""
        try:
            async with asyncio.timeout(self._seconds if seconds is None else seconds):
                return await self._reader.readuntil(separator)
        except TimeoutError:
            raise EngineError(self._engine, Trouble.TIMEOUT, "waiting for the answer") from None
        except asyncio.LimitOverrunError:
            raise EngineError(self._engine, Trouble.GARBAGE, "an answer without an end") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            raise EngineError(self._engine, Trouble.UNREACHABLE, type(error).__name__) from None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:3310` for IPv6. Raises ValueError that says what to write."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address: write host:port, e.g. clamav:3310")
    return host, int(port)


def printable(text: str, longest: int = 200) -> str:
    """A name out of an engine's answer as it may stand in logs and answers."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:longest]
