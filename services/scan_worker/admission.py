"""So many files at once, so many more that wait, and no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BusyError(Exception):
    """There is no place, or none became free in time."""


class Admission:
    """Places for files."""

    def __init__(self, places: int, queue: int, queue_seconds: float) -> None:
        self._free = asyncio.Semaphore(places)
        self._queue, self._seconds = queue, queue_seconds
        self.scanned_now = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for the time of a block. Raises BusyError."""
        if self._free.locked() and self.waiting >= self._queue:
            raise BusyError
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError from None
        finally:
            self.waiting -= 1
        self.scanned_now += 1
        try:
            yield
        finally:
            self.scanned_now -= 1
            self._free.release()
