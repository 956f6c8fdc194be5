"""One run of a task: alone, with its checkpoint, and an error is an error."""

import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from attrs import define

from services.li_sync.checkpoint import Checkpoint, Checkpoints
from services.li_sync.media import mirror_media, mirror_new_media
from services.li_sync.postgres import Busy, Lock, Problem, locked
from services.li_sync.prepare import prepare
from services.li_sync.rebuild import rebuild
from services.li_sync.refresh import refresh
from services.li_sync.settings import InvalidSettings, Settings
from services.li_sync.tables import UnknownSchema
from services.li_sync.verify import verify
from services.li_sync.watch import watch


@define
class Run:
    """What a task is given: where it may say what it does, and whether it is still alone."""

    checkpoints: Checkpoints
    checkpoint: Checkpoint
    lock: Lock

    def step(self, what: str) -> None:
        """Note what is being done."""
        self.checkpoint = self.checkpoints.step(self.checkpoint, what)

    def check(self) -> None:
        """Raise if another run may have begun."""
        self.lock.check()


_Task = Callable[[Settings, Run], Mapping[str, Any]]

_RUNS: Mapping[str, _Task] = {
    "prepare": lambda settings, run: prepare(settings, run.step, run.check),
    "verify": lambda settings, run: verify(settings, run.step),
    "mirror_media": lambda settings, run: mirror_media(settings, run.step, run.check),
    "mirror_new_media": lambda settings, _: mirror_new_media(settings),
    "refresh": lambda settings, run: refresh(settings.refresh, run.step),
    "rebuild": lambda settings, run: rebuild(settings, run.step, run.check),
    "watch": lambda settings, run: watch(settings, run.checkpoint.facts),
}


def run_task(settings: Settings, task: str) -> Mapping[str, Any]:
    """Run a task to its end; what it found. Raises Busy where a run is at work, else what the task raises, after noting it."""
    checkpoints = Checkpoints(settings.state)
    with locked(settings, task) as lock:
        run = Run(checkpoints, checkpoints.begin(task), lock)
        try:
            facts = _RUNS[task](settings, run)
        except Exception as error:
            checkpoints.fail(run.checkpoint, explain(error))
            raise
        checkpoints.succeed(run.checkpoint, facts)
        return facts


def explain(error: BaseException) -> str:
    """An error for people. Of one that is not ours only what the server calls it: its text may quote what it was sent."""
    if isinstance(error, Problem | Busy | InvalidSettings | UnknownSchema):
        return str(error)
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if primary or not isinstance(error, psycopg.OperationalError):
        return f"{type(error).__name__}: {primary}" if primary else type(error).__name__
    return "a database is not there: " + str(error).splitlines()[0][:300]


def stopping() -> threading.Event:
    """Set when the program is told to end."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: event.set())
    return event
