"""How much of the homeserver's state tables a night makes smaller."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from typing import Annotated

from attrs import frozen

from kit.options import Number, option

Chunks = Annotated[int, Number("a number of chunks", 1, 100_000, "100")]
# Below the size of its lowest level it skips what it has compressed before (rust-synapse-compress-state, README.md).
ChunkSize = Annotated[int, Number("a number of state groups", 100, 100_000, "500")]


@frozen(kw_only=True)
class StateCompressorOptions:
    """Compression of what the database keeps of the state of rooms, at night. What becomes free, PostgreSQL uses again; no file gets smaller."""

    chunks: Chunks = option(100, "Chunks that are compressed in a night, at most.")
    chunk_size: ChunkSize = option(500, "State groups of a chunk: what it holds in memory at once.")
