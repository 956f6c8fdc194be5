"""One file through all engines: its bytes go to each of them as they come, so that no file is ever held as a whole."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from attrs import define, frozen

from services.scan_worker.engines import Engine, Session
from services.scan_worker.verdicts import EngineError, Finding, Verdict, combine, epoch


class TooLargeError(Exception):
    """The file has more bytes than are allowed."""


@frozen
class Outcome:
    """A file and what came of it. `verdict` is None when nobody can tell, and `errors` say why."""

    sha256: str
    size: int
    verdict: Verdict | None
    epoch: str | None
    errors: tuple[EngineError, ...]


@define
class _Running:
    """An engine at work on the file."""

    engine: Engine
    session: Session


class Scanner:
    """All engines. `max_bytes`: the largest file."""

    def __init__(self, engines: Sequence[Engine], max_bytes: int) -> None:
        self.engines = tuple(engines)
        self._max_bytes = max_bytes

    @property
    def ready(self) -> bool:
        """Whether a clean file could be told to be clean."""
        return all(engine.available for engine in self.engines)

    @property
    def epoch(self) -> str | None:
        """The signatures of all engines together."""
        return epoch({engine.name: engine.state for engine in self.engines})

    async def check(self) -> None:
        """Look after all engines once."""
        await asyncio.gather(*(engine.check() for engine in self.engines))

    async def scan(self, chunks: AsyncIterator[bytes]) -> Outcome:
        """Scan a file. Raises TooLargeError, and whatever reading `chunks` raises.

        An engine that fails is left out of the rest: another one may still find something. With none left nothing more is read.
        """
        digest, size, errors = hashlib.sha256(), 0, list[EngineError]()
        async with AsyncExitStack() as stack:
            running = [_Running(engine, session) for engine, session in await self._open(stack, errors)]
            async for chunk in chunks if running else _nothing():
                size += len(chunk)
                if size > self._max_bytes:
                    raise TooLargeError
                digest.update(chunk)
                running = await _keep(running, errors, partial(_send, chunk))
                if not running:
                    break
            findings = list[Finding]()

            async def finish(one: _Running) -> None:
                findings.append(await one.session.finish())

            await _keep(running, errors, finish)
            states = {engine.name: None for engine in self.engines} | {found.engine: found.state for found in findings}
            return Outcome(digest.hexdigest(), size, combine(findings, errors), epoch(states), tuple(errors))

    async def _open(self, stack: AsyncExitStack, errors: list[EngineError]) -> list[tuple[Engine, Session]]:
        opened = []
        for engine in self.engines:
            try:
                opened.append((engine, await stack.enter_async_context(engine.session())))
            except EngineError as error:
                errors.append(error)
        return opened


async def _keep(running: list[_Running], errors: list[EngineError], step: Callable[[_Running], Awaitable[None]]) -> list[_Running]:
    """Do a step with each engine; those that could do it."""

    async def attempt(one: _Running) -> bool:
        try:
            await step(one)
        except EngineError as error:
            errors.append(error)
            return False
        return True

    if len(running) == 1:
        return running if await attempt(running[0]) else []
    able = await asyncio.gather(*map(attempt, running))
    return [one for one, done in zip(running, able, strict=True) if done]


async def _send(chunk: bytes, one: _Running) -> None:
    await one.session.send(chunk)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
