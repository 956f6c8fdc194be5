"""Pods onto nodes: how many nodes a size needs and how large, so that all pods have a place, and still have one when any node is lost."""

from collections.abc import Iterable, Iterator, Sequence

from attrs import Factory, define, frozen

from kit.footprint import pod_sets
from kit.quantities import Bytes, Cpu
from kit.rendering import Manifest

FEWEST = 3
"""Quorums of three keep a majority when one of three nodes is lost."""
_STEP = 1.02
"""By what factor nodes are made larger until everything has a place."""


@frozen
class Pod:
    """One pod. `apart`: no other of its workload may be on its node."""

    workload: tuple[str, str]
    cpu: int
    memory: int
    apart: bool


@define
class Node:
    """A node with what stands on it, in millicores and bytes."""

    cpu: int
    memory: int
    pods: list[Pod] = Factory(list)

    def takes(self, pod: Pod) -> bool:
        """Whether the pod may stand there, and has room."""
        room = pod.cpu <= self.cpu - sum(p.cpu for p in self.pods) and pod.memory <= self.memory - sum(p.memory for p in self.pods)
        return room and not (pod.apart and self.has(pod.workload))

    def has(self, workload: tuple[str, str]) -> int:
        """How many pods of a workload are there."""
        return sum(pod.workload == workload for pod in self.pods)


@frozen
class Need:
    """So many nodes, with at least so much for pods on each."""

    nodes: int
    cpu: Cpu
    memory: Bytes


def one_per_node(objects: Iterable[Manifest]) -> Iterator[tuple[str, str, int]]:
    """Workloads of which no two pods may be on one node: namespace, name, and how many pods they have."""
    for o in objects:
        spec, where = o.get("spec", {}), (o["metadata"].get("namespace", ""), o["metadata"]["name"])
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        if o["kind"] == "Cluster" and spec.get("affinity", {}).get("podAntiAffinityType") == "required":
            yield *where, spec["instances"]
        pod = spec["template"]["spec"] if o["kind"] in ("StatefulSet", "Deployment") else {}
        if pod.get("affinity", {}).get("podAntiAffinity", {}).get(required):
            yield *where, spec.get("replicas", 1)
        # The rule is about a tenant's pods, of whichever pool.
        pools = spec["pools"] if o["kind"] == "Tenant" else []
        if apart := [pool["servers"] for pool in pools if pool["affinity"]["podAntiAffinity"].get(required)]:
            yield *where, sum(apart)


def need(objects: Sequence[Manifest]) -> Need:
    """How many like nodes, and how large: with any one of them lost, every pod has a place but those that must be apart and find no node."""
    nodes = max([FEWEST, *(count for *_, count in one_per_node(objects))])
    pods, everywhere = pods_of(objects)
    total = [sum(pod.cpu for pod in pods), sum(pod.memory for pod in pods)]
    cpu, memory = (amount // (nodes - 1) for amount in total)
    while not _fits(pods, nodes, cpu, memory):
        cpu, memory = int(cpu * _STEP), int(memory * _STEP)
    return Need(nodes, Cpu(cpu + everywhere.cpu), Bytes(memory + everywhere.memory))


def pods_of(objects: Sequence[Manifest]) -> tuple[list[Pod], Pod]:
    """The pods that run when nothing happens, the largest first; and what DaemonSets take of each node."""
    apart = {(namespace, name) for namespace, name, _ in one_per_node(objects)}
    daemons = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in objects if o["kind"] == "DaemonSet"}
    found, cpu, memory = [], 0, 0
    for each in pod_sets(objects, 1):
        workload = (each.namespace, each.workload)
        if workload in daemons:
            cpu, memory = cpu + each.each.cpu.millicores, memory + each.each.memory.count
        else:
            pod = Pod(workload, each.each.cpu.millicores, each.each.memory.count, workload in apart)
            found += [pod] * each.least
    return sorted(found, key=lambda pod: (not pod.apart, -pod.memory, -pod.cpu, pod.workload)), Pod(("", ""), cpu, memory, apart=False)


def placed(pods: Sequence[Pod], nodes: int, cpu: int, memory: int) -> list[Node]:
    """The pods on so many nodes, spread as the scheduler would: fewest of their own kind first, then most room. ValueError if one finds none."""
    made = [Node(cpu, memory) for _ in range(nodes)]
    if left := add(made, pods):
        raise ValueError(f"{nodes} nodes have no room for {'/'.join(left[0].workload)}")
    return made


def add(nodes: Sequence[Node], pods: Iterable[Pod]) -> list[Pod]:
    """Put pods on nodes, and return those that find no place."""
    left = []
    for pod in pods:
        fitting = [node for node in nodes if node.takes(pod)]
        if fitting:
            min(fitting, key=lambda node: (node.has(pod.workload), sum(p.memory for p in node.pods))).pods.append(pod)
        else:
            left.append(pod)
    return left


def waiting(nodes: Sequence[Node], lost: int) -> list[Pod]:
    """Which pods of a lost node find no place on the others."""
    others = [Node(node.cpu, node.memory, list(node.pods)) for index, node in enumerate(nodes) if index != lost]
    return add(others, nodes[lost].pods)


def _fits(pods: Sequence[Pod], nodes: int, cpu: int, memory: int) -> bool:
    made = [Node(cpu, memory) for _ in range(nodes)]
    return not add(made, pods) and not any(_lacks_room(pod, made, lost) for lost in range(nodes) for pod in waiting(made, lost))


def _lacks_room(pod: Pod, nodes: Sequence[Node], lost: int) -> bool:
    """Whether room is all that a waiting pod lacks: one that must be apart may find its kind on every node."""
    taken = {index for index, node in enumerate(nodes) if node.has(pod.workload)}
    return not pod.apart or len(taken - {lost}) < len(nodes) - 1
