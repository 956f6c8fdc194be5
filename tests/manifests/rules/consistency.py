"""Names and numbers that two objects must agree on: selectors, ports, targets, and what Kubernetes lets nobody change."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.manifests.rules.objects import (
    POD_NAME,
    Object,
    Objects,
    Workload,
    autoscalers,
    limits,
    mounted_texts,
    namespace_of,
    of_kind,
    operator_pods,
    strings,
    title,
    workloads,
)

COMPONENT = "app.kubernetes.io/name"


def service_problems(objects: Objects) -> list[str]:
    """Services that select nothing, or pods of several components, or pods that do not listen on the port."""
    found = []
    for service in of_kind(objects, "Service"):
        spec, namespace = service["spec"], namespace_of(service)
        selected = [w for w in workloads(objects) if w.selected_by(spec["selector"], namespace)]
        components = {w.labels[COMPONENT] for w in selected}
        if len(components) != 1:
            found.append(f"{title(service)} selects the pods of {sorted(components) or 'nothing'}")
        for port in spec["ports"]:
            open_on = [w for w in selected if opens(w, port.get("targetPort", port["port"]))]
            # A headless Service gives names, and its pods may differ; one with an address sends connections to any of them.
            if not open_on or (spec.get("clusterIP") != "None" and len(open_on) < len(selected)):
                found.append(f"{title(service)}: port {port['name']} is not open on its pods")
    return found


def opens(workload: Workload, port: int | str) -> bool:
    """Whether the pods of a workload listen on a port, by number or by name."""
    return port in workload.numbers or port in workload.ports


def selector_problems(objects: Objects) -> list[str]:
    """Workloads whose selector misses their own pods or catches those of another workload."""
    found = []
    everyone = workloads(objects)
    strangers = [(pods.owner, pods.namespace, pods.labels) for pods in operator_pods(objects)]
    for workload in everyone:
        selector = workload.spec.get("selector", {}).get("matchLabels")
        if selector is None:
            continue  # a Job's selector is made by Kubernetes
        if not workload.selected_by(selector, workload.namespace):
            found.append(f"{workload} does not select its own pods")
        others = [str(other) for other in everyone if other is not workload and other.selected_by(selector, workload.namespace)]
        others += [owner for owner, ns, labels in strangers if ns == workload.namespace and selector.items() <= labels.items()]
        found += [f"{workload} selects the pods of {other}" for other in others]
    return found


def probe_problems(objects: Objects) -> list[str]:
    """Probes of ports that their container does not name."""
    found = []
    for workload in workloads(objects):
        for container in workload.containers:
            named = {port.get("name") for port in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                port = (probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}).get("port")
                if port is not None and port not in named:
                    found.append(f"{workload}: the {kind} of {container['name']} asks port {port}, which it does not name")
    return found


def governing_service_problems(objects: Objects) -> list[str]:
    """StatefulSets without the headless Service that gives their pods names."""
    headless = {
        (namespace_of(s), s["metadata"]["name"]): s["spec"]["selector"]
        for s in of_kind(objects, "Service")
        if s["spec"].get("clusterIP") == "None"
    }
    found = []
    for workload in workloads(objects):
        if workload.kind == "StatefulSet":
            selector = headless.get((workload.namespace, workload.spec["serviceName"]))
            if selector is None or not workload.selected_by(selector, workload.namespace):
                found.append(f"{workload}: no headless Service {workload.spec['serviceName']} selects its pods")
    return found


def resolution_problems(objects: Objects) -> list[str]:
    """Services by which a pod that is not ready has no name, those that lead to such pods, and those that are open to the outside.

    Media of calls may come from outside: to one LiveKit, of which a call is on one, or to coturn.
    Whoever names a pod finds out by itself whether it answers. Sentinel gives up a failover when the old primary's name is gone.
    """
    found = []
    governing = {(w.namespace, w.spec["serviceName"]) for w in workloads(objects) if w.kind == "StatefulSet"}
    for service in of_kind(objects, "Service"):
        spec, single = service["spec"], POD_NAME in service["spec"]["selector"]
        names_pods = single or (namespace_of(service), service["metadata"]["name"]) in governing
        if spec.get("publishNotReadyAddresses", False) != names_pods:
            found.append(f"{title(service)} {'forgets' if names_pods else 'leads to'} pods that are not ready")
        if single and "clusterIP" in spec:
            found.append(f"{title(service)}: its address does not stay")
        if spec.get("type", "ClusterIP") != "ClusterIP":
            name, component = service["metadata"]["name"], service["metadata"]["labels"]["app.kubernetes.io/name"]
            if not (single if component == "livekit" else (component, name) == ("coturn", "turn")):
                found.append(f"{title(service)} is open outside the cluster")
            if spec.get("externalTrafficPolicy") != "Local":
                found.append(f"{title(service)} hides where packets come from")
    return found


def autoscaler_problems(objects: Objects) -> list[str]:
    """Autoscalers without target, with a fixed number of pods beside them, or with a metric that cannot be computed."""
    found = []
    targets = {(namespace_of(o), o["kind"], o["metadata"]["name"]): o for o in objects}
    for scaler in autoscalers(objects):
        spec = scaler["spec"]
        target = targets.get((namespace_of(scaler), spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]))
        if target is None:
            found.append(f"{title(scaler)} scales nothing")
            continue
        if "replicas" in target["spec"]:
            found.append(f"{title(scaler)}: {title(target)} sets replicas, so each apply would undo the scaling")
        least, most = limits(scaler)
        if not 0 < least < most:
            found.append(f"{title(scaler)} cannot scale from {least} to {most}")
    return found


def budget_problems(objects: Objects) -> list[str]:
    """Disruption budgets that block a drain for ever, or do not cover exactly one workload; and workloads that lack one."""
    found = []
    everyone = workloads(objects)
    covered: list[Workload] = []
    # CloudNativePG makes budgets of its own (enablePDB), MinIO's operator none.
    tenants = {(namespace_of(o), o["metadata"]["name"]) for o in of_kind(objects, "Tenant")}
    for budget in of_kind(objects, "PodDisruptionBudget"):
        spec = budget["spec"]
        selected = [w for w in everyone if w.selected_by(spec["selector"]["matchLabels"], namespace_of(budget))]
        covered += selected
        tenant = (namespace_of(budget), spec["selector"]["matchLabels"].get("v1.min.io/tenant", ""))
        if tenant in tenants and not selected:
            tenants.remove(tenant)
        elif len(selected) != 1:
            found.append(f"{title(budget)} covers {[str(w) for w in selected]}")
        elif selected[0].most < 2:
            found.append(f"{title(budget)} covers a single pod, which may go anyway")
        if spec.get("maxUnavailable") != 1 or "minAvailable" in spec:
            found.append(f"{title(budget)} must let one pod go at a time")
    bare = [w for w in everyone if w.kind in ("Deployment", "StatefulSet") and w.most >= 2 and w not in covered]
    found += [f"Tenant {namespace}/{name} has no disruption budget" for namespace, name in sorted(tenants)]
    return found + [f"{w} has no disruption budget" for w in bare]


def name_problems(objects: Objects) -> list[str]:
    """Names that are too long for what Kubernetes derives from them: a label of 63 characters.

    A CronJob's Jobs get a suffix of 11 (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs), and the revision label
    of a StatefulSet's pods its name and a hash of up to 10.
    """
    limits = {"CronJob": 52, "StatefulSet": 52}
    longest = {o["kind"]: limits.get(o["kind"], 63) for o in objects}
    return [f"{title(o)}: longer than {longest[o['kind']]}" for o in objects if len(o["metadata"]["name"]) > longest[o["kind"]]]


def duplicates(objects: Objects) -> list[str]:
    """Objects that come twice."""
    names = [title(o) for o in objects]
    return [name for name in sorted(set(names)) if names.count(name) > 1]


_PLACEHOLDER = re.compile(r"CHANGE_?ME|CHANGE_TO|REPLACE_?ME|\bTODO\b|\bFIXME\b")
_INSTALLS = re.compile(r"\b(pip3? install|apk add|apt(-get)? install|npm (ci|install)|envsubst)\b")


def leftover_problems(objects: Objects) -> list[str]:
    """What people forget to fill in, software that is fetched as a pod starts, and mounts or annotations that are known to break.

    ingress-nginx refuses snippets from 1.12 on by their risk (its annotations-risk-level).
    """
    found = []
    for o in objects:
        for path, text in strings(o):
            if match := _PLACEHOLDER.search(text):
                found.append(f"{title(o)}: {path}: {match[0]}")
        found += [f"{title(o)}: {key} is a snippet" for key in o["metadata"].get("annotations", {}) if key.endswith("-snippet")]
    for workload in workloads(objects):
        for container in workload.containers:
            commands = [*container.get("command", []), *container.get("args", []), *mounted_texts(workload, container, objects).values()]
            found += [f"{workload}: {match[0]} as it starts" for command in commands if (match := _INSTALLS.search(command))]
            hidden = [mount["mountPath"] for mount in container.get("volumeMounts", []) if "site-packages" in mount["mountPath"]]
            found += [f"{workload}: a mount hides what the image has in {path}" for path in hidden]
    return found


def immutable(o: Object) -> Mapping[str, Any] | None:
    """The part of an object that Kubernetes refuses to change."""
    spec = o.get("spec", {})
    match o["kind"]:
        case "StatefulSet":
            return {key: spec.get(key) for key in ("volumeClaimTemplates", "serviceName", "selector", "podManagementPolicy")}
        case "Deployment" | "DaemonSet":
            return {"selector": spec["selector"]}
        case "Job":
            return {key: spec.get(key) for key in ("template", "completions", "completionMode", "selector")}
        case "RoleBinding" | "ClusterRoleBinding":
            return {"roleRef": o["roleRef"]}
        case "Service":
            return {"headless": spec.get("clusterIP") == "None"}
        case "PriorityClass":
            return {"value": o["value"]}
        case "Cluster":
            return {"bootstrap": spec["bootstrap"]}
    return None


def forbidden_changes(before: Objects, after: Objects) -> list[str]:
    """Objects that an apply of `after` over `before` would have to change where Kubernetes lets nobody."""
    old = {title(o): json.dumps(immutable(o), sort_keys=True) for o in before}
    return [title(o) for o in after if title(o) in old and old[title(o)] != json.dumps(immutable(o), sort_keys=True)]
