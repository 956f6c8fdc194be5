"""Which tables of Synapse are replicated to LI and how: `tables.toml`, held against the tables that a database has."""

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from attrs import frozen

FULL, PRIMARY_KEY = "full", "primary key"


class UnknownSchema(Exception):  # noqa: N818 - a state of a database
    """A database's tables are not those that `tables.toml` was written for. The message says what to do."""


@frozen
class Stream:
    """A stream of Synapse that main writes: what its processes call it, and the sequence that its positions come from."""

    stream: str
    sequence: str
    rows: Mapping[str, str]
    """Its tables, each with the column of its ids; the writer of a row stands in its column `instance_name`."""
    falling: bool = False
    """Whether ids are negative and fall."""


@frozen
class Tables:
    """Every table of Synapse's database, by where it belongs."""

    schema_version: int
    published: Mapping[str, str]
    """Name to replica identity: `full`, `primary key`, or the name of an index."""
    withheld_columns: Mapping[str, Collection[str]]
    not_null: Mapping[str, Collection[str]]
    local: Collection[str]
    """Only in LI's schema `local`."""
    also_local: Collection[str]
    """Published, and a second one of the same name in `local`."""
    seeded: Collection[str]
    streams: Mapping[str, Stream]
    """By the name in `stream_positions`."""
    local_streams: Collection[str]

    def present(self, found: Collection[str], schema_version: int) -> "Tables":
        """The part of this list that a database has. Raises UnknownSchema where list and database differ.

        A database of an older schema version may lack tables. A table that no list names may never be there: it could be one that LI
        needs, or one that must not leave main.
        """
        if schema_version > self.schema_version:
            raise UnknownSchema(
                f"main's schema version is {schema_version}, this program knows {self.schema_version}: use the version of li_sync that was "
                "made for this Synapse"
            )
        known = {*self.published, *self.local}
        if unknown := sorted({*found} - known):
            raise UnknownSchema(f"no list names these tables of main: {', '.join(unknown)}. Add each to services/li_sync/tables.toml")
        missing = sorted(known - {*found})
        if missing and schema_version == self.schema_version:
            raise UnknownSchema(
                f"main lacks these tables of schema version {schema_version}: {', '.join(missing)}. Has its Synapse finished its upgrade, and "
                "is it the version that this program was made for?"
            )
        return Tables(
            schema_version,
            {table: identity for table, identity in self.published.items() if table in found},
            self.withheld_columns,
            self.not_null,
            [table for table in self.local if table in found],
            self.also_local,
            self.seeded,
            {name: stream for name, stream in self.streams.items() if {*stream.rows} <= {*found}},
            self.local_streams,
        )


@cache
def synapse_tables() -> Tables:
    """The list of the Synapse version that this program was made for."""
    document = tomllib.loads(Path(__file__).with_name("tables.toml").read_text())
    local = document["local"]
    return Tables(
        document["schema_version"],
        document["published"],
        document["withheld_columns"],
        document["not_null"],
        local["tables"],
        local["also"],
        local["seeded"],
        {name: Stream(**stream) for name, stream in document["streams"].items()},
        document["local_streams"]["names"],
    )
