"""Connections to both databases, every wait of which is bounded, and the locks that let one run of a task work at a time."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from attrs import define, evolve
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from services.li_sync.settings import Database, Settings

Connection = psycopg.Connection[TupleRow]

APPLICATION = "li_sync"
_LOCK_CLASS = 0x4C49
_STRUCTURE = 0
"""Held shared by what uses LI's database, exclusively by what makes or swaps it."""
TASKS = ("prepare", "verify", "mirror_media", "mirror_new_media", "refresh", "rebuild", "watch")
_EXCLUSIVE = ("prepare", "rebuild")
_USES_DATABASE = {*TASKS} - {"mirror_media"}
_PATIENCE_SECONDS = 60.0


class Problem(Exception):  # noqa: N818 - a state of the world
    """Something is not as it has to be. The message says what to do, and holds no secret."""


class Busy(Exception):  # noqa: N818 - an answer
    """Another run of the task, or one that excludes it, is at work."""


def connect(database: Database, *, statement_seconds: float = 600, read_only: bool = False) -> Connection:
    """A connection in autocommit mode. Raises psycopg.OperationalError when the server is not there within seconds."""
    limits = {
        "statement_timeout": round(statement_seconds * 1000),
        "lock_timeout": 30_000,
        "idle_in_transaction_session_timeout": 600_000,
        "client_connection_check_interval": 5_000,
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "default_transaction_read_only": "on" if read_only else "off",
        "search_path": "public",
    }
    parameters = make_conninfo(
        **database.parameters(),
        connect_timeout=5,
        application_name=APPLICATION,
        options=" ".join(f"-c {name}={value}" for name, value in limits.items()),
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=20_000,
    )
    return psycopg.connect(parameters, autocommit=True)


def rows(connection: Connection, query: str | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[TupleRow]:
    """All rows of a query, whose text is never made of anything that came from outside."""
    return connection.execute(query, parameters).fetchall()


def value(connection: Connection, query: str | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:
    """The first column of the first row; None where there is no row."""
    found = connection.execute(query, parameters).fetchone()
    return found[0] if found else None


def table(schema: str, name: str) -> sql.Identifier:
    """A table's qualified name, quoted."""
    return sql.Identifier(schema, name)


@define
class Lock:
    """The locks of one run. They end with the connection, so with the program, however it ends."""

    connection: Connection

    def check(self) -> None:
        """Raise psycopg.OperationalError if the locks are lost: the server has gone, and another run may have begun."""
        self.connection.execute("SELECT 1")


@contextlib.contextmanager
def locked(settings: Settings, task: str) -> Iterator[Lock]:
    """Hold a task's locks for the time of a block. Raises Busy."""
    database = evolve(settings.li.owner, database=settings.li.maintenance_database)
    with connect(database, statement_seconds=30) as connection:
        if not value(connection, "SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, TASKS.index(task) + 1)):
            raise Busy(f"{task}: a run of it is at work")
        if task in _USES_DATABASE:
            exclusive = task in _EXCLUSIVE
            suffix, deadline = "" if exclusive else "_shared", time.monotonic() + (_PATIENCE_SECONDS if exclusive else 0)
            while not value(connection, f"SELECT pg_try_advisory_lock{suffix}(%s, %s)", (_LOCK_CLASS, _STRUCTURE)):
                if time.monotonic() >= deadline:
                    raise Busy(f"{task}: a task that excludes it is at work")
                time.sleep(0.5)
        yield Lock(connection)


def tasks_at_work(settings: Settings) -> set[str]:
    """The tasks whose lock is held."""
    database = evolve(settings.li.owner, database=settings.li.maintenance_database)
    with connect(database, statement_seconds=10, read_only=True) as connection:
        held = rows(connection, "SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted", (_LOCK_CLASS,))
    return {TASKS[key - 1] for (key,) in held if 0 < key <= len(TASKS)}
