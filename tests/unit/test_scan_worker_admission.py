"""Places for files: never more than there are, and nobody waits for ever."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scan_worker.admission import Admission, BusyError


@settings(max_examples=50, deadline=None)
@given(places=st.integers(1, 5), queue=st.integers(0, 5), files=st.integers(0, 20))
def test_so_many_are_scanned_so_many_wait_and_the_rest_is_turned_away(places: int, queue: int, files: int) -> None:
    async def run() -> tuple[int, int]:
        admission, most, done = Admission(places, queue, 10), 0, 0
        gate = asyncio.Event()

        async def file() -> bool:
            nonlocal most, done
            try:
                async with admission.place():
                    most = max(most, admission.scanned_now)
                    await gate.wait()
                    done += 1
            except BusyError:
                return False
            return True

        tasks = [asyncio.create_task(file()) for _ in range(files)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        accepted = sum(await asyncio.gather(*tasks))
        assert (admission.scanned_now, admission.waiting) == (0, 0)
        return most, accepted

    most, accepted = asyncio.run(run())
    assert most == min(files, places)
    assert accepted == min(files, places + queue)


def test_who_waits_too_long_is_turned_away_and_leaves_the_queue() -> None:
    async def run() -> None:
        admission = Admission(1, 5, 0.05)
        async with admission.place():
            with pytest.raises(BusyError):
                async with admission.place():
                    pass
            assert (admission.scanned_now, admission.waiting) == (1, 0)
        async with admission.place():
            assert admission.scanned_now == 1

    asyncio.run(run())
