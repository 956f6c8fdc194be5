"""Kubernetes objects as `kubectl kustomize` prints them, and the pods that they make. Knows nothing of how they were generated."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import pytest
import yaml
from attrs import define, frozen

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = list[Object]
Rule: TypeAlias = Callable[[Objects], list[str]]
Declared: TypeAlias = Mapping[tuple[str, str], set[str]]

# Labels that the StatefulSet controller puts on each pod.
POD_NAME = "statefulset.kubernetes.io/pod-name"


@define(eq=False, slots=False)
class Workload:
    """A set of like pods: of a Deployment, StatefulSet, DaemonSet, Job or CronJob. `least` and `most`: how many."""

    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any]
    template: Mapping[str, Any]
    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"].get("labels", {}))

    @property
    def pod(self) -> Mapping[str, Any]:
        """The specification of its pods."""
        spec: Mapping[str, Any] = self.template["spec"]
        return spec

    @property
    def runs_for_ever(self) -> bool:
        return self.kind not in ("Job", "CronJob")

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Init containers first, as they run."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def serving(self) -> list[dict[str, Any]]:
        """Containers that run as long as the pod does."""
        return [*self.pod["containers"], *(c for c in self.pod.get("initContainers", []) if c.get("restartPolicy") == "Always")]

    @cached_property
    def pod_names(self) -> tuple[str, ...]:
        """The names of a StatefulSet's pods, also of those that an autoscaler may add."""
        return tuple(f"{self.name}-{ordinal}" for ordinal in range(self.most)) if self.kind == "StatefulSet" else ()

    @cached_property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for c in self.serving for port in c.get("ports", []) if "name" in port}

    @cached_property
    def numbers(self) -> set[int]:
        """The port numbers on which its pods listen."""
        return {port["containerPort"] for c in self.serving for port in c.get("ports", [])}

    def selected_by(self, selector: Mapping[str, str], namespace: str) -> bool:
        """Whether a Service or policy with this selector chooses some of the pods."""
        if namespace != self.namespace:
            return False
        named = selector.get(POD_NAME)
        rest = {key: value for key, value in selector.items() if key != POD_NAME}
        return rest.items() <= self.labels.items() and (named is None or named in self.pod_names)


@frozen
class OperatorPods:
    """Pods that an operator makes for a custom resource: the Services that come with them, name to its port and the pods'."""

    owner: str
    namespace: str
    labels: Mapping[str, str]
    services: Mapping[str, Mapping[int, int]]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [o for o in objects if o["kind"] in kinds]


def namespace_of(o: Object) -> str:
    return str(o["metadata"].get("namespace", ""))


def title(o: Object) -> str:
    metadata = o["metadata"]
    return f"{o['kind']} {metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else f"{o['kind']} {metadata['name']}"


def limits(scaler: Object) -> tuple[int, int]:
    """The least and the most pods of an autoscaler of Kubernetes or KEDA (which would do without any, if it said nothing)."""
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        return spec.get("minReplicaCount", 0), spec["maxReplicaCount"]
    return spec.get("minReplicas", 1), spec["maxReplicas"]


def autoscalers(objects: Objects) -> list[Object]:
    """All of them."""
    return of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")


def workloads(objects: Objects) -> list[Workload]:
    """Every workload of Kubernetes' own kinds."""
    scaled = {
        (namespace_of(o), o["spec"]["scaleTargetRef"]["kind"], o["spec"]["scaleTargetRef"]["name"]): limits(o) for o in autoscalers(objects)
    }
    found = []
    for o in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
        spec, namespace, name = o["spec"], namespace_of(o), o["metadata"]["name"]
        template = spec["jobTemplate"]["spec"]["template"] if o["kind"] == "CronJob" else spec["template"]
        replicas = spec.get("replicas", 1)
        least, most = scaled.get((namespace, o["kind"], name), (replicas, replicas))
        found.append(Workload(o["kind"], namespace, name, spec, template, least, most))
    return found


def operator_pods(objects: Objects) -> list[OperatorPods]:
    """Pods and Services of custom resources.

    CloudNativePG: pkg/utils/labels_annotations.go and pkg/specs/services.go. MinIO operator: pkg/apis/minio.min.io/v2/names.go and
    pkg/resources/services (`minio` is the API at the port of HTTP or HTTPS, `<tenant>-hl` the headless one).
    """
    found = []
    for o in of_kind(objects, "Cluster"):
        disabled = o["spec"].get("managed", {}).get("services", {}).get("disabledDefaultServices", [])
        names = [f"{o['metadata']['name']}-{kind}" for kind in ("rw", "ro", "r") if kind not in disabled]
        labels = {"cnpg.io/cluster": o["metadata"]["name"]}
        found.append(OperatorPods(title(o), namespace_of(o), labels, {name: {5432: 5432} for name in names}))
    for o in of_kind(objects, "Tenant"):
        name = o["metadata"]["name"]
        api = 443 if o["spec"].get("requestAutoCert", True) or o["spec"].get("externalCertSecret") else 80
        services = {"minio": {api: 9000}, f"{name}-hl": {9000: 9000}}
        found.append(OperatorPods(title(o), namespace_of(o), {"v1.min.io/tenant": name}, services))
    return found


def config_maps(objects: Objects) -> dict[tuple[str, str], dict[str, str]]:
    """Namespace and name to files."""
    return {(namespace_of(o), o["metadata"]["name"]): o.get("data", {}) for o in of_kind(objects, "ConfigMap")}


def mounted_texts(workload: Workload, container: Mapping[str, Any], objects: Objects) -> dict[str, str]:
    """The configuration files that a container sees: path to text."""
    maps = config_maps(objects)
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
    found: dict[str, str] = {}
    for mount in container.get("volumeMounts", []):
        source = volumes.get(mount["name"], {}).get("configMap")
        if not source:
            continue
        data = maps.get((workload.namespace, source["name"]), {})
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        one = mount.get("subPath")
        found |= {
            mount["mountPath"] if one else f"{mount['mountPath']}/{item['path']}": data.get(item["key"], "")
            for item in items
            if one in (None, item["path"])
        }
    return found


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a structure, with its path."""
    match value:
        case str():
            yield path, value
        case Mapping():
            for key, item in value.items():
                yield from strings(item, f"{path}.{key}" if path else str(key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from strings(item, f"{path}[{index}]")


def structured(name: str, text: str) -> Any:
    """A configuration file as data, if it is YAML or JSON by its name."""
    if name.endswith(".json"):
        return json.loads(text)
    return yaml.load(text, yaml.CSafeLoader) if name.endswith((".yaml", ".yml")) else None


def assert_kept(rule: Rule, trees: Mapping[str, Objects]) -> None:
    """Fail with everything that a rule finds in any tree."""
    found = [f"{name}: {problem}" for name, objects in trees.items() for problem in rule(objects)]
    if found:
        pytest.fail("\n".join(found[:50]), pytrace=False)
