"""What a profile says of Redis."""

from attrs import frozen

from kit.quantities import Bytes


@frozen
class RedisSize:
    """`servers`: pods with a server and a Sentinel each. `memory`: of each server."""

    servers: int
    memory: Bytes

    def refusals(self) -> list[str]:
        """Why Sentinels cannot work so, if they cannot: one line each, naming the field."""
        if self.servers < 3 or self.servers % 2 == 0:
            return [f"servers={self.servers}: Sentinels vote, so their number must be odd and at least 3"]
        return []
