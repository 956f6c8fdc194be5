"""What the pods of a profile request and store, read from the rendered objects alone."""

from collections.abc import Iterable

from attrs import frozen

from kit.footprint import PodSet, claimed, pod_sets
from kit.quantities import Bytes, Cpu
from kit.rendering import Manifest


@frozen
class Line:
    """One workload: how many pods, and what all of them together request. `storage` is the sum of their volumes."""

    workload: str
    component: str
    pods: int
    cpu: Cpu
    memory: Bytes
    storage: Bytes


@frozen
class Budget:
    """All workloads of one profile."""

    lines: tuple[Line, ...]

    @property
    def total(self) -> Line:
        """The sum of all lines."""
        return _sum("all", "", self.lines)

    def by_component(self) -> tuple[Line, ...]:
        """One line per component, in the order of first appearance."""
        names = dict.fromkeys(line.component for line in self.lines)
        return tuple(_sum(name, name, [line for line in self.lines if line.component == name]) for name in names)


def budget(manifests: Iterable[Manifest], nodes: int = 3) -> Budget:
    """Read every object that runs pods or is a volume: Kubernetes' own kinds, and the custom resources of which an operator makes pods.

    An autoscaled workload counts with its least number. A DaemonSet counts once for each of `nodes`. Jobs come and go and do not count.
    """
    objects = list(manifests)
    volumes = (
        Line(claim["metadata"]["name"], claim["metadata"]["labels"]["app.kubernetes.io/name"], 0, Cpu(0), Bytes(0), volume.storage)
        for claim, volume in claimed(objects)
    )
    return Budget((*(_line(pods) for pods in pod_sets(objects, nodes) if pods.least), *volumes))


def _line(pods: PodSet) -> Line:
    all_pods = pods.each * pods.least
    return Line(pods.workload, pods.component, pods.least, all_pods.cpu, all_pods.memory, all_pods.storage)


def _sum(workload: str, component: str, lines: Iterable[Line]) -> Line:
    total = Line(workload, component, 0, Cpu(0), Bytes(0), Bytes(0))
    for line in lines:
        total = Line(
            workload, component, total.pods + line.pods, total.cpu + line.cpu, total.memory + line.memory, total.storage + line.storage
        )
    return total
