"""Real programs for the live tests: free ports, bounded waits, and a running program whose output is shown when something goes wrong."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import frozen

T = TypeVar("T")

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` distinct TCP ports of 127.0.0.1 that nothing listens on.

    They lie below the range from which Linux gives ports to outgoing connections (32768 and up, ip_local_port_range), so that none is taken
    by one between now and the moment when a program listens on it. Another program may still take one, which then fails to start.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            taken, port = held.enter_context(socket.socket()), random.SystemRandom().randrange(15_000, 32_000)
            with contextlib.suppress(OSError):
                taken.bind((LOOPBACK, port))
                ports.append(port)
        return ports


def wait_for(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Call `condition` until its value is true, and return that value.

    OSError (connection refused, reset, timed out) counts as not yet. Raises TimeoutError naming `what` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        problem: OSError | None = None
        try:
            if value := condition():
                return value
        except OSError as error:
            problem = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s") from problem
        time.sleep(0.02)


def accepts_connections(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1. Raises OSError if not, which `wait_for` takes as not yet."""
    with socket.create_connection((LOOPBACK, port), timeout=1):
        return True


@frozen
class Program:
    """A started program: its process and the file that takes its standard output and error."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """Everything that it has printed so far."""
        return self.log.read_text(errors="replace")

    def send(self, signal_number: signal.Signals) -> None:
        """Send it a signal, e.g. `signal.SIGHUP`."""
        self.process.send_signal(signal_number)

    def ready(self, condition: Callable[[], T], seconds: float) -> T:
        """Wait for `condition` as `wait_for` does, but give up at once when the program has ended. Raises RuntimeError with its output."""

        def check() -> T:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with code {self.process.returncode} before it was ready:\n{self.output()}")
            return condition()

        return wait_for(check, seconds, f"{self.name} to be ready")

    def stop(self, seconds: float = 10) -> int:
        """Ask it to end (SIGTERM), insist after `seconds` (SIGKILL), and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it at once, with all that it started, as a machine that loses power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, name: str = "", environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Program]:
    """Run a program for the time of a `with` block.

    It gets no standard input and a process group of its own. On leaving it is terminated, then killed; if the block failed, the end of its
    output becomes a note of the exception, which pytest shows. `environment` is added to this process's own.
    """
    label = name or Path(command[0]).name
    with tempfile.TemporaryDirectory(prefix=f"{label}-") as scratch:
        log = Path(scratch) / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
            )
        program = Program(label, process, log)
        try:
            yield program
        except BaseException as error:
            program.stop()
            error.add_note(f"--- the last output of {label}, which ended with code {process.returncode} ---\n{program.output()[-20_000:]}")
            raise
        finally:
            program.stop()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # children that a program left behind
