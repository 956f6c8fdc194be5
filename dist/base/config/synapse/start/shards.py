"""The list of writers and duties that is in force, and who runs with which: what keeps two lists from running together.

A room's events are written by one of the event persisters, which every process works out from the list: two processes with different lists
would write one room from two places. So there is one list, in the database: main's, which it puts there as it starts. A process runs with
the list in force or not at all, and no process runs with it while another still runs with a list of before.

Who runs is who holds an advisory lock on the digest of its list, for as long as it lives: the database sees its end, however it ends.
"""

import hashlib
import select
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from attrs import frozen

SETTLE_SECONDS = 5
"""No process starts with a list sooner than this after it came into force: one that has just lost its connection is back by then, or gone."""

_LOCKS = 0x5EED
"""The first half of the advisory locks' keys; Synapse takes none."""
_CHANNEL = "matrix_platform_shards"
_TABLE = """
    CREATE SCHEMA IF NOT EXISTS matrix_platform;
    CREATE TABLE IF NOT EXISTS matrix_platform.shards (
        only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        list text NOT NULL,
        synapse text NOT NULL,
        since timestamptz NOT NULL
    )
"""


@frozen
class Shards:
    """A list, as YAML, and the version of Synapse with which main has come up with it; empty until then.

    Main goes first, alone: it brings the tables to its version, and it forgets writers that are no more, by which processes that do the same
    at the same time fail (synapse/storage/util/id_generators.py, `_load_current_ids`: could not serialize access).
    """

    text: str
    synapse: str

    @property
    def digest(self) -> int:
        """The second half of its lock's key: 31 bits, which pg_locks shows as they are."""
        return int.from_bytes(hashlib.sha256(self.text.encode()).digest()[:4]) >> 1

    def names(self, process: str) -> bool:
        """Whether a process stands in it, as a writer or with a duty."""
        return process in _texts(yaml.safe_load(self.text))


class Session:
    """A process's connection to the database for as long as it lives. Every method raises psycopg2.Error when that is gone."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._held: int | None = None
        # Before the list is read for the first time, so that no change goes unnoticed.
        self._execute(f"LISTEN {_CHANNEL}")

    def publish(self, text: str) -> bool:
        """Put main's list into force. Whether it is another one than before."""
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            # Two that make the table at once would fail.
            cursor.execute("SELECT pg_advisory_xact_lock(%s, -1)", (_LOCKS,))
            cursor.execute(_TABLE)
            cursor.execute("SELECT list FROM matrix_platform.shards")
            before = cursor.fetchone()
            if before is None:
                # Nobody can have run with another one.
                cursor.execute("INSERT INTO matrix_platform.shards (list, synapse, since) VALUES (%s, '', '-infinity')", (text,))
            elif before[0] != text:
                cursor.execute("UPDATE matrix_platform.shards SET list = %s, synapse = '', since = clock_timestamp()", (text,))
                cursor.execute(f"NOTIFY {_CHANNEL}")
            cursor.execute("COMMIT")
        return before is not None and before[0] != text

    def came_up(self, synapse: str) -> None:
        """Say that main serves, in this version and with the list in force."""
        self._execute("UPDATE matrix_platform.shards SET synapse = %s WHERE synapse <> %s", (synapse, synapse))

    def in_force(self) -> Shards | None:
        """The list, or None while main has not started for the first time."""
        if not self._execute("SELECT to_regclass('matrix_platform.shards') IS NOT NULL")[0][0]:
            return None
        found = self._execute("SELECT list, synapse FROM matrix_platform.shards")
        return Shards(*found[0]) if found else None

    def hold(self, shards: Shards) -> bool:
        """Be seen as running with a list. Whether it is in force still; if not, nothing is held."""
        if self._held != shards.digest:
            self.release()
            self._execute("SELECT pg_advisory_lock_shared(%s, %s)", (_LOCKS, shards.digest))
            self._held = shards.digest
        # After the lock: whoever changes the list from now on sees it.
        current = self.in_force()
        if current is None or current.text != shards.text:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Hold nothing."""
        if self._held is not None:
            self._execute("SELECT pg_advisory_unlock_shared(%s, %s)", (_LOCKS, self._held))
            self._held = None

    def settled(self) -> bool:
        """Whether the list in force has been so for long enough."""
        return bool(
            self._execute("SELECT since <= clock_timestamp() - %s * interval '1 second' FROM matrix_platform.shards", (SETTLE_SECONDS,))[0][
                0
            ]
        )

    def others(self) -> list[str]:
        """The processes that still run with another list than the one that is held."""
        asked = """
            SELECT DISTINCT split_part(application_name, ' ', 1) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND mode = 'ShareLock' AND granted
                AND objid::bigint <> %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            ORDER BY 1
        """
        return [name for (name,) in self._execute(asked, (_LOCKS, self._held))]

    def wait(self, seconds: float) -> None:
        """Until the list may have changed, or for so long."""
        select.select([self.connection], [], [], seconds)
        self.connection.poll()
        self.connection.notifies.clear()

    def close(self) -> None:
        """End it, and with it what it holds."""
        self.connection.close()

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
