"""What the pods of a profile request, may use and store, read from the rendered objects alone; and the quotas that admit them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from infrastructure.quotas import SPARE_PODS, UNDECLARED, Quota
from kit.quantities import Bytes, Cpu, parse_bytes, parse_cpu
from kit.rendering import Manifest, ObjectId

_SIDECARS_OF_MINIO = 1
"""Containers without resources that the MinIO operator adds to each pod of a Tenant (pkg/resources/statefulsets/minio-statefulset.go)."""

_NO_TIME, _NOTHING = Cpu(0), Bytes(0)

MOST_NODES = 100
"""Nodes on which a quota admits the pods of a DaemonSet: several times what the largest profile needs."""


@frozen
class Share:
    """What one pod takes: requests, the limit of its memory, and its volumes."""

    cpu: Cpu = _NO_TIME
    memory: Bytes = _NOTHING
    memory_limit: Bytes = _NOTHING
    storage: Bytes = _NOTHING
    volumes: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(
            self.cpu + other.cpu,
            self.memory + other.memory,
            self.memory_limit + other.memory_limit,
            self.storage + other.storage,
            self.volumes + other.volumes,
        )

    def __mul__(self, pods: int) -> "Share":
        return Share(self.cpu * pods, self.memory * pods, self.memory_limit * pods, self.storage * pods, self.volumes * pods)


@frozen
class PodSet:
    """Like pods. `least`: how many run when nothing happens; `most`: with autoscalers at their ceiling and in the middle of an update."""

    namespace: str
    workload: str
    component: str
    least: int
    most: int
    each: Share


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
    """Read every object that runs pods: Kubernetes' own kinds, and the custom resources of which an operator makes pods.

    An autoscaled workload counts with its least number. A DaemonSet counts once for each of `nodes`. Jobs come and go and do not count.
    """
    return Budget(tuple(_line(pods) for pods in pod_sets(manifests, nodes) if pods.least))


def quotas(manifests: Iterable[Manifest], nodes: int = MOST_NODES) -> tuple[Quota, ...]:
    """For each namespace of the platform, what its pods take at the most: a DaemonSet on each of `nodes`, and every Job at once."""
    objects = list(manifests)
    total: dict[str, Share] = defaultdict(Share)
    pods: dict[str, int] = defaultdict(int)
    for found in pod_sets(objects, nodes):
        total[found.namespace] += found.each * found.most
        pods[found.namespace] += found.most
    for claim in (o for o in objects if o["kind"] == "PersistentVolumeClaim"):
        total[claim["metadata"]["namespace"]] += _volume(claim["spec"])
    spare = Share(UNDECLARED.cpu, UNDECLARED.memory, UNDECLARED.memory_limit) * SPARE_PODS
    return tuple(
        Quota(name, pods[name] + SPARE_PODS, taken.cpu, taken.memory, taken.memory_limit, taken.storage, taken.volumes)
        for name in (o["metadata"]["name"] for o in objects if o["kind"] == "Namespace")
        for taken in [total[name] + spare]
    )


def pod_sets(manifests: Iterable[Manifest], nodes: int) -> Iterator[PodSet]:
    """All pods that the objects make. `nodes`: on how many a DaemonSet runs."""
    objects = list(manifests)
    scaled = {
        ObjectId(target["kind"], o["metadata"]["namespace"], target["name"]): (o["spec"]["minReplicas"], o["spec"]["maxReplicas"])
        for o in objects
        if o["kind"] == "HorizontalPodAutoscaler"
        for target in [o["spec"]["scaleTargetRef"]]
    }
    stores = {(identity.namespace, identity.name): o for o in objects for identity in [ObjectId.of(o)] if o["kind"] == "ObjectStore"}
    for o in objects:
        spec, namespace = o.get("spec", {}), o["metadata"].get("namespace", "")
        least, most = scaled.get(ObjectId.of(o), (spec.get("replicas", 1),) * 2)
        match o["kind"]:
            case "Deployment":
                yield _pod_set(o, least, most + _surge(spec, most), _pod_share(spec["template"]["spec"]))
            case "StatefulSet":
                claims = sum((_volume(template["spec"]) for template in spec.get("volumeClaimTemplates", [])), Share())
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
                    drives = _volume(pool["volumeClaimTemplate"]["spec"]) * pool["volumesPerServer"]
                    yield _pod_set(o, pool["servers"], pool["servers"], _share(pool["resources"]) + sidecars + drives)


def _pod_set(o: Manifest, least: int, most: int, each: Share) -> PodSet:
    metadata = o["metadata"]
    component = metadata.get("labels", {}).get("app.kubernetes.io/name", metadata["name"])
    return PodSet(metadata["namespace"], metadata["name"], component, least, most, each)


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
    return share + Share(storage=sum(map(parse_bytes, sizes), Bytes(0)), volumes=len(sizes))


def _share(resources: Mapping[str, Any]) -> Share:
    requests = resources["requests"]
    return Share(parse_cpu(requests["cpu"]), parse_bytes(requests["memory"]), parse_bytes(resources["limits"]["memory"]))


def _volume(claim: Mapping[str, Any]) -> Share:
    return Share(storage=parse_bytes(claim["resources"]["requests"]["storage"]), volumes=1)


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
