"""What the homeserver knows: asked of the primary alone, which is never behind."""

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2

from services.media_sweep.names import Media


class Behind(Exception):  # noqa: N818 - a state of a server
    """The server is a standby: what it does not know may have been uploaded just now."""


class Database:
    """A connection that can write nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def known(self, media: Collection[Media]) -> set[Media]:
        """Those of them that there are. Raises Behind, psycopg2.Error."""
        with self._connection.cursor() as cursor:
            # With every question: the server behind the name may be another one since.
            cursor.execute("SELECT pg_is_in_recovery()")
            if cursor.fetchone()[0]:
                raise Behind("the database that was asked is a standby: give the address of the primary")
            local = [one.identifier for one in media if one.origin is None]
            cursor.execute("SELECT media_id FROM local_media_repository WHERE media_id = ANY(%s)", (local,))
            found = {Media(None, identifier) for (identifier,) in cursor.fetchall()}
            origins, files = [[*column] for column in zip(*((one.origin, one.identifier) for one in media if one.origin), strict=True)] or (
                [],
                [],
            )
            cursor.execute(
                "SELECT media_origin, filesystem_id FROM remote_media_cache "
                "JOIN unnest(%s::text[], %s::text[]) AS asked (origin, file) ON media_origin = origin AND filesystem_id = file",
                (origins, files),
            )
            return found | {Media(origin, identifier) for origin, identifier in cursor.fetchall()}


@contextlib.contextmanager
def connected(parameters: Mapping[str, Any], password_file: str) -> Iterator[Database]:
    """A connection for the time of a block. libpq ignores a password file that others may read, as the pod's group may."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "pgpass")
        shutil.copyfile(password_file, copy)
        copy.chmod(0o600)
        options = "-c default_transaction_read_only=on -c statement_timeout=60s"
        connection = psycopg2.connect(**parameters, passfile=str(copy), options=options, application_name="media-sweep", connect_timeout=10)
    connection.autocommit = True
    try:
        yield Database(connection)
    finally:
        connection.close()
