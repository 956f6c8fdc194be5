"""Who reaches whom, asked of the evaluator of network policies in words: names of workloads instead of pods."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.inspection.reach import Address, Cluster, can_reach
from app.inspection.reach.pods import Pod
from kit.network import Connection, Pods

POD_NETWORK = "10.42.0.0/16"


def stranger(name: str, namespace: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A workload of somebody else in the cluster, which listens on port 80."""
    labels = dict(labels or {"app": name})
    container = {"name": "c", "image": "x", "ports": [{"containerPort": 80}]}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def every_pod_reaches(cluster: Cluster, source: str, target: str, port: int) -> bool:
    """Whether each pod of a workload reaches each pod of another."""
    return all(can_reach(cluster, a, b, port, "TCP") for a, b in _pairs(cluster, source, target))


def some_pod_reaches(cluster: Cluster, source: str, target: str, port: int) -> bool:
    """Whether a pod of a workload reaches a pod of another."""
    return any(can_reach(cluster, a, b, port, "TCP") for a, b in _pairs(cluster, source, target))


def _pairs(cluster: Cluster, source: str, target: str) -> list[tuple[Pod, Pod]]:
    pairs = [(a, b) for a in cluster.workloads[source].pods for b in cluster.workloads[target].pods]
    assert pairs, f"{source} or {target} has no pods"
    return pairs


def open_ports(cluster: Cluster, source: Pod | Address, target: Pod) -> list[int]:
    """The ports of a pod that somebody reaches."""
    return [port.number for port in target.ports if can_reach(cluster, source, target, port.number, port.protocol)]


def chosen(cluster: Cluster, group: Pods) -> list[Pod]:
    """The pods that a group means."""
    return [pod for pod in cluster.pods if means(group, pod)]


def means(group: Pods, pod: Pod) -> bool:
    """Whether a pod is one of a group."""
    return group.namespace == pod.namespace and set(group.labels) <= set(pod.labels.items())


def closed_connections(cluster: Cluster, declared: list[Connection]) -> Iterator[str]:
    """Connections that are declared, and that one of their pods cannot make."""
    for connection in declared:
        for source in chosen(cluster, connection.source):
            for target in chosen(cluster, connection.target):
                if not can_reach(cluster, source, target, connection.port.number, connection.port.protocol):
                    yield f"{source} does not reach {target} on {connection.port.number}"
