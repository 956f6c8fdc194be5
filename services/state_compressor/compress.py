"""Make the state tables of the homeserver smaller: `python -m services.state_compressor.compress REQUEST`.

synapse_auto_compressor does the work, in slices. Before each one this program looks whether Synapse is about to delete state groups: what the
compressor has read must be there when it writes. README.md says more.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
from attrs import define, frozen

PROGRAM = "synapse_auto_compressor"
SCHEMA = "matrix_platform"
"""Where the compressor keeps its tables, apart from Synapse's own."""
SLICE = 10
"""Chunks that the compressor does in one run."""
SLICE_SECONDS = 300
"""How long such a run may take. Synapse deletes no group earlier than 600 s after it has been marked (synapse/storage/databases/state/deletion.py,
DELAY_BEFORE_DELETION_MS), so where none is marked at the beginning, all that a run has read is there at its end."""
STATEMENT_SECONDS = 60
"""What PostgreSQL still does for a run that has been ended."""
LOOK_SECONDS = 30.0
"""How often it looks whether Synapse has deleted what was marked: it does so every minute."""
_LOCK = "synapse_auto_compressor"
_FINISHED = re.compile(r"Finished running compressor\. Saved (-?\d+) rows\. Skipped (\d+)/(\d+) chunks")


@frozen
class Request:
    """What the program is asked to do; the file is JSON and holds no secret."""

    database: dict[str, Any]
    password_file: str
    authority_file: str | None
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


class Database:
    """What this program asks itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def claim(self) -> bool:
        """Whether nobody else compresses at the moment; from now on this program does, until its connection ends."""
        return bool(self._ask("SELECT pg_try_advisory_lock(hashtext(%s))", _LOCK)[0][0])

    def prepare(self) -> None:
        """Make the schema of the compressor's tables, and let it begin anew where the groups are gone that it would go on with.

        It ends at once for such a room, every time, and with it for all (https://github.com/matrix-org/rust-synapse-compress-state/issues/78).
        Rooms that are gone are forgotten.
        """
        # To say IF NOT EXISTS alone would need the right to make it.
        if not self._ask("SELECT to_regnamespace(%s) IS NOT NULL", SCHEMA)[0][0]:
            self._ask(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        if not self._ask("SELECT to_regclass(%s) IS NOT NULL", f"{SCHEMA}.state_compressor_progress")[0][0]:
            return
        for table in ("state_compressor_state", "state_compressor_progress"):
            self._ask(f"DELETE FROM {SCHEMA}.{table} AS own WHERE NOT EXISTS (SELECT FROM state_groups WHERE room_id = own.room_id)")
        self._ask(
            f"UPDATE {SCHEMA}.state_compressor_state SET current_length = 0, current_head = NULL WHERE room_id IN ("
            f"SELECT room_id FROM {SCHEMA}.state_compressor_state WHERE current_head IS NOT NULL "
            "AND NOT EXISTS (SELECT FROM state_groups WHERE id = current_head))"
        )

    def deletions(self) -> int:
        """How many groups Synapse is about to delete."""
        return int(self._ask("SELECT count(*) FROM state_groups_pending_deletion")[0][0])

    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []


@contextlib.contextmanager
def connected(request: Request) -> Iterator[Database]:
    """A connection to the primary for the time of a block."""
    trusted = {"sslrootcert": request.authority_file, "sslmode": "verify-full"} if request.authority_file else {}
    connection = psycopg2.connect(
        **request.database,
        **trusted,
        password=Path(request.password_file).read_text().strip(),
        target_session_attrs="read-write",
        application_name="state-compressor",
        connect_timeout=10,
    )
    connection.autocommit = True
    try:
        yield Database(connection)
    finally:
        connection.close()


def command(request: Request, chunks: int) -> list[str]:
    """The compressor, with its own options (its README.md)."""
    options = f"-c search_path={SCHEMA},public -c statement_timeout={STATEMENT_SECONDS}s"
    parameters = {
        **request.database,
        "sslmode": "require" if request.authority_file else "disable",
        "target_session_attrs": "read-write",
        "application_name": "state-compressor",
        "connect_timeout": 10,
        "options": options,
    }
    location = " ".join(f"{name}='{value}'" for name, value in parameters.items())
    return [PROGRAM, "-p", location, "-c", str(request.chunk_size), "-n", str(chunks), "-l", request.levels]


def environment(request: Request, outer: Mapping[str, str]) -> dict[str, str]:
    """What the compressor takes from its environment: the file with the password, and whom it trusts, who is nobody else."""
    trusted = {"SSL_CERT_FILE": request.authority_file, "SSL_CERT_DIR": "/nonexistent"} if request.authority_file else {}
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


def run(request: Request, counts: Counts) -> None:
    """Compress what there is, as far as the request allows. Raises Failed, and what the database raises."""
    end, waiting = time.monotonic() + request.minutes * 60, 0
    with connected(request) as database:
        if not database.claim():
            raise Failed("another one runs: it is enough")
        while counts.chunks < request.chunks and not counts.finished and time.monotonic() < end:
            if deletions := database.deletions():
                if deletions != waiting:
                    print(f"waiting: Synapse is about to delete {deletions} state groups", flush=True)
                waiting = deletions
                time.sleep(min(LOOK_SECONDS, max(end - time.monotonic(), 0)))
                continue
            database.prepare()
            compress(request, min(SLICE, request.chunks - counts.chunks), counts)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m services.state_compressor.compress", description=__doc__)
    parser.add_argument("request", type=Path)
    request, counts, code = Request(**json.loads(parser.parse_args().request.read_text())), Counts(), 0
    try:
        run(request, counts)
    except Exception as error:
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    result = {
        "chunks": counts.chunks,
        "chunks_skipped": counts.chunks_skipped,
        "rows_saved": counts.rows_saved,
        "finished": counts.finished,
    }
    print(json.dumps(result), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
