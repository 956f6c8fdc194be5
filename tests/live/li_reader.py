"""Somebody who looks at LI with an open /sync, and when they saw what."""

import contextlib
import threading
import time
from collections.abc import Collection, Iterator

from attrs import define, field

from tests.live.li_stack import User
from tests.live.processes import wait_for


@define
class Reader:
    """Follows one user's rooms by incremental /sync."""

    user: User
    seen: dict[str, float] = field(factory=dict)
    """Event id to the time.time() at which it was shown first."""
    twice: list[str] = field(factory=list)
    errors: list[str] = field(factory=list)
    limited: int = 0
    """Timelines in which the server left events out."""
    token: str = ""
    ending: threading.Event = field(factory=threading.Event)

    def follow(self) -> None:
        """Until told to end."""
        while not self.ending.is_set():
            answer = self.user.sync(self.token, 2000)
            if answer.status != 200:
                self.errors.append(f"{answer.status} {str(answer.body)[:100]}")
                self.ending.wait(0.3)
                continue
            self.token = answer.body["next_batch"]
            for room in answer.body.get("rooms", {}).get("join", {}).values():
                self.limited += bool(room["timeline"].get("limited"))
                for event in room["timeline"]["events"]:
                    if event["event_id"] in self.seen:
                        self.twice.append(event["event_id"])
                    self.seen.setdefault(event["event_id"], time.time())

    def wait_for(self, events: Collection[str], seconds: float) -> None:
        """Wait until all of these have been shown. Raises TimeoutError with how many have not."""
        try:
            wait_for(lambda: all(event in self.seen for event in events), seconds, "events on LI")
        except TimeoutError:
            lost = [event for event in events if event not in self.seen]
            raise TimeoutError(f"{len(lost)} of {len(events)} events are not shown on LI after {seconds} s; token {self.token}") from None


@contextlib.contextmanager
def reading(user: User) -> Iterator[Reader]:
    """A reader for the time of a block, who has read all that there was before."""
    reader = Reader(user, token=user.sync().ok()["next_batch"])
    thread = threading.Thread(target=reader.follow, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        reader.ending.set()
        thread.join(60)
