"""What pods take: every object that runs pods, Kubernetes' own kinds and the custom resources of which an operator makes pods."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from kit.quantities import Bytes, Cpu, Resources, mib, millicores, parse_bytes, parse_cpu
from kit.rendering import Manifest, ObjectId

UNDECLARED = Resources(millicores(25), mib(64), mib(256))
"""What a container gets that says nothing itself: a sidecar of the MinIO operator, a container that a person starts to look around."""

MOST_NODES = 100
"""Nodes on which a quota admits the pods of a DaemonSet: several times what the largest profile needs."""

AUTOSCALERS = {"HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"), "ScaledObject": ("minReplicaCount", "maxReplicaCount")}
"""A kind of object that sets how many pods there are, to its fields with the least and the most."""

OPERATORS = {"Cluster": "cnpg.io/cluster", "Tenant": "v1.min.io/tenant"}
"""A custom resource of which an operator makes pods, to the label that has its name."""

_SIDECARS_OF_MINIO = 1
"""Containers without resources that the MinIO operator adds to each pod of a Tenant (pkg/resources/statefulsets/minio-statefulset.go)."""

_NO_TIME, _NOTHING = Cpu(0), Bytes(0)


@frozen
class Share:
    """What one pod takes: requests, the limit of its memory, and its volumes' storage."""

    cpu: Cpu = _NO_TIME
    memory: Bytes = _NOTHING
    memory_limit: Bytes = _NOTHING
    storage: Bytes = _NOTHING

    def __add__(self, other: "Share") -> "Share":
        return Share(self.cpu + other.cpu, self.memory + other.memory, self.memory_limit + other.memory_limit, self.storage + other.storage)

    def __mul__(self, pods: int) -> "Share":
        return Share(self.cpu * pods, self.memory * pods, self.memory_limit * pods, self.storage * pods)


@frozen
class PodSet:
    """Like pods. `least`: how many run when nothing happens; `most`: with autoscalers at their ceiling and in the middle of an update.

    `labels`: by which they are known.
    """

    namespace: str
    workload: str
    component: str
    least: int
    most: int
    each: Share
    labels: frozenset[tuple[str, str]] = frozenset()


def claimed(manifests: Iterable[Manifest]) -> Iterator[tuple[Manifest, Share]]:
    """Every volume that is declared as such, and what it takes: those that a StatefulSet makes are its pods'."""
    for o in manifests:
        if o["kind"] == "PersistentVolumeClaim":
            yield o, volume_share(o["spec"])


def taken(manifests: Iterable[Manifest], nodes: int) -> Mapping[str, tuple[int, Share]]:
    """For each namespace how many pods may be there at one time, and what they take: every Job at once, a DaemonSet on each node."""
    found: dict[str, tuple[int, Share]] = {}
    for pods in pod_sets(manifests, nodes):
        count, share = found.get(pods.namespace, (0, Share()))
        found[pods.namespace] = (count + pods.most, share + pods.each * pods.most)
    return found


def pod_sets(manifests: Iterable[Manifest], nodes: int) -> Iterator[PodSet]:
    """All pods that the objects make. `nodes`: on how many a DaemonSet runs."""
    objects = list(manifests)
    scaled = {
        ObjectId(target["kind"], o["metadata"]["namespace"], target["name"]): (o["spec"][least], o["spec"][most])
        for o in objects
        if o["kind"] in AUTOSCALERS
        for target, (least, most) in [(o["spec"]["scaleTargetRef"], AUTOSCALERS[o["kind"]])]
    }
    stores = {(identity.namespace, identity.name): o for o in objects for identity in [ObjectId.of(o)] if o["kind"] == "ObjectStore"}
    for o in objects:
        spec, namespace = o.get("spec", {}), o["metadata"].get("namespace", "")
        least, most = scaled.get(ObjectId.of(o), (spec.get("replicas", 1),) * 2)
        match o["kind"]:
            case "Deployment":
                yield _pod_set(o, least, most + _surge(spec, most), _pod_share(spec["template"]["spec"]))
            case "StatefulSet":
                claims = sum((volume_share(template["spec"]) for template in spec.get("volumeClaimTemplates", [])), Share())
                yield _pod_set(o, least, most, _pod_share(spec["template"]["spec"]) + claims)
            case "DaemonSet":
                yield _pod_set(o, nodes, nodes, _pod_share(spec["template"]["spec"]))
            case "Job":
                yield _pod_set(o, 0, spec.get("parallelism", 1), _pod_share(spec["template"]["spec"]))
            case "CronJob":
                overlapping = 1 if spec.get("concurrencyPolicy", "Allow") == "Forbid" else 2
                yield _pod_set(o, 0, overlapping, _pod_share(spec["jobTemplate"]["spec"]["template"]["spec"]))
            case "Cluster":
                # One more: the Job that makes an instance, or a backup that is restored beside the cluster.
                yield _pod_set(o, spec["instances"], spec["instances"] + 1, _instance(spec, namespace, stores))
            case "Tenant":
                sidecars = Share(UNDECLARED.cpu, UNDECLARED.memory, UNDECLARED.memory_limit) * _SIDECARS_OF_MINIO
                for pool in spec["pools"]:
                    drives = volume_share(pool["volumeClaimTemplate"]["spec"]) * pool["volumesPerServer"]
                    yield _pod_set(o, pool["servers"], pool["servers"], _share(pool["resources"]) + sidecars + drives)


def _pod_set(o: Manifest, least: int, most: int, each: Share) -> PodSet:
    metadata = o["metadata"]
    component = metadata.get("labels", {}).get("app.kubernetes.io/name", metadata["name"])
    return PodSet(metadata["namespace"], metadata["name"], component, least, most, each, frozenset(_pod_labels(o).items()))


def _pod_labels(o: Manifest) -> Mapping[str, str]:
    """Of the pods that an object makes. Operators have one label of their own for each of their objects."""
    if label := OPERATORS.get(o["kind"]):
        return {label: o["metadata"]["name"]}
    spec = o["spec"]["jobTemplate"]["spec"] if o["kind"] == "CronJob" else o["spec"]
    labels: Mapping[str, str] = spec["template"].get("metadata", {}).get("labels", {})
    return labels


def _surge(spec: Mapping[str, Any], replicas: int) -> int:
    """How many pods a Deployment may have beyond its replicas while it is updated."""
    strategy = spec.get("strategy", {})
    if strategy.get("type") == "Recreate":
        return 0
    surge = strategy.get("rollingUpdate", {}).get("maxSurge", "25%")
    return -(-replicas * int(surge.removesuffix("%")) // 100) if isinstance(surge, str) else int(surge)


def _pod_share(pod: Mapping[str, Any]) -> Share:
    """What is reserved for a pod: the sum of the containers and sidecars, or the largest init container if that is more."""
    init = pod.get("initContainers", [])
    running = pod["containers"] + [c for c in init if c.get("restartPolicy") == "Always"]
    total = sum((_share(c["resources"]) for c in running), Share())
    for single in (_share(container["resources"]) for container in init):
        total = Share(max(total.cpu, single.cpu), max(total.memory, single.memory), max(total.memory_limit, single.memory_limit))
    return total


def _instance(spec: Mapping[str, Any], namespace: str, stores: Mapping[tuple[str, str], Manifest]) -> Share:
    """One instance of a database: the server, the sidecar that archives, and its volumes."""
    share = _share(spec["resources"])
    for plugin in spec.get("plugins", []):
        store = stores[namespace, plugin["parameters"]["barmanObjectName"]]
        share += _share(store["spec"]["instanceSidecarConfiguration"]["resources"])
    sizes = [spec[volume]["size"] for volume in ("storage", "walStorage") if volume in spec]
    return share + Share(storage=sum(map(parse_bytes, sizes), Bytes(0)))


def _share(resources: Mapping[str, Any]) -> Share:
    requests = resources["requests"]
    return Share(parse_cpu(requests["cpu"]), parse_bytes(requests["memory"]), parse_bytes(resources["limits"]["memory"]))


def volume_share(claim: Mapping[str, Any]) -> Share:
    """What one volume takes. `claim`: the spec of a PersistentVolumeClaim."""
    return Share(storage=parse_bytes(claim["resources"]["requests"]["storage"]))
