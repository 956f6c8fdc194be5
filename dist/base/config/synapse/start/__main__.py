"""Start a Synapse process: `python -m services.synapse_start OPTIONS MODULE ARGUMENTS_OF_SYNAPSE...`.

It waits, and says for what, until the process can run: the database lets it in, Redis answers, main has said which list of writers is in
force, nobody runs with another one, and main has come up with a worker's version of Synapse. Then it becomes Synapse.
"""

import argparse
import itertools
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg2
import yaml

from services.synapse_start.guard import Guard, again, told_to_end
from services.synapse_start.liveness import Liveness
from services.synapse_start.needs import connect, redis_problem, synapse_version
from services.synapse_start.shards import Session, Shards
from services.synapse_start.speech import say, wait_for

PASSWORD, LIST, NAME, AUTHORITIES = "pgpass", "shards.yaml", "name.yaml", "authorities.crt"
"""What it writes into its folder: libpq's password file, the list of writers, a worker's name, and authorities that it trusts."""


class Start:
    """One start of one process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.run, self.password_file, self.listed = Path(options.run), Path(options.password_file), options.listed
        self.name = os.environ["POD_NAME"]
        self.own = Path(options.publish).read_text() if options.publish else None
        self.settings = _settings(options.arguments)
        self.authorities = sorted(Path(options.authorities).glob("*/ca.crt")) if options.authorities else []
        self.session: Session | None = None
        self.shards: Shards | None = None

    def missing(self) -> str | None:
        """What it still waits for, or None; `session` then holds the lock on `shards`."""
        try:
            if self.session is None:
                self.session = self.connect()
            return self._missing(self.session)
        except psycopg2.Error as error:
            if self.session is not None:
                self.session.close()
                self.session = None
            return f"the database: {_first_line(error)}"

    def _missing(self, session: Session) -> str | None:
        if problem := redis_problem(self.settings["redis"]):
            return problem
        if self.own and session.publish(self.own):
            say("another list of writers than before: it is in force from now on")
        self.shards = session.in_force()
        if not self.own and (problem := self._unfit()):
            session.release()
            return problem
        assert self.shards is not None  # noqa: S101 - `_unfit` has looked
        if not session.hold(self.shards):
            return "the list of writers has changed meanwhile"
        if others := session.others():
            return f"{', '.join(others)} still run with another list of writers: two lists never run together"
        if not session.settled():
            return "the list of writers is new: whoever ran with another one has a few seconds to notice"
        return None

    def _unfit(self) -> str | None:
        """Why a worker cannot run with the list in force."""
        shards, version = self.shards, synapse_version()
        if shards is None:
            return "the main process has not said yet which list of writers is in force"
        if shards.synapse != version:
            before = f"last with {shards.synapse}" if shards.synapse else "not yet with the list of writers in force"
            return f"the main process goes first, and has come up {before}; this is {version}"
        if self.listed and not shards.names(self.name):
            return f"the list of writers in force does not name {self.name}"
        return None

    def connect(self) -> Session:
        """A session of its own. libpq ignores a password file that others may read, as the group of the pod may."""
        copy = self.run / PASSWORD
        copy.unlink(missing_ok=True)
        shutil.copyfile(self.password_file, copy)
        copy.chmod(0o600)
        return Session(connect(self.settings["database"]["args"], f"{self.name} start"))

    def write_files(self) -> None:
        """What Synapse takes from configuration files alone."""
        assert self.shards is not None  # noqa: S101 - it has been waited for
        (self.run / LIST).write_text(self.shards.text)
        (self.run / NAME).write_text(yaml.safe_dump({"worker_name": self.name}))
        if self.authorities:
            (self.run / AUTHORITIES).write_text("\n".join(file.read_text() for file in self.authorities))


def _settings(arguments: Sequence[str]) -> dict[str, Any]:
    """What Synapse's files say that are there already: a later one replaces whole sections (synapse/config/_base.py)."""
    named = [Path(path) for option, path in itertools.pairwise(arguments) if option == "-c"]
    found: dict[str, Any] = {}
    for path in named:
        if path.exists():
            found |= yaml.safe_load(path.read_text())
    return found


def _first_line(error: Exception) -> str:
    """What libpq or the server says, which is never the password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _end(_signal: int, _frame: FrameType | None) -> None:
    # The first process of a container ignores a signal that nobody handles. Synapse has handlers of its own as soon as it runs.
    sys.exit(0)


def main() -> None:
    """Wait, then become Synapse."""
    parser = argparse.ArgumentParser(prog="python -m services.synapse_start", description=__doc__)
    parser.add_argument("--run", required=True, help="a folder of its own, in memory and writable")
    parser.add_argument("--password-file", required=True, help="libpq's password file as it is mounted")
    parser.add_argument("--publish", metavar="FILE", help="main alone: the list of writers that is in force from now on")
    parser.add_argument("--listed", action="store_true", help="a worker that must stand in the list")
    parser.add_argument("--authorities", metavar="FOLDER", help="certificates that become one file: a folder for each, with ca.crt")
    parser.add_argument("--health-port", type=int, required=True, help="where Synapse answers when it serves")
    parser.add_argument("--alive-port", type=int, required=True, help="where the liveness probe asks, from the first second on")
    parser.add_argument("--start-seconds", type=float, required=True, help="how long Synapse may take until it listens there")
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    # The guard stops Synapse by it. Whoever started the process may have had it ignored, and Synapse would leave it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    liveness = Liveness(options.alive_port, options.health_port)
    liveness.start()
    start = Start(options)
    wait_for(start.missing)
    start.write_files()
    assert start.session is not None  # noqa: S101 - it has been waited for
    assert start.shards is not None  # noqa: S101
    version = synapse_version() if start.own else None
    guard = Guard(start.session, start.shards, start.connect, options.health_port, options.start_seconds, version)
    liveness.serving = guard.serving
    guard.start()
    sys.argv = [options.module, *options.arguments]
    try:
        runpy.run_module(options.module, run_name="__main__", alter_sys=True)
    finally:
        if guard.superseded and not told_to_end():
            again()


if __name__ == "__main__":
    main()
