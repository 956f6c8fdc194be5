"""What keeps the platform up when a node, a pod or a program fails."""

from collections.abc import Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, of_kind, title, workloads

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

    MinIO prefers to be apart, and no node has more of its servers beyond another one's than may be lost: it must start on three nodes as well as
    on many, and reads go on without the node of two servers.
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
            if terms and terms == wished and _most_apart(pool, labels) != _servers_to_lose(tenant, pool):
                found.append(
                    f"{title(tenant)}: a node may have more servers of {pool['name']} than may be lost, or wait where one has room"
                )
    return found


def _most_apart(pool: Mapping[str, Any], labels: Mapping[str, str]) -> int:
    """By how many servers two nodes may differ; 0 without a bound."""
    bounds = [
        c["maxSkew"]
        for c in pool.get("topologySpreadConstraints", [])
        if (c["topologyKey"], c["whenUnsatisfiable"], c.get("minDomains"), c.get("nodeTaintsPolicy"), c["labelSelector"]["matchLabels"])
        == (HOST, "DoNotSchedule", 2, "Honor", labels)
    ]
    return min(bounds, default=0)


def _servers_to_lose(tenant: Mapping[str, Any], pool: Mapping[str, Any]) -> int:
    """By the parity of each erasure set, of which a server has as many drives as there are sets in no more than 16 drives."""
    parity = next(int(v["value"].removeprefix("EC:")) for v in tenant["spec"]["env"] if v["name"] == "MINIO_STORAGE_CLASS_STANDARD")
    drives = pool["servers"] * pool["volumesPerServer"]
    sets = [size for size in range(2, 17) if drives % size == 0 and (size % pool["servers"] == 0 or pool["servers"] % size == 0)]
    return int(parity // max(1, max(sets) // pool["servers"]))


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


def two_node_problems(objects: Objects) -> list[str]:
    """Workloads with two pods or more that may all stand on one node, though another could take one; elastic workers of Synapse only wish.

    The scheduler forbids a node by which the difference to the emptiest would be more than `maxSkew`: all on one node is a difference of all.
    """
    found = []
    for workload in workloads(objects):
        elastic = workload.kind == "StatefulSet" and workload.most != workload.least
        if workload.kind not in ("Deployment", "StatefulSet") or workload.least < 2 or elastic:
            continue
        terms = workload.pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
        constraints = [
            c
            for c in workload.pod.get("topologySpreadConstraints", [])
            if (c["topologyKey"], c["whenUnsatisfiable"], c.get("minDomains"), c.get("nodeTaintsPolicy"))
            == (HOST, "DoNotSchedule", 2, "Honor")
        ]
        if not terms and [c["maxSkew"] for c in constraints] != [workload.least - 1]:
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
