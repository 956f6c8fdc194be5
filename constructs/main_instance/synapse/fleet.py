"""The workers of one homeserver in one size: how many of each type there are, and how many there may be."""

from collections.abc import Mapping

from attrs import frozen

from main_instance.synapse.size import Connections, Workers
from main_instance.synapse.topology import Topology, topology
from main_instance.synapse.worker_type import WorkerType
from main_instance.synapse.workers import EVERY_TYPE


@frozen
class Fleet:
    """`ceilings`: worker type name to how many instances an autoscaler may make, for the types that have one."""

    topology: Topology
    ceilings: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Worker type name to the number of instances; of autoscaled types the least."""
        return {name: len(instances) for name, instances in self.topology.instances.items()}

    @property
    def most(self) -> dict[str, int]:
        """Worker type name to how many instances there may ever be."""
        return self.counts | dict(self.ceilings)

    @property
    def processes(self) -> int:
        """All Synapse processes, main included, with autoscaled types at their ceiling."""
        return 1 + sum(self.most.values())

    def connections(self, pools: Connections) -> int:
        """The most connections to the database that all of them open: their pools, and the one by which a process is seen to live."""
        return pools.main + sum(pools.of(worker.load) * self.most[worker.name] for worker in self.topology.types) + self.processes


def fleet(size: Workers, types: tuple[WorkerType, ...]) -> Fleet:
    """The workers of `types` in a size. Raises ValueError for numbers that Synapse cannot work with, and for unknown types.

    What a size says of a type that is left out counts for nothing.
    """
    counts = {worker.name: size.count(worker.name, worker.scaling) for worker in types}
    left_out = {worker.name for worker in EVERY_TYPE} - counts.keys()
    return Fleet(
        topology(counts | {name: count for name, count in size.extra.items() if name not in left_out}, types),
        {worker.name: size.ceiling(counts[worker.name]) for worker in types if worker.autoscaled},
    )
