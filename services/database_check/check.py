"""Say what a PostgreSQL lacks that others run: `python -m services.database_check.check REQUEST`. Runs in a Job, and changes nothing.

Exit codes: 0 it has all that it needs; 1 it lacks something, each on a line with what to do, and the Job tries again.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
from attrs import frozen

DONE, LACKING = 0, 1
_TIMEOUT_SECONDS = 10
OLDEST = 140_000
"""Synapse takes none before (synapse/storage/engines/postgres.py)."""


@frozen
class Client:
    """One who logs in: the database and the user, the password file with both, and what they need.

    `locale_c`: sorts by bytes alone, which Synapse insists on. `extensions`: which it makes itself, or finds.
    """

    database: str
    user: str
    password_file: str
    locale_c: bool
    extensions: tuple[str, ...] = ()


@frozen
class Request:
    """A server and its clients, which open as many connections together. The file is JSON and holds no secret."""

    host: str
    port: int
    authority: str
    connections: int
    clients: tuple[Client, ...]


def read_request(path: Path) -> Request:
    """Raises OSError, ValueError or TypeError for a file of another form."""
    document = json.loads(path.read_text())
    clients = tuple(Client(**{**client, "extensions": tuple(client["extensions"])}) for client in document.pop("clients"))
    return Request(clients=clients, **document)


def lacks(request: Request) -> Iterator[str]:
    """What is missing for each client, and what to do."""
    for client in request.clients:
        where = f'database "{client.database}" as user "{client.user}"'
        try:
            connection = _connect(request, client)
        except psycopg2.Error as error:
            yield f"{where}: {_why(error, request)}"
            continue
        try:
            with connection.cursor() as cursor:
                yield from (f"{where}: {problem}" for problem in _problems(cursor, connection.server_version, request, client))
        finally:
            connection.close()


def _connect(request: Request, client: Client) -> Any:
    """A session of its own. libpq ignores a password file that others may read, as the pod's group may."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "pgpass")
        shutil.copyfile(client.password_file, copy)
        copy.chmod(0o600)
        connection = psycopg2.connect(
            host=request.host,
            port=request.port,
            dbname=client.database,
            user=client.user,
            passfile=str(copy),
            sslmode="verify-full",
            sslrootcert=request.authority,
            connect_timeout=_TIMEOUT_SECONDS,
            application_name="database-check",
        )
    connection.autocommit = True
    return connection


_REASONS = (
    ("certificate verify failed", "its certificate is by another authority than postgresql.external.ca_secret says: put that one there"),
    ("does not match host name", "its certificate has another name: give in postgresql.external.host the one that it has"),
    ("does not support SSL", "it speaks no TLS: turn ssl on there"),
    ("password authentication failed", "it refuses the password: the Secret needs the one that it knows"),
    ("no pg_hba.conf entry", "its pg_hba.conf lets nobody in from here: add hostssl for this database, user and the cluster's addresses"),
    ("does not exist", "create it: CREATE ROLE ... LOGIN; CREATE DATABASE ... OWNER ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"),
    ("timeout expired", "nothing answers there: look at postgresql.external.cidrs, and at what stands between"),
    ("could not translate host name", "DNS does not know it: look at postgresql.external.host"),
    ("Connection refused", "nothing listens there: look at postgresql.external.host and port"),
)


def _why(error: psycopg2.Error, request: Request) -> str:
    """What libpq or the server says, which is never the password, and what to do."""
    said = " ".join(str(error).split())[:300]
    advice = next((advice for words, advice in _REASONS if words in said), f"look at the server {request.host}:{request.port}")
    return f"{advice} ({said})"


def _problems(cursor: Any, version: int, request: Request, client: Client) -> Iterator[str]:
    def asked(question: str, *values: object) -> Any:
        cursor.execute(question, values)
        return cursor.fetchone()

    if version < OLDEST:
        yield f"is PostgreSQL {version // 10_000}, and Synapse needs {OLDEST // 10_000} or newer: upgrade it"
    if asked("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")[0]:
        yield "cannot be written: give in postgresql.external.host the name that leads to the primary"
    encoding, collation, kind = asked(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()"
    )
    wanted = "it has to be created anew: CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
    if encoding != "UTF8":
        yield f"has the encoding {encoding}, not UTF8; {wanted}"
    if client.locale_c and (collation, kind) != ("C", "C"):
        yield f"has LC_COLLATE {collation} and LC_CTYPE {kind}, not C; {wanted}"
    if not asked("SELECT has_database_privilege(current_database(), 'CREATE') AND has_schema_privilege('public', 'CREATE')")[0]:
        yield f"may make no tables or schemas: ALTER DATABASE {client.database} OWNER TO {client.user}; and as its owner GRANT ALL ON SCHEMA public"
    for extension in client.extensions:
        there = asked("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = %s)", extension)[0]
        if not there and not asked("SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = %s", extension)[0]:
            yield f"lacks the extension {extension}, which this user may not make: CREATE EXTENSION {extension}, as a superuser"
    yield from _connections(asked, request.connections)


def _connections(asked: Any, needed: int) -> Iterator[str]:
    # reserved_connections is there since PostgreSQL 16.
    most = asked(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true)::int, 0)"
    )[0]
    if most < needed:
        yield f"lets {most} connections in, and this profile opens up to {needed}: raise max_connections by {needed - most} or more"
    limit = asked(
        "SELECT least(nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)) FROM pg_roles r, pg_database d"
        " WHERE r.rolname = current_user AND d.datname = current_database()"
    )[0]
    if limit is not None and limit < needed:
        yield f"is limited to {limit} connections, and this profile opens up to {needed}: raise the CONNECTION LIMIT of role and database"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the request, ask, and print."""
    parser = argparse.ArgumentParser(prog="python -m services.database_check.check", description=__doc__)
    parser.add_argument("request", type=Path)
    request = read_request(parser.parse_args(arguments).request)
    found = list(lacks(request))
    for problem in found:
        print(f"PostgreSQL at {request.host}:{request.port}, {problem}", file=sys.stderr)
    if not found:
        print(f"PostgreSQL at {request.host}:{request.port} has all that it needs, {request.connections} connections among it")
    return LACKING if found else DONE


if __name__ == "__main__":
    sys.exit(main())
