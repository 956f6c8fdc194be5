"""What keeps the platform up when a node, a pod or a program fails."""

from collections.abc import Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, of_kind, title, workloads
from tests.manifests.rules.tenants import POOL

HOST = "kubernetes.io/hostname"

# Workloads that stop working when a majority is gone: two of them on one node would make that node a single point of failure.
QUORUMS = {"redis"}

# Containers that need no probe of their own: why.
UNPROBED: dict[str, str] = {}


def probe_problems(objects: Objects) -> list[str]:
    """Containers that run for ever without readiness and liveness probes."""
    return [
        f"{workload}: {container['name']} has no {probe}"
        for workload in workloads(objects)
        if workload.runs_for_ever
        for container in workload.serving
        if container["name"] not in UNPROBED
        for probe in ("readinessProbe", "livenessProbe")
        if probe not in container
    ]


def quorum_problems(objects: Objects) -> list[str]:
    """Members of a quorum that may share a node.

    MinIO only prefers to be apart: it must start on three nodes as well as on many. How many servers a node may have is a number that must fit.
    """
    found = []
    for workload in workloads(objects):
        if workload.name.removesuffix("-li") in QUORUMS:
            terms = workload.pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
            apart = [t for t in terms if t["topologyKey"] == HOST and t["labelSelector"]["matchLabels"].items() <= workload.labels.items()]
            if not apart:
                found.append(f"{workload}: two may share a node")
    for cluster in of_kind(objects, "Cluster"):
        affinity = cluster["spec"].get("affinity", {})
        if (affinity.get("enablePodAntiAffinity"), affinity.get("podAntiAffinityType"), affinity.get("topologyKey")) != (
            True,
            "required",
            HOST,
        ):
            found.append(f"{title(cluster)}: two instances may share a node")
    for tenant in of_kind(objects, "Tenant"):
        labels = {"v1.min.io/tenant": tenant["metadata"]["name"]}
        for pool in tenant["spec"]["pools"]:
            rules = pool.get("affinity", {}).get("podAntiAffinity", {})
            wished = [term["podAffinityTerm"] for term in rules.get("preferredDuringSchedulingIgnoredDuringExecution", [])]
            terms = [*rules.get("requiredDuringSchedulingIgnoredDuringExecution", []), *wished]
            if not any(t["topologyKey"] == HOST and t["labelSelector"]["matchLabels"] == labels for t in terms):
                found.append(f"{title(tenant)}: {pool['name']} does not spread over nodes")
    return found


def spread_problems(objects: Objects) -> list[str]:
    """Workloads that may have several pods and do not spread them over nodes."""
    found = []
    for workload in workloads(objects):
        if workload.kind not in ("Deployment", "StatefulSet"):
            continue
        spread = workload.pod.get("topologySpreadConstraints", [])
        hosts = [c for c in spread if c["topologyKey"] == HOST]
        if not hosts:
            found.append(f"{workload} does not spread over nodes")
        for constraint in spread:
            selector = constraint["labelSelector"]["matchLabels"]
            if not selector.items() <= workload.labels.items():
                found.append(f"{workload} spreads pods that are not its own")
    return found


def most_apart(pod: Mapping[str, Any]) -> list[tuple[int, Mapping[str, str]]]:
    """By how many pods two nodes may differ where one could take one more, and which pods are counted by their labels: each bound that there is."""
    return [
        (c["maxSkew"], c["labelSelector"]["matchLabels"])
        for c in pod.get("topologySpreadConstraints", [])
        if (c["topologyKey"], c["whenUnsatisfiable"], c.get("minDomains"), c.get("nodeTaintsPolicy")) == (HOST, "DoNotSchedule", 2, "Honor")
    ]


def two_node_problems(objects: Objects) -> list[str]:
    """Workloads with two pods or more that may all stand on one node, though another could take one; elastic workers of Synapse only wish.

    The scheduler forbids a node by which the difference to the emptiest would be more than `maxSkew`: all on one node is a difference of all.
    Of MinIO's servers no more may be on one node than may be lost, which is among the numbers that fit.
    """
    found = []
    for workload in workloads(objects):
        elastic = workload.kind == "StatefulSet" and workload.most != workload.least
        if workload.kind not in ("Deployment", "StatefulSet") or workload.least < 2 or elastic or POOL.fullmatch(workload.name):
            continue
        terms = workload.pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
        if not terms and [bound for bound, _ in most_apart(workload.pod)] != [workload.least - 1]:
            found.append(f"{workload}: its {workload.least} pods may stand on one node, or wait where one has room")
    return found


def zone_problems(objects: Objects) -> list[str]:
    """For a cluster of several zones: workloads that do not spread over them."""
    found = []
    zone = "topology.kubernetes.io/zone"
    for workload in workloads(objects):
        keys = {c["topologyKey"] for c in workload.pod.get("topologySpreadConstraints", [])}
        if workload.kind in ("Deployment", "StatefulSet") and zone not in keys:
            found.append(f"{workload} does not spread over zones")
    apart = [(title(c), {t["topologyKey"] for t in c["spec"].get("topologySpreadConstraints", [])}) for c in of_kind(objects, "Cluster")]
    return found + [f"{name} does not spread over zones" for name, keys in apart if zone not in keys]


ALONE = {
    "synapse-li": "two would take over positions from each other",
    "valkey-li": "what is said to one is not heard at another",
    "li-sync-broker": "what is sent to one is not taken from another",
    "li-sync-beat": "two would send every task twice",
}
"""Deployments without a volume of which there may be but one pod at a time: why."""


def rollout_problems(objects: Objects) -> list[str]:
    """Deployments that take a pod away before the new one is ready, though they could do otherwise.

    Where the pod has a volume that one node at a time can have, the new one could not start before the old one has gone.
    """
    found = []
    for o in of_kind(objects, "Deployment"):
        strategy, volumes = o["spec"].get("strategy", {}), o["spec"]["template"]["spec"].get("volumes", [])
        holds_a_volume = any("persistentVolumeClaim" in volume for volume in volumes)
        if holds_a_volume and strategy.get("type") != "Recreate":
            found.append(f"{title(o)} starts a pod that waits for the volume of the one before it")
        if not holds_a_volume and o["metadata"]["name"] not in ALONE and strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0:
            found.append(f"{title(o)} takes pods away before new ones are ready")
    return found
