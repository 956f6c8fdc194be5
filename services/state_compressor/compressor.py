"""synapse_auto_compressor, with its own options: one run of it."""

import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from attrs import define, frozen

PROGRAM = "synapse_auto_compressor"
SCHEMA = "matrix_platform"
"""Where the compressor keeps its tables, apart from Synapse's own."""
SLICE_SECONDS = 300
"""How long such a run may take. Synapse deletes no group earlier than 600 s after it has been marked (synapse/storage/databases/state/deletion.py,
DELAY_BEFORE_DELETION_MS), so where none is marked at the beginning, all that a run has read is there at its end."""
STATEMENT_SECONDS = 60
"""What PostgreSQL still does for a run that has been ended."""
_FINISHED = re.compile(r"Finished running compressor\. Saved (-?\d+) rows\. Skipped (\d+)/(\d+) chunks")


@frozen
class Request:
    """What the program is asked to do; the file is JSON and holds no secret."""

    database: dict[str, Any]
    password_file: str
    authority_file: str
    chunk_size: int
    chunks: int
    levels: str
    minutes: float


@define
class Counts:
    """What has been done."""

    chunks: int = 0
    chunks_skipped: int = 0
    """Those where nothing could be saved."""
    rows_saved: int = 0
    finished: bool = False
    """Whether all is compressed that there is."""


class Failed(Exception):  # noqa: N818 - what has happened
    """The compressor has not come to its end. The message is its last words."""


def command(request: Request, chunks: int) -> list[str]:
    """The compressor, with its own options (its README.md)."""
    options = f"-c search_path={SCHEMA},public -c statement_timeout={STATEMENT_SECONDS}s"
    parameters = {
        **request.database,
        "sslmode": "require",
        "target_session_attrs": "read-write",
        "application_name": "state-compressor",
        "connect_timeout": 10,
        "options": options,
    }
    location = " ".join(f"{name}='{value}'" for name, value in parameters.items())
    return [PROGRAM, "-p", location, "-c", str(request.chunk_size), "-n", str(chunks), "-l", request.levels]


def environment(request: Request, outer: Mapping[str, str]) -> dict[str, str]:
    """What the compressor takes from its environment: the file with the password, and whom it trusts, who is nobody else."""
    trusted = {"SSL_CERT_FILE": request.authority_file, "SSL_CERT_DIR": "/nonexistent"}
    return {**outer, "PASSWORD_FILE": request.password_file, **trusted}


def compress(request: Request, chunks: int, counts: Counts) -> None:
    """One slice. Raises Failed."""
    try:
        run = subprocess.run(
            command(request, chunks),
            env=environment(request, os.environ),
            capture_output=True,
            text=True,
            timeout=SLICE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{chunks} chunks took more than {SLICE_SECONDS} s: choose a smaller state_compressor.chunk_size") from error
    found = _FINISHED.search(run.stderr)
    if run.returncode or not found:
        raise Failed(f"{PROGRAM} ended with {run.returncode}: {run.stderr.strip()[-1000:]}")
    saved, skipped, done = map(int, found.groups())
    counts.rows_saved += saved
    counts.chunks_skipped += skipped
    counts.chunks += done
    counts.finished = done < chunks
