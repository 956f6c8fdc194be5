"""Who may start when: programs that cost seconds of CPU to start would, all at once, run out of their startup probes."""

import asyncio

STARTING_AT_ONCE = 4
STARTING_SECONDS = 40
"""After this long a container that is not ready no longer keeps others from starting."""
WAITING = b'"log": "waiting: '
"""What a program prints that waits for others: it keeps nobody from starting either, or they would wait for each other."""


class Gate:
    """Lets so many start at once, those of the lowest rank first."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting: list[tuple[int, int]] = []
        self._moved = asyncio.Condition()
        self._count = 0

    async def enter(self, rank: int) -> None:
        """Wait for a place."""
        self._count += 1
        turn = (rank, self._count)
        self._waiting.append(turn)
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: min(self._waiting) == turn and not self._places.locked())
                await self._places.acquire()
        finally:
            self._waiting.remove(turn)
        async with self._moved:
            self._moved.notify_all()

    async def leave(self) -> None:
        """Give the place to the next."""
        self._places.release()
        async with self._moved:
            self._moved.notify_all()
