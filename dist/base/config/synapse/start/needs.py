"""What a process needs before it can run: a database that lets it in, Redis, and tables of its own version."""

import socket
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2

TIMEOUT_SECONDS = 5
# Written by Synapse itself, or for its connection pool.
_NOT_OF_LIBPQ = ("cp_min", "cp_max", "cp_reconnect", "cp_noisy", "cp_openfun", "cp_good_sql")
# A node that vanished without a word is noticed within half a minute, so that what it held is free.
_KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"


def synapse_version() -> str:
    """That of the image."""
    return version("matrix-synapse")


def connect(arguments: Mapping[str, Any], name: str) -> Any:
    """A connection to Synapse's database, in autocommit mode; `name` is shown to those who look who is connected.

    Raises psycopg2.OperationalError.
    """
    parameters = {key: value for key, value in arguments.items() if key not in _NOT_OF_LIBPQ}
    parameters |= {"application_name": name, "connect_timeout": TIMEOUT_SECONDS, "options": _KEEPALIVES}
    connection = psycopg2.connect(**parameters)
    connection.autocommit = True
    return connection


def redis_problem(redis: Mapping[str, Any]) -> str | None:
    """Why Redis cannot be used, or None. `redis` is Synapse's section of that name."""
    where = f"Redis at {redis['host']}:{redis['port']}"
    words: list[tuple[str, ...]] = [("PING",)]
    if "password_path" in redis:
        words.insert(0, ("AUTH", Path(redis["password_path"]).read_text().strip()))
    request = "".join(f"*{len(line)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in line) for line in words)
    try:
        with socket.create_connection((redis["host"], redis["port"]), TIMEOUT_SECONDS) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as lines:
                answers = [lines.readline().decode(errors="replace").strip() for _ in words]
    except OSError as error:
        return f"{where}: {error}"
    refusal = next((answer for answer in answers if not answer.startswith("+")), None)
    return None if refusal is None else f"{where}: {refusal or 'it hangs up'}"


def schema_problem(connection: Any) -> str | None:
    """Why a worker of this version cannot use the tables yet, or None; Synapse's own rule (storage/prepare_database.py).

    Main makes the tables and changes them, in one transaction; a worker that finds other ones ends at once.
    """
    # Only here: it takes a second, and while the database is away nobody needs it.
    from synapse.storage.schema import SCHEMA_VERSION

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_version') IS NOT NULL AND to_regclass('applied_schema_deltas') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return "the main process has not made the tables yet"
        cursor.execute("SELECT version, upgraded FROM schema_version")
        found, upgraded = cursor.fetchone() or (0, False)
        if found < SCHEMA_VERSION:
            return f"the tables have schema version {found}, and this version of Synapse needs {SCHEMA_VERSION}: the main process brings it"
        if found > SCHEMA_VERSION or not upgraded:
            return None
        cursor.execute("SELECT file FROM applied_schema_deltas WHERE version = %s", (SCHEMA_VERSION,))
        missing = _deltas(SCHEMA_VERSION) - {file for (file,) in cursor.fetchall()}
    return f"the main process has still to apply {', '.join(sorted(missing))}" if missing else None


def _deltas(schema_version: int) -> set[str]:
    """The changes of the tables that belong to a schema version, as Synapse names them where it notes that they are done."""
    specification = find_spec("synapse.storage.schema")
    assert specification is not None  # noqa: S101 - it has just been imported
    assert specification.origin is not None  # noqa: S101
    folders = Path(specification.origin).parent.glob(f"*/delta/{schema_version}")
    files = (file for folder in folders for file in folder.iterdir())
    return {f"{schema_version}/{file.name}" for file in files if file.name.endswith((".py", ".sql", ".sql.postgres"))}
