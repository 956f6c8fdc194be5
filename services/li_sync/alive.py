"""A file that is touched as long as a program of Celery goes on, for whoever has to know from outside."""

import tempfile
from pathlib import Path

from celery import signals

FILE = Path(tempfile.gettempdir()) / "li-sync-alive"


def touch(**_: object) -> None:
    """Be seen."""
    FILE.touch()


def announce_worker() -> None:
    """The worker's own loop sends a heartbeat every two seconds, whatever its tasks do."""
    signals.heartbeat_sent.connect(touch, weak=False)


def announce_beat() -> None:
    """The beat lives while it sends tasks: `watch` is due every few seconds."""
    signals.before_task_publish.connect(touch, weak=False)
