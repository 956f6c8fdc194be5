"""The cluster's DNS server: A records of Services and pods, and of the programs outside that tests have named: there is no Internet behind it."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import cast

A, OPT, ANY = 1, 41, 255
NO_ERROR, NAME_ERROR, NOT_IMPLEMENTED = 0, 3, 4
TTL = 5


def answer(query: bytes, names: Mapping[str, Sequence[str]], limit: int | None = None) -> bytes:
    """The response to a query of one question (RFC 1035, section 4). Raises ValueError for what is no query.

    With a `limit` in bytes, a longer response is cut to its question and says so; a query may raise it (EDNS, RFC 6891).
    A name that exists has no AAAA record: that answer is empty, and not an error. A name above one that exists is empty as well (RFC 8020).
    """
    try:
        number, flags, questions = struct.unpack_from("!HHH", query)
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode())
            position += 1 + length
        (kind,) = struct.unpack_from("!H", query, position + 1)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("not a DNS query") from error
    question = query[12 : position + 5]
    name = ".".join(labels).lower()
    addresses = names.get(name, [])
    above = any(known.endswith(f".{name}") for known in names)
    code = NOT_IMPLEMENTED if questions != 1 else NO_ERROR if addresses or above else NAME_ERROR
    records = [struct.pack("!HHHIH4s", 0xC00C, A, 1, TTL, 4, socket.inet_aton(address)) for address in addresses if kind in (A, ANY)]
    # Response, authoritative, recursion desired as asked, recursion available.
    header = struct.pack("!HHHHHH", number, 0x8480 | (flags & 0x0100) | code, 1, len(records), 0, 0)
    whole = header + question + b"".join(records)
    if limit is None or len(whole) <= max(limit, _payload_size(query[position + 5 :])):
        return whole
    return struct.pack("!HHHHHH", number, 0x8680 | (flags & 0x0100) | code, 1, 0, 0, 0) + question


def _payload_size(additional: bytes) -> int:
    """What the sender of a query can receive, as its OPT record says."""
    if len(additional) < 5:
        return 0
    name, kind, size = struct.unpack_from("!BHH", additional)
    return int(size) if (name, kind) == (0, OPT) else 0


class Server(asyncio.DatagramProtocol):
    """Answers over UDP and TCP; `names` may be replaced at any time."""

    def __init__(self) -> None:
        self.names: Mapping[str, Sequence[str]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._turn = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        """One query."""
        with contextlib.suppress(ValueError):
            assert self._transport is not None
            self._transport.sendto(answer(data, self.names, 512), addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection: queries with their lengths before them (RFC 7766)."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                text = answer(await reader.readexactly(length), self.names)
                writer.write(struct.pack("!H", len(text)) + text)
                await writer.drain()
        writer.close()
