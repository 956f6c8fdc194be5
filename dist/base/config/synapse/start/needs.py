"""What a process needs before it can run: a database that lets it in, and Redis."""

import socket
from collections.abc import Mapping
from importlib.metadata import version
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
