"""What a profile says of a MinIO tenant."""

from collections.abc import Sequence

from attrs import evolve, frozen

from kit.quantities import Bytes, Cpu, Resources, gib

_FILES_PERCENT = 95
"""ext4 keeps 5 % for root (mke2fs(8), -m), as whom MinIO does not run."""
_FEWEST_SERVERS = 4


@frozen
class ErasureSize:
    """One MinIO tenant: `nodes` x `drives` volumes of `drive` bytes, of which any `parity` of an erasure set may be lost."""

    nodes: int
    drive: Bytes
    cpu: Cpu
    memory: Bytes
    drives: int = 2
    parity: int = 4

    @property
    def erasure_set(self) -> int:
        """Drives in one erasure set: MinIO takes the largest divisor from 2 to 16 that spreads evenly over the nodes."""
        total = self.nodes * self.drives
        fitting = [size for size in range(2, 17) if total % size == 0 and (size % self.nodes == 0 or self.nodes % size == 0)]
        return max(fitting, default=0)

    @property
    def servers_to_lose(self) -> int:
        """How many servers may be lost with all their drives, and every object is still read."""
        return max(1, self.parity // max(1, self.erasure_set // self.nodes))

    @property
    def resources(self) -> Resources:
        """Of each server."""
        return Resources(self.cpu, self.memory, self.memory * 2)

    @property
    def raw(self) -> Bytes:
        """The sum of all volumes."""
        return self.drive * (self.nodes * self.drives)

    @property
    def usable(self) -> Bytes:
        """What objects can fill: without parity, and without what the file system of each drive keeps for itself."""
        kept = self.raw.count * (self.erasure_set - self.parity) // self.erasure_set
        return Bytes(kept * _FILES_PERCENT // 100)

    def beside(self, existing: Sequence["ErasureSize"]) -> tuple["ErasureSize", ...]:
        """The pools of a tenant of this size that has some already: these as they are, and one for what they are short of.

        It has the servers that the size has beyond theirs, and at least as many as make a pool.
        """
        if not existing:
            return (self,)
        missing = self.usable.count - sum(pool.usable.count for pool in existing)
        if missing <= 0:
            return tuple(existing)
        fewest = max(_FEWEST_SERVERS, self.nodes - sum(pool.nodes for pool in existing))
        added = next(pool for count in range(fewest, 2 * fewest + 1) if not (pool := evolve(self, nodes=count)).refusals())
        return (*existing, added.large_enough(Bytes(missing)))

    def large_enough(self, objects: Bytes) -> "ErasureSize":
        """The same with the smallest drives, in whole GiB, that hold so much."""
        about = objects.count // evolve(self, drive=gib(1)).usable.count
        return next(size for count in range(max(1, about - 1), about + 2) if (size := evolve(self, drive=gib(count))).usable >= objects)

    def refusals(self) -> list[str]:
        """Why MinIO would not start so, or not survive the loss of a node: one line each, naming the field."""
        if self.nodes < _FEWEST_SERVERS:
            return [f"nodes={self.nodes}: a distributed tenant that survives the loss of a node needs at least {_FEWEST_SERVERS}"]
        if self.parity > self.erasure_set // 2:
            return [
                f"parity={self.parity}: EC:{self.parity} needs an erasure set of at least {2 * self.parity} drives, and {self.nodes} nodes x "
                f"{self.drives} drives make sets of {self.erasure_set}: MinIO refuses to start"
            ]
        return []
