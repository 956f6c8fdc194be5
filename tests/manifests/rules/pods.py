"""What every pod promises, whatever it runs: who it is, where it stands, who goes first, and what it may write to."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rules.availability import ALONE
from tests.manifests.rules.objects import Objects, Workload, of_kind, title, workloads
from tests.manifests.rules.security import NODE_NETWORK

DATA = {"redis", "redis-proxy", "postgresql-main", "postgresql-li", "minio-main", "minio-li"}
"""Workloads and custom resources of data, which are evicted after messaging."""

WATCHING = {"alertmanager", "alloy", "grafana", "kube-state-metrics", "loki", "node-exporter", "prometheus"}
"""Workloads that watch the others, and go before any of them: they have no class."""

# Programs that only some nodes may run: the label of those nodes.
NODES = {"livekit": "matrix-platform/livekit", "coturn": "matrix-platform/coturn"}
TAINT = "matrix-platform/calls"

APART = {"redis", "livekit"}
"""Workloads of which never two are on one node: a quorum, and servers that take the same ports of their nodes."""

# Capabilities that a program's own file carries, without which it could not be executed.
CAPABILITIES = {"coturn": ["NET_BIND_SERVICE"]}


def priority_problems(objects: Objects) -> list[str]:
    """Pods in another order of eviction than: first what has no class, then messaging, then data."""
    values = {o["metadata"]["name"]: o.get("value", 0) for o in of_kind(objects, "PriorityClass")}
    found = [f"{title(o)} is for pods of others too" for o in of_kind(objects, "PriorityClass") if o.get("globalDefault")]
    # Another installation in the same cluster has classes of its own.
    owner = next((name for o in of_kind(objects, "Namespace") if f"{(name := o['metadata']['name'])}-data" in values), "")
    data, messaging = f"{owner}-data", f"{owner}-messaging"
    if not 0 < values.get(messaging, 0) < values.get(data, 0) <= 1_000_000_000:
        found.append(f"the priorities are {values}: data must be above messaging, and messaging above the rest")
    given = [(str(w), w.name, w.pod.get("priorityClassName")) for w in workloads(objects) if w.runs_for_ever]
    given += [(title(o), o["metadata"]["name"], o["spec"].get("priorityClassName")) for o in of_kind(objects, "Cluster", "Tenant")]
    for who, name, priority in given:
        wanted = None if name in WATCHING else data if name in DATA else messaging
        if priority != wanted:
            found.append(f"{who} has the priority {priority}, not {wanted}")
    return found


def user_problems(objects: Objects) -> list[str]:
    """Pods whose user, group or volumes do not belong together, or may be another user's on the way."""
    found = []
    for workload in workloads(objects):
        context = workload.pod.get("securityContext", {})
        if not context.get("runAsGroup") or context.get("fsGroup") != context["runAsGroup"]:
            found.append(f"{workload}: its group {context.get('runAsGroup')} cannot read what belongs to {context.get('fsGroup')}")
        if context.get("fsGroupChangePolicy") != "OnRootMismatch":
            found.append(f"{workload} goes through all its files as it starts")
        for container in workload.containers:
            added = container.get("securityContext", {}).get("capabilities", {}).get("add", [])
            if added != CAPABILITIES.get(container["name"], []):
                found.append(f"{workload}: {container['name']} has the capabilities {added}")
    return found


def name_service_problems(objects: Objects) -> list[str]:
    """Pods that look names up in the whole search list first, or get every Service of the namespace in their environment."""
    found = []
    for workload in workloads(objects):
        # Full names have four dots; with the default of five, each look-up is four.
        if workload.pod.get("dnsConfig") != {"options": [{"name": "ndots", "value": "2"}]}:
            found.append(f"{workload} looks names up by {workload.pod.get('dnsConfig')}")
        if workload.pod.get("enableServiceLinks") is not False:
            found.append(f"{workload} is told of Services by its environment")
    return found


LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""The taints of a node that is silent."""


def _leaves(workload: Workload) -> bool:
    """Whether pods are made elsewhere a minute after their node has fallen silent: not those with volumes, names, or that must be alone."""
    volumes = workload.pod.get("volumes", [])
    return (
        workload.kind == "Deployment"
        and workload.spec.get("strategy", {}).get("type") == "RollingUpdate"
        and not any("persistentVolumeClaim" in volume for volume in volumes)
    )


def placement_problems(objects: Objects) -> list[str]:
    """Pods that stand elsewhere than is promised, or that keep away from, or spread with, other pods than their own."""
    found = []
    for workload in workloads(objects):
        own = workload.spec.get("selector", {}).get("matchLabels")
        spread = workload.pod.get("topologySpreadConstraints", [])
        if any(constraint["labelSelector"].get("matchLabels") != own for constraint in spread):
            found.append(f"{workload} spreads with other pods than its own")
        # A preference: a small or degraded cluster still runs everything.
        # What must be on two nodes, rules/availability.py says.
        if any((c.get("maxSkew"), c.get("whenUnsatisfiable")) != (1, "ScheduleAnyway") for c in spread if "minDomains" not in c):
            found.append(f"{workload} does not spread evenly, or would rather not run")
        terms = workload.pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
        if any((t["labelSelector"].get("matchLabels"), t.get("topologyKey")) != (own, "kubernetes.io/hostname") for t in terms):
            found.append(f"{workload} keeps away from other pods than its own, or from more than their nodes")
        if bool(terms) != (workload.name in APART):
            found.append(f"{workload} {'needs a node for each pod' if terms else 'may have two pods on a node'}")
        label = NODES.get(workload.name)
        if workload.pod.get("nodeSelector") != ({label: "true"} if label else None):
            found.append(f"{workload} runs on nodes with {workload.pod.get('nodeSelector')}")
        lost = (
            [{"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 60} for key in LOST]
            if _leaves(workload)
            else []
        )
        if workload.pod.get("tolerations", []) != [*([{"key": TAINT, "operator": "Exists"}] if label else []), *lost]:
            found.append(f"{workload} tolerates {workload.pod.get('tolerations')}")
        if bool(workload.pod.get("hostNetwork")) != (workload.name in NODE_NETWORK):
            found.append(f"{workload} is {'' if workload.pod.get('hostNetwork') else 'not '}in the network of its node")
    return found


def update_problems(objects: Objects) -> list[str]:
    """Workloads that are not updated pod by pod, or whose pods wait for one another as they start."""
    promised = {
        "Deployment": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
        "DaemonSet": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}},
        # By default Kubernetes updates one pod after the other.
        "StatefulSet": {"podManagementPolicy": "Parallel"},
    }
    ways = ("strategy", "updateStrategy", "podManagementPolicy")
    found = []
    for o in of_kind(objects, *promised):
        given = {way: o["spec"][way] for way in ways if way in o["spec"]}
        # One pod after the other where they share a volume that one node at a time can have.
        shares = o["kind"] == "Deployment" and any("persistentVolumeClaim" in v for v in o["spec"]["template"]["spec"].get("volumes", []))
        alone = shares or o["metadata"]["name"] in ALONE
        wanted = {"strategy": {"type": "Recreate"}} if alone else promised[o["kind"]]
        if given != wanted:
            found.append(f"{title(o)} is updated by {given}, not by {wanted}")
    return found


def drain_problems(objects: Objects) -> list[str]:
    """Disruption budgets by which a sick pod keeps its node from being drained, or that choose pods otherwise than their workload does."""
    selectors = [w.spec["selector"]["matchLabels"] for w in workloads(objects) if "selector" in w.spec]
    selectors += [{"v1.min.io/tenant": tenant["metadata"]["name"]} for tenant in of_kind(objects, "Tenant")]
    budgets = [(title(o), o["spec"]) for o in of_kind(objects, "PodDisruptionBudget")]
    sick = [f"{name}: a sick pod blocks a drain" for name, spec in budgets if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow"]
    return sick + [f"{name} chooses by {s['selector']}" for name, s in budgets if s["selector"].get("matchLabels") not in selectors]


def volume_problems(objects: Objects) -> list[str]:
    """Volumes without a limit, secrets that others may read or that reach a disk, and mounts that may be written to and need not."""
    return [f"{workload}: {problem}" for workload in workloads(objects) for problem in _volumes(workload)]


def _volumes(workload: Workload) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
    for name, volume in volumes.items():
        # The pod's group reads them; 0440 is 288.
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o440:
            yield f"the files of {name} have the mode {volume['secret'].get('defaultMode')}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{name} may fill the node"
    for claim in workload.spec.get("volumeClaimTemplates", []):
        if claim["spec"].get("accessModes") != ["ReadWriteOnce"]:
            yield f"{claim['metadata']['name']} is {claim['spec'].get('accessModes')}"
    for container in workload.containers:
        for mount in container.get("volumeMounts", []):
            yield from _mount(mount, volumes.get(mount["name"], {}))


def _mount(mount: Mapping[str, Any], volume: Mapping[str, Any]) -> Iterator[str]:
    given = "configMap" in volume or "secret" in volume
    # A volume that pods share may be read by one and written by another.
    if bool(mount.get("readOnly")) != given and "persistentVolumeClaim" not in volume:
        yield f"{mount['mountPath']} is {'writable' if given else 'read-only'}"
    # Programs put there what they make of secrets.
    if mount["mountPath"].startswith("/run/") and "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory":
        yield f"{mount['mountPath']} is on a disk"


def pull_problems(objects: Objects) -> list[str]:
    """Containers that need the registry each time they start, as if their image could change."""
    return [
        f"{workload}: {container['name']} pulls its image {container.get('imagePullPolicy', 'by default')}"
        for workload in workloads(objects)
        for container in workload.containers
        if container.get("imagePullPolicy") != "IfNotPresent"
    ]


def label_problems(objects: Objects) -> list[str]:
    """Objects that nobody finds by the labels that all of the platform have."""
    found = []
    for o in objects:
        labels = o["metadata"].get("labels", {})
        if labels.get("app.kubernetes.io/part-of") != "matrix-platform":
            found.append(f"{title(o)} is not part of the platform")
        # Kustomize makes ConfigMaps of files, and knows nothing of components.
        if o["kind"] != "ConfigMap" and not labels.get("app.kubernetes.io/name"):
            found.append(f"{title(o)} belongs to no component")
    return found


def namespace_level_problems(objects: Objects) -> list[str]:
    """Namespaces with another level of Pod Security than `restricted` for any purpose but pods in the network of their nodes."""
    found = []
    exposed = {w.namespace for w in workloads(objects) if w.name in NODE_NETWORK}
    for o in of_kind(objects, "Namespace"):
        name, labels = o["metadata"]["name"], o["metadata"].get("labels", {})
        levels = [labels.get(f"pod-security.kubernetes.io/{mode}") for mode in ("enforce", "audit", "warn")]
        if levels != ["privileged" if name in exposed else "restricted"] * 3:
            found.append(f"{title(o)} enforces, audits and warns of {levels}")
    return found


def job_problems(objects: Objects) -> list[str]:
    """Jobs that give up before an installation can have come up, or go on when only a person can help."""
    found = []
    for job in of_kind(objects, "Job"):
        spec = job["spec"]
        if spec.get("backoffLimit", 6) != 20 or {"ttlSecondsAfterFinished", "activeDeadlineSeconds"} & set(spec):
            found.append(f"{title(job)} gives up after {spec.get('backoffLimit', 6)} attempts, or is not there to be looked at")
        if job["metadata"]["name"].startswith("secret-generator"):
            # 3: all is done but what the operator of the site has to give.
            rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]
            if spec.get("podFailurePolicy") != {"rules": rules} or spec["template"]["spec"].get("restartPolicy") != "Never":
                found.append(f"{title(job)} goes on though only a person can help")
    return found
