"""Other namespaces of this machine."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


def network_of(process: int) -> Path:
    """What names the network that a process is in."""
    return Path(f"/proc/{process}/ns/net")


def inside(network: Path, work: Callable[[], T]) -> T:
    """Do something in a network namespace, e.g. open a socket, which stays there. In a thread of its own, which alone is moved.

    `network`: what names it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with network.open() as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
