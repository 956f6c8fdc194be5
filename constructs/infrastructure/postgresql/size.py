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

    @property
    def acknowledging(self) -> int:
        """How many standbys must have a commit before it is acknowledged.

        The operator promotes one where standbys within reach and these are together more than all standbys: the fewer acknowledge, the fewer
        may be away beside the primary. The more do, the fewer may be away before writes stop. This is the middle: with three instances any
        one may be lost, with four a standby and then the primary besides.
        """
        return max(1, self.instances // 2)
