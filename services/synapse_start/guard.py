"""What looks after a Synapse process from within: it stops it when the list of writers has changed, and ends a start that hangs."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import psycopg2
from attrs import define, field

from services.synapse_start.shards import Session, Shards
from services.synapse_start.speech import say

LOOK_SECONDS = 30.0
"""How often the list is read without having been told of a change."""
STOP_SECONDS = 20.0
"""How long Synapse may take to stop."""


@define
class Guard:
    """A thread beside Synapse. `session` holds the lock on `shards`; `connect` makes another session when it is lost."""

    session: Session
    shards: Shards
    connect: Callable[[], Session]
    health_port: int
    start_seconds: float
    main_version: str | None = None
    """Main's own version of Synapse, which the workers wait for; None for a worker."""
    superseded: bool = False
    _listening: bool = False
    _began: float = field(factory=time.monotonic)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="guard", daemon=True).start()

    def serving(self) -> bool:
        """Whether Synapse has come up and has not been told to stop."""
        return self._listening and not self.superseded

    def _run(self) -> None:
        while True:
            self._look_after_the_start()
            try:
                if not self.session.hold(self.shards):
                    self._stop()
                if self._listening and self.main_version:
                    self.session.came_up(self.main_version)
                    self.main_version = None
                self.session.wait(LOOK_SECONDS if self._listening else 1.0)
            except (psycopg2.Error, OSError):
                self._connect_again()

    def _look_after_the_start(self) -> None:
        if self._listening:
            return
        with socket.socket() as attempt:
            attempt.settimeout(1)
            self._listening = attempt.connect_ex(("127.0.0.1", self.health_port)) == 0
        if not self._listening and time.monotonic() - self._began > self.start_seconds:
            say(f"Synapse does not listen after {self.start_seconds:.0f} s: ending it", "ERROR")
            os._exit(1)

    def _connect_again(self) -> None:
        """While the database is away Synapse writes nothing either."""
        self.session.close()
        while True:
            try:
                self.session = self.connect()
                return
            except (psycopg2.Error, OSError):
                time.sleep(1)

    def _stop(self) -> None:
        say("the list of writers has changed: Synapse stops and starts again with the new one")
        self.superseded = True
        # Not SIGTERM, by which the kubelet says that the pod is to go.
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(STOP_SECONDS)
        say(f"Synapse has not stopped within {STOP_SECONDS:.0f} s: ending it", "WARNING")
        again()


def told_to_end() -> bool:
    """Whether the kubelet has told the process to end, before or after it stopped by itself.

    Nothing is imported for that: what is stopped as it starts may have been in the middle of it.
    """
    return bool(getattr(sys.modules.get("twisted.internet.reactor"), "_exitSignal", None) == signal.SIGTERM)


def again() -> None:
    """Become this program anew, in the same process: for the kubelet nothing has ended. Whatever else runs in it is gone at once."""
    os.execv(sys.executable, sys.orig_argv)
