"""What is asked of the database beside the compressor, and what is put right for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from services.state_compressor.compressor import SCHEMA, Request

_LOCK = "synapse_auto_compressor"


class Database:
    """A connection that is claimed and asked."""

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
    connection = psycopg2.connect(
        **request.database,
        sslmode="verify-full",
        sslrootcert=request.authority_file,
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
