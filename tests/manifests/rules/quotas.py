"""Whether each namespace's quota admits what is declared in it, and its defaults do no harm. Reads only what is rendered."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from tests.manifests.rules.budget import quantity
from tests.manifests.rules.objects import Object, Objects, namespace_of, of_kind, title, workloads

NODES = 100
"""On how many nodes a DaemonSet must find room."""

KEYS = ("pods", "requests.cpu", "requests.memory", "limits.memory")

# The operator's sidecar in each pod of a Tenant comes without resources (minio/operator, getSideCarContainer).
_SIDECAR: dict[str, Any] = {"name": "sidecar", "resources": {}}

Needs = dict[str, float]
"""Key of a quota to amount."""


@frozen
class Demand:
    """Like pods that may run at one time, what each takes, and how many more come while they are replaced."""

    who: str
    namespace: str
    pods: int
    surge: int
    each: Needs


def quota_problems(objects: Objects) -> list[str]:
    """Namespaces without one quota, or whose quota refuses a declared pod: at the most, every Job at once, the largest update under way."""
    found = []
    for namespace in (o["metadata"]["name"] for o in of_kind(objects, "Namespace")):
        quotas = [o["spec"]["hard"] for o in of_kind(objects, "ResourceQuota") if namespace_of(o) == namespace]
        if len(quotas) != 1:
            found.append(f"Namespace {namespace} has {len(quotas)} quotas")
            continue
        if len(_defaults(objects, namespace)) != 1:
            continue
        wanted = needs(objects, namespace)
        found += [f"Namespace {namespace} has no limit of {key}" for key in KEYS if key not in quotas[0]]
        found += [f"Namespace {namespace} has a limit of {key}" for key in quotas[0] if key not in KEYS]
        found += [
            f"Namespace {namespace} admits {key} of {quotas[0][key]}, and {wanted[key]:g} are needed"
            for key in KEYS
            if key in quotas[0] and quantity(quotas[0][key]) < wanted[key]
        ]
    return found


def limit_range_problems(objects: Objects) -> list[str]:
    """Namespaces without one LimitRange that gives what a quota asks of a container, or with one that throttles or refuses."""
    found = []
    for namespace in (o["metadata"]["name"] for o in of_kind(objects, "Namespace")):
        ranges = _defaults(objects, namespace)
        if len(ranges) != 1:
            found.append(f"Namespace {namespace} has {len(ranges)} ranges of limits")
            continue
        (item,) = ranges
        if set(item) != {"type", "default", "defaultRequest"}:
            found.append(f"Namespace {namespace} limits containers by {sorted(item)}")
        elif set(item["default"]) != {"memory"} or set(item["defaultRequest"]) != {"cpu", "memory"}:
            found.append(f"Namespace {namespace} gives {item['default']} and {item['defaultRequest']}")
        elif quantity(item["default"]["memory"]) < quantity(item["defaultRequest"]["memory"]):
            found.append(f"Namespace {namespace} requests more memory than it allows")
    return found


def admitted(objects: Objects) -> Needs:
    """The sum of all quotas."""
    return _sum(*({key: quantity(amount) for key, amount in o["spec"]["hard"].items()} for o in of_kind(objects, "ResourceQuota")))


def needs(objects: Objects, namespace: str) -> Needs:
    """The most that the pods of a namespace take at one time."""
    demands = [demand for demand in _demands(objects) if demand.namespace == namespace]
    total = _sum(*(_times(demand.each, demand.pods) for demand in demands))
    update = {key: max((demand.each.get(key, 0) * demand.surge for demand in demands), default=0) for key in KEYS}
    return {key: total.get(key, 0) + update[key] for key in KEYS}


def daemons(objects: Objects) -> Needs:
    """What the pods of DaemonSets take that run on more nodes than three."""
    return _sum(*(_times(demand.each, demand.pods - 3) for demand in _demands(objects) if demand.who.startswith("DaemonSet")))


def _demands(objects: Objects) -> Iterator[Demand]:
    for workload in workloads(objects):
        pods = NODES if workload.kind == "DaemonSet" else workload.most
        each = _pod(workload.pod, _defaults(objects, workload.namespace))
        # With Recreate the old pod has gone before the new one comes.
        surge = int(workload.spec["strategy"].get("rollingUpdate", {}).get("maxSurge", 0)) if workload.kind == "Deployment" else 0
        yield Demand(str(workload), workload.namespace, pods, surge, each)
    for cluster in of_kind(objects, "Cluster"):
        spec, namespace = cluster["spec"], namespace_of(cluster)
        stores = {o["metadata"]["name"]: o for o in of_kind(objects, "ObjectStore") if namespace_of(o) == namespace}
        archivers = [stores[plugin["parameters"]["barmanObjectName"]] for plugin in spec.get("plugins", [])]
        containers = [spec, *(store["spec"]["instanceSidecarConfiguration"] for store in archivers)]
        each = _pod({"containers": containers}, _defaults(objects, namespace))
        yield Demand(title(cluster), namespace, spec["instances"], 0, each)
    for tenant in of_kind(objects, "Tenant"):
        for pool in tenant["spec"]["pools"]:
            pod = _pod({"containers": [pool, _SIDECAR]}, _defaults(objects, namespace_of(tenant)))
            yield Demand(title(tenant), namespace_of(tenant), pool["servers"], 0, pod)


def _defaults(objects: Objects, namespace: str) -> list[Object]:
    """What a namespace says of its containers."""
    ranges = [o for o in of_kind(objects, "LimitRange") if namespace_of(o) == namespace]
    return [item for o in ranges for item in o["spec"]["limits"] if item["type"] == "Container"]


def _pod(pod: Mapping[str, Any], defaults: list[Object]) -> Needs:
    """What the quota counts of a pod: its containers and sidecars together, or an init container that takes more."""
    init = pod.get("initContainers", [])
    sidecars = [container for container in init if container.get("restartPolicy") == "Always"]
    running = _sum(*(_container(container["resources"], defaults) for container in [*pod["containers"], *sidecars]))
    steps = [running, *(_container(container["resources"], defaults) for container in init)]
    return {key: max(step.get(key, 0) for step in steps) for key in running} | {"pods": 1}


def _container(resources: Mapping[str, Any], defaults: list[Object]) -> Needs:
    item = defaults[0] if defaults else {"default": {"memory": 0}, "defaultRequest": {"cpu": 0, "memory": 0}}
    requests = {**item.get("defaultRequest", {}), **resources.get("requests", {})}
    limits = {**item.get("default", {}), **resources.get("limits", {})}
    return {
        "requests.cpu": quantity(requests.get("cpu", 0)),
        "requests.memory": quantity(requests.get("memory", 0)),
        "limits.memory": quantity(limits.get("memory", 0)),
    }


def _times(each: Needs, pods: int) -> Needs:
    return {key: amount * pods for key, amount in each.items()}


def _sum(*parts: Needs) -> Needs:
    return {key: sum(part.get(key, 0) for part in parts) for key in KEYS}
