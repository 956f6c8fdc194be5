"""clamd over TCP: one session for a file, in which it first proves that it detects, and says with which signatures.

The mirror adds one signature of its own to the databases (services/signature_mirror): it matches `PROBE` alone, and its name says which
list of databases it belongs to. clamd's VERSION cannot say that: it does not change with most updates.

The commands are those of clamd(8); an answer within IDSESSION begins with the number of its command.
"""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from attrs import define, frozen

from services.scan_worker.engines import Connection, Session, address, printable
from services.scan_worker.verdicts import EngineError, Finding, Trouble

PROBE = b"matrix-platform signature probe 5f0c3b1e9a7d4c62\n"
"""What services/signature_mirror makes a signature of."""
LARGEST_FILE = 2**31 - 1
"""clamd scans nothing of 2 GiB and more (clamd.conf(5), MaxFileSize)."""

_PROBE_NAME = re.compile(r"^MatrixPlatform\.Signatures\.(?P<published>\d+)\.(?P<digest>[0-9a-f]{32})(\.UNOFFICIAL)?$")
_ANSWER = re.compile(r"\d+: stream: (?:(?P<clean>OK)|(?P<found>.+) FOUND|(?P<error>.+) ERROR)", re.ASCII)
_DETAIL = re.compile(r"\([0-9a-f]{32}:\d+\)$")
"""What ExtendedDetectionInfo adds to a name."""
_LONGEST_ANSWER = 4096


@frozen
class Signatures:
    """Databases that a clamd has loaded: the digest of the mirror's list, and when the newest was published (0: unknown)."""

    digest: str
    published: int


def parse_answer(engine: str, line: bytes) -> str | None:
    """The name of what clamd has found, None for OK. Raises EngineError."""
    text = line.rstrip(b"\0").decode("utf-8", "replace")
    match = _ANSWER.fullmatch(text)
    if match and match["clean"]:
        return None
    if match and match["found"]:
        return printable(_DETAIL.sub("", match["found"]))
    if (match and match["error"]) or text.endswith(" ERROR"):
        raise EngineError(engine, Trouble.REFUSED, printable(text))
    raise EngineError(engine, Trouble.GARBAGE)


def parse_signatures(name: str | None) -> Signatures | None:
    """What the name of the mirror's own signature says; None if that was not what has matched."""
    match = _PROBE_NAME.match(name or "")
    return Signatures(match["digest"], int(match["published"])) if match else None


def chunk(data: bytes) -> bytes:
    """Bytes as INSTREAM wants them."""
    return len(data).to_bytes(4, "big") + data


END = bytes(4)


@define
class _Member:
    """One clamd, as the last check has seen it."""

    healthy: bool = False
    signatures: Signatures | None = None
    files: int = 0
    late: int = 0
    """Checks in a row that it has accepted and not answered in time."""


class Clamd:
    """All clamd of the configured names: each address that a name resolves to is one.

    `probe_seconds`: how long the probe may take, which waits behind other files; `reply_seconds`: how long anything else may.
    """

    name = "clamav"

    def __init__(self, addresses: Sequence[str], connect_seconds: float, probe_seconds: float, reply_seconds: float) -> None:
        self._names = [address(text) for text in addresses]
        self._connect_seconds, self._probe_seconds, self._reply_seconds = connect_seconds, probe_seconds, reply_seconds
        self._members: dict[tuple[str, int], _Member] = {}

    @property
    def available(self) -> bool:
        """Whether one of them answers."""
        return any(member.healthy for member in self._members.values())

    @property
    def state(self) -> str | None:
        """The digest of the signatures, if all that answer have the same."""
        digests = {member.signatures.digest if member.signatures else None for member in self._members.values() if member.healthy}
        return digests.pop() if len(digests) == 1 else None

    @property
    def published(self) -> float | None:
        """When the oldest signatures in use were published."""
        known = [m.signatures.published for m in self._members.values() if m.healthy and m.signatures and m.signatures.published]
        return float(min(known)) if known else None

    @property
    def addresses(self) -> Mapping[str, bool]:
        """Each address, and whether it answers."""
        return {f"{host}:{port}": member.healthy for (host, port), member in self._members.items()}

    async def check(self) -> None:
        """Resolve the names, and have each clamd scan the probe."""
        resolved = await asyncio.gather(*(self._resolve(host, port) for host, port in self._names))
        if all(found is not None for found in resolved):
            known = {one for found in resolved for one in found or ()}
            self._members = {one: self._members.get(one, _Member()) for one in sorted(known)}
        # Without an answer from DNS, what was known before may still be right.
        await asyncio.gather(*(self._check_member(one) for one in list(self._members)))

    async def _resolve(self, host: str, port: int) -> set[tuple[str, int]] | None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return None
        return {(str(sockaddr[0]), port) for *_, sockaddr in found}

    async def _check_member(self, where: tuple[str, int]) -> None:
        try:
            (await self._open(where)).close()
            self._members[where].late = 0
        except EngineError as error:
            self._members[where].late += 1
            # A probe waits behind the files that a busy clamd has been given: that alone is no failure.
            if error.trouble is not Trouble.TIMEOUT or self._members[where].late > 1:
                self._mark_unhealthy(where)

    def _mark_unhealthy(self, where: tuple[str, int]) -> None:
        if where in self._members:
            self._members[where].healthy = False

    async def _open(self, where: tuple[str, int]) -> "_Files":
        connection = await Connection.open(self.name, *where, self._connect_seconds, self._reply_seconds, _LONGEST_ANSWER)
        try:
            await connection.write(b"zIDSESSION\0zINSTREAM\0" + chunk(PROBE) + END)
            signatures = parse_signatures(parse_answer(self.name, await connection.read_until(b"\0", self._probe_seconds)))
        except BaseException:
            connection.close()
            raise
        member = self._members.setdefault(where, _Member())
        member.healthy, member.signatures = True, signatures
        return _Files(self.name, connection, signatures.digest if signatures else None)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session with the clamd that has the fewest files of ours; with the next one if it does not answer."""
        error = EngineError(self.name, Trouble.UNREACHABLE, "no clamd answers")
        healthy = [where for where, member in self._members.items() if member.healthy]
        random.shuffle(healthy)  # of those with equally many any one: all workers would begin with the same
        for where in sorted(healthy, key=lambda where: self._members[where].files):
            try:
                files = await self._open(where)
            except EngineError as failure:
                self._mark_unhealthy(where)
                error = failure
                continue
            member = self._members[where]
            member.files += 1
            try:
                yield files
            except EngineError as failure:
                if failure.trouble is not Trouble.REFUSED:
                    self._mark_unhealthy(where)
                raise
            finally:
                member.files -= 1
                files.close()
            return
        raise error


class _Files:
    """A session after the probe."""

    def __init__(self, name: str, connection: Connection, state: str | None) -> None:
        self._name, self._connection, self._state, self._begun = name, connection, state, False

    def _begin(self) -> bytes:
        begun, self._begun = self._begun, True
        return b"" if begun else b"zINSTREAM\0"

    async def send(self, data: bytes) -> None:
        """Hand over bytes. After clamd has hung up nothing more is sent; its answer says why."""
        if data:
            await self._connection.offer(self._begin() + chunk(data))

    async def finish(self) -> Finding:
        """Say that this was all, and wait for the answer."""
        await self._connection.offer(self._begin() + END)
        found = parse_answer(self._name, await self._connection.answer_until(b"\0"))
        if self._connection.hung_up:
            # An answer to a file that was not all there.
            raise self._connection.hung_up
        return Finding(self._name, found, self._state)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
