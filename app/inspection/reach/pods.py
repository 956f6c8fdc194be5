"""Who talks and who listens: pods, read from the workloads that make them, and addresses outside the pod network."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from attrs import field, frozen

from app.inspection.reach.policies import IPAddress, Labels, Manifest

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")


@frozen
class ContainerPort:
    """A port that a container declares; `name` is empty if it has none. Declaring is a courtesy: a program may listen anywhere."""

    name: str
    number: int
    protocol: str = "TCP"


@frozen(eq=False)
class Address:
    """Something that is no pod of the network: the world, a node, the API server. It has no labels, so only an `ipBlock` can mean it."""

    name: str
    addresses: tuple[IPAddress, ...]

    def __str__(self) -> str:
        return self.name


@frozen(eq=False)
class Pod:
    """One pod, or several that no selector can tell apart (the replicas of a Deployment).

    `workload` is the object that a person knows it by, `namespace/name`. `alone` says that there is never a second pod behind this value,
    so that what it sends to itself stays inside. `addresses` are those by which an `ipBlock` can mean it: the node's for a pod on the
    node's network, which in return no selector means.
    """

    namespace: str
    name: str
    workload: str
    labels: Labels
    ports: tuple[ContainerPort, ...] = ()
    host_network: bool = False
    alone: bool = False
    subdomain: str = ""
    addresses: tuple[IPAddress, ...] = ()
    _names: Mapping[tuple[int, str], frozenset[str]] = field(init=False)

    @_names.default
    def _index_names(self) -> Mapping[tuple[int, str], frozenset[str]]:
        numbers = {(port.number, port.protocol) for port in self.ports}
        return {key: frozenset(port.name for port in self.ports if (port.number, port.protocol) == key and port.name) for key in numbers}

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def names_of(self, number: int, protocol: str) -> frozenset[str]:
        """What a policy or a Service may call this port."""
        return self._names.get((number, protocol), frozenset())

    def numbers_of(self, name: str, protocol: str | None = None) -> tuple[ContainerPort, ...]:
        """The ports with a name, of any protocol unless one is given."""
        return tuple(port for port in self.ports if port.name == name and protocol in (None, port.protocol))


Peer = Pod | Address


@frozen(eq=False)
class Workload:
    """The pods of one Deployment, StatefulSet, custom resource, … under the name by which a person knows them."""

    namespace: str
    name: str
    pods: tuple[Pod, ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def read_pods(objects: Iterable[Manifest], nodes: tuple[IPAddress, ...], network: tuple[IPAddress, ...]) -> tuple[Pod, ...]:
    """The pods of all workloads. `nodes` are addresses of nodes, `network` addresses of pods if an `ipBlock` is to mean pods."""
    listed = list(objects)
    most = _autoscaled(listed)
    return tuple(pod for manifest in listed if manifest["kind"] in WORKLOADS for pod in _pods(manifest, most, nodes, network))


def addresses(ranges: Iterable[str]) -> tuple[IPAddress, ...]:
    """One address for each address or range: a range is represented by its first host."""
    networks = [ip_network(text, strict=False) for text in ranges]
    return tuple(network[min(1, network.num_addresses - 1)] for network in networks)


def namespace_of(manifest: Manifest) -> str:
    """The namespace of a namespaced object."""
    return manifest["metadata"].get("namespace") or "default"


def _pods(
    manifest: Manifest, most: Mapping[tuple[str, str, str], int], nodes: tuple[IPAddress, ...], network: tuple[IPAddress, ...]
) -> Iterator[Pod]:
    kind, namespace, name = manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"]
    spec, template = _template(manifest)
    labels = (template.get("metadata") or {}).get("labels") or {}
    pod_spec = template.get("spec") or {}
    host_network = bool(pod_spec.get("hostNetwork"))
    replicas = max(_count(spec, kind), most.get((kind, namespace, name), 0))

    def pod(pod_name: str, extra: Labels, alone: bool, subdomain: str = "", workload: str = name) -> Pod:
        return Pod(
            namespace=namespace,
            name=pod_name,
            workload=f"{namespace}/{workload}",
            labels={**labels, **extra},
            ports=tuple(_ports(pod_spec)),
            host_network=host_network,
            alone=alone,
            subdomain=subdomain,
            addresses=nodes if host_network else network,
        )

    match kind:
        case "StatefulSet":
            # Its pods can be told apart: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-name-label
            first = (spec.get("ordinals") or {}).get("start", 0)
            for ordinal in range(first, first + max(replicas, 1)):
                own = {"statefulset.kubernetes.io/pod-name": f"{name}-{ordinal}", "apps.kubernetes.io/pod-index": str(ordinal)}
                yield pod(f"{name}-{ordinal}", own, alone=True, subdomain=spec.get("serviceName") or "")
        case "Job":
            yield pod(name, {"batch.kubernetes.io/job-name": name, "job-name": name}, alone=replicas <= 1)
        case "Pod":
            owners = [owner["name"] for owner in manifest["metadata"].get("ownerReferences") or () if owner.get("controller")]
            yield pod(name, {}, alone=True, subdomain=pod_spec.get("subdomain") or "", workload=owners[0] if owners else name)
        case _:
            yield pod(name, {}, alone=kind in ("Deployment", "ReplicaSet") and replicas <= 1)


def _template(manifest: Manifest) -> tuple[Manifest, Manifest]:
    """The spec that counts the pods, and the template they are made from."""
    spec: Manifest = manifest.get("spec") or {}
    match manifest["kind"]:
        case "Pod":
            return {}, manifest
        case "CronJob":
            job: Manifest = spec["jobTemplate"]["spec"]
            return job, job["template"]
        case _:
            return spec, spec["template"]


def _count(spec: Manifest, kind: str) -> int:
    count: int | None = spec.get("parallelism") if kind in ("Job", "CronJob") else spec.get("replicas")
    return 1 if count is None else count


def _autoscaled(objects: Iterable[Manifest]) -> dict[tuple[str, str, str], int]:
    """How many pods an autoscaler may make of a workload: the autoscaler's object says it, not the workload's."""
    most = {}
    for manifest in objects:
        spec: dict[str, Any] = manifest.get("spec") or {}
        if manifest["kind"] == "HorizontalPodAutoscaler":
            target, count = spec["scaleTargetRef"], spec["maxReplicas"]
        elif manifest["kind"] == "ScaledObject":
            # Defaults: https://keda.sh/docs/latest/reference/scaledobject-spec/
            target, count = spec["scaleTargetRef"], spec.get("maxReplicaCount", 100)
        else:
            continue
        most[target.get("kind") or "Deployment", namespace_of(manifest), target["name"]] = count
    return most


def _ports(pod_spec: Manifest) -> Iterator[ContainerPort]:
    # Native sidecars (init containers that restart always) count: https://github.com/kubernetes/kubernetes/pull/128850
    sidecars = [container for container in pod_spec.get("initContainers") or () if container.get("restartPolicy") == "Always"]
    for container in (*(pod_spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            yield ContainerPort(port.get("name") or "", port["containerPort"], port.get("protocol") or "TCP")
