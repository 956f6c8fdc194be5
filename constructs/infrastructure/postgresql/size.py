"""What a profile says of a PostgreSQL cluster."""

from attrs import frozen

from kit.quantities import Bytes, Cpu


@frozen
class PostgresSize:
    """One PostgreSQL cluster: `instances` is the primary and its standbys, the rest is for each of them."""

    instances: int
    cpu: Cpu
    memory: Bytes
    storage: Bytes
    wal: Bytes
    max_connections: int
