"""What the program says: one JSON object a line, as Synapse's own log."""

import json
import sys
import time
from collections.abc import Callable

AGAIN_SECONDS = 60.0
"""After this long a reason that has not changed is said again."""


def say(text: str, level: str = "INFO") -> None:
    """Print a line of log. Not to `sys.stdout`, which Synapse turns into lines of its log as soon as it runs."""
    print(
        json.dumps({"log": text, "namespace": "synapse_start", "level": level, "time": round(time.time(), 2)}),
        file=sys.__stdout__,
        flush=True,
    )


def wait_for(missing: Callable[[], str | None]) -> None:
    """Call `missing` until it names nothing. A reason is said once a minute."""
    began, pause, said = time.monotonic(), 0.5, dict[str, float]()
    while reason := missing():
        now = time.monotonic()
        if now - said.get(reason, -AGAIN_SECONDS) >= AGAIN_SECONDS:
            say(f"waiting: {reason}")
            said[reason] = now
        time.sleep(pause)
        # A hundred processes that ask for a database twice a second would keep it from coming up.
        pause = 0.5 if now - began < 30 else 3.0
    if said:
        say(f"waited {time.monotonic() - began:.0f} s")
