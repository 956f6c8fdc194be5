"""What the pods of a profile request, read from the rendered objects alone, beside the profile's envelope."""

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from kit.quantities import Bytes, Cpu, parse_bytes, parse_cpu
from kit.rendering import Manifest, ObjectId


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
    objects = list(manifests)
    least = {
        ObjectId(target["kind"], o["metadata"]["namespace"], target["name"]): o["spec"]["minReplicas"]
        for o in objects
        if o["kind"] == "HorizontalPodAutoscaler"
        for target in [o["spec"]["scaleTargetRef"]]
    }
    sidecars = {ObjectId.of(o).name: o for o in objects if o["kind"] == "ObjectStore"}
    return Budget(tuple(line for o in objects for line in _lines(o, least, sidecars, nodes)))


def _lines(o: Manifest, least: dict[ObjectId, int], sidecars: dict[str, Manifest], nodes: int) -> Iterator[Line]:
    spec = o.get("spec", {})
    match o["kind"]:
        case "Deployment" | "StatefulSet":
            pods = spec.get("replicas", least.get(ObjectId.of(o), 1))
            yield _line(o, pods, *_pod_requests(spec["template"]["spec"]), _claims(spec.get("volumeClaimTemplates", [])))
        case "DaemonSet":
            yield _line(o, nodes, *_pod_requests(spec["template"]["spec"]), Bytes(0))
        case "Cluster":
            requests = [spec["resources"]["requests"]]
            for plugin in spec.get("plugins", []):
                store = sidecars[plugin["parameters"]["barmanObjectName"]]
                requests.append(store["spec"]["instanceSidecarConfiguration"]["resources"]["requests"])
            storage = parse_bytes(spec["storage"]["size"]) + parse_bytes(spec["walStorage"]["size"])
            yield _line(o, spec["instances"], *_add(requests), storage)
        case "Tenant":
            for pool in spec["pools"]:
                drive = parse_bytes(pool["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"])
                yield _line(o, pool["servers"], *_add([pool["resources"]["requests"]]), drive * pool["volumesPerServer"])


def _line(o: Manifest, pods: int, cpu: Cpu, memory: Bytes, storage: Bytes) -> Line:
    metadata = o["metadata"]
    component = metadata.get("labels", {}).get("app.kubernetes.io/name", metadata["name"])
    return Line(metadata["name"], component, pods, cpu * pods, memory * pods, storage * pods)


def _pod_requests(pod: dict[str, Any]) -> tuple[Cpu, Bytes]:
    """What the scheduler reserves: the sum of the containers and sidecars, or the largest init container if that is more."""
    init = pod.get("initContainers", [])
    running = pod["containers"] + [c for c in init if c.get("restartPolicy") == "Always"]
    cpu, memory = _add([c["resources"]["requests"] for c in running])
    for container in init:
        single = _add([container["resources"]["requests"]])
        cpu, memory = max(cpu, single[0]), max(memory, single[1])
    return cpu, memory


def _add(requests: list[dict[str, Any]]) -> tuple[Cpu, Bytes]:
    cpu, memory = Cpu(0), Bytes(0)
    for request in requests:
        cpu, memory = cpu + parse_cpu(request["cpu"]), memory + parse_bytes(request["memory"])
    return cpu, memory


def _claims(templates: list[dict[str, Any]]) -> Bytes:
    return sum((parse_bytes(t["spec"]["resources"]["requests"]["storage"]) for t in templates), start=Bytes(0))


def _sum(workload: str, component: str, lines: Iterable[Line]) -> Line:
    total = Line(workload, component, 0, Cpu(0), Bytes(0), Bytes(0))
    for line in lines:
        total = Line(
            workload, component, total.pods + line.pods, total.cpu + line.cpu, total.memory + line.memory, total.storage + line.storage
        )
    return total
