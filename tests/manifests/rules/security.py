"""What a pod may do, what it is given, and what must never be rendered."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, Workload, namespace_of, of_kind, title, workloads

# Pods that talk to the Kubernetes API: why they have a token.
TOKEN_HOLDERS = {
    "alloy": "it reads what pods say",
    "kube-state-metrics": "it measures what is in the API",
    "prometheus": "it finds the pods that it measures",
    "secret-generator": "it creates the Secrets that are missing",
    "first-backup": "it asks the operator for a backup, one for each database",
    "li-sync": "it restarts the lawful-intercept instance's Synapse",
}

# Workloads that are in the network of their nodes: why.
NODE_NETWORK = {
    "livekit": "clients send it media on thousands of UDP ports",
    "coturn": "clients have media relayed from thousands of UDP ports",
}

# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}

_PASSWORD = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|(^|_)KEY($|_)")
_NAMES_A_PLACE = re.compile(r"_(FILE|PATH|DIR|NAME)$")


def namespace_problems(objects: Objects) -> list[str]:
    """Namespaces without Pod Security labels, or with a weaker level and no reason; and namespaces in use that are not there."""
    found = []
    namespaces = {o["metadata"]["name"]: o["metadata"] for o in of_kind(objects, "Namespace")}
    for name, metadata in namespaces.items():
        levels = {metadata.get("labels", {}).get(f"pod-security.kubernetes.io/{mode}") for mode in ("enforce", "audit", "warn")}
        if levels != {"restricted"} and not metadata.get("annotations", {}).get("matrix-platform/pod-security-reason"):
            found.append(f"Namespace {name} has the levels {sorted(map(str, levels))} without a reason")
    return found + [f"Namespace {name} is not there" for name in sorted({w.namespace for w in workloads(objects)} - set(namespaces))]


def pod_security_problems(objects: Objects) -> list[str]:
    """Pods that the level `restricted` refuses; but for the network of their nodes, where both pods and namespace have a reason."""
    levels = {
        o["metadata"]["name"]: o["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        for o in of_kind(objects, "Namespace")
    }
    found = []
    for workload in workloads(objects):
        if levels.get(workload.namespace) == "restricted" or workload.name not in NODE_NETWORK:
            found += [f"{workload}: {problem}" for problem in restricted(workload.pod)]
        else:
            found += [f"{workload}: {problem}" for problem in restricted(workload.pod) if not _of_node_network(problem)]
    for tenant in of_kind(objects, "Tenant"):
        for pool in tenant["spec"]["pools"]:
            container = {"name": "minio", "securityContext": pool.get("containerSecurityContext", {})}
            pod = {"securityContext": pool.get("securityContext", {}), "containers": [container]}
            found += [f"{title(tenant)}: {problem}" for problem in restricted(pod)]
    return found


def _of_node_network(problem: str) -> bool:
    return problem == "uses hostNetwork" or problem.endswith(" takes a port of the node")


def node_port_problems(objects: Objects) -> list[str]:
    """Ports of a node that two workloads would take, and pods in its network that do not say which ports they take."""
    found = []
    taken: dict[tuple[int, str], str] = {}
    for workload in workloads(objects):
        if not workload.pod.get("hostNetwork"):
            continue
        for port in (port for container in workload.containers for port in container.get("ports", [])):
            if port.get("hostPort") != port["containerPort"]:
                found.append(f"{workload}: {port['containerPort']} is a port of the node, and not said to be")
            owner = taken.setdefault((port["containerPort"], port.get("protocol", "TCP")), str(workload))
            if owner != str(workload):
                found.append(f"{workload}: {owner} takes {port['containerPort']} of the node too")
        if workload.pod.get("dnsPolicy") != "ClusterFirstWithHostNet":
            found.append(f"{workload} does not know the names of Services")
    return found


def restricted(pod: Mapping[str, Any]) -> Iterator[str]:
    """What Pod Security's level `restricted` refuses in a pod."""
    whole = pod.get("securityContext", {})
    yield from (f"uses {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    for volume in pod.get("volumes", []):
        yield from (f"the volume {volume['name']} is a {kind}" for kind in set(volume) - {"name"} - _VOLUMES)
    yield from (f"sets {sysctl['name']}" for sysctl in whole.get("sysctls", []) if sysctl["name"] not in _SYSCTLS)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield from (f"{container['name']} {problem}" for problem in _restricted_container(container, whole))


def _restricted_container(container: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate its privileges"
    if own.get("privileged"):
        yield "is privileged"
    if capabilities.get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if not own.get("runAsNonRoot", whole.get("runAsNonRoot")):
        yield "may run as root"
    if own.get("runAsUser", whole.get("runAsUser")) == 0:
        yield "runs as root"
    if own.get("seccompProfile", whole.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "mounts proc otherwise"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the node"
    if "type" in own.get("seLinuxOptions", {}) or "user" in own.get("seLinuxOptions", {}):
        yield "sets SELinux options"


def hardening_problems(objects: Objects) -> list[str]:
    """Containers that are not as narrow as the platform promises beyond `restricted`: a numeric user, and a root that is read-only."""
    found = []
    for workload in workloads(objects):
        if not workload.pod.get("securityContext", {}).get("runAsUser"):
            found.append(f"{workload} has no numeric user")
        writable = [c["name"] for c in workload.containers if not c.get("securityContext", {}).get("readOnlyRootFilesystem")]
        found += [f"{workload}: {name} may write to its root" for name in writable]
    return found


def token_holder(workload: Workload) -> str:
    """Whose token the pods of a workload have."""
    account = str(workload.pod.get("serviceAccountName"))
    return "first-backup" if account.endswith("-first-backup") else account


def token_problems(objects: Objects) -> list[str]:
    """Pods with a token for the Kubernetes API that have no use for one, and accounts that would hand one out."""
    mounting = [w for w in workloads(objects) if w.pod.get("automountServiceAccountToken") is not False]
    generous = [o for o in of_kind(objects, "ServiceAccount") if o.get("automountServiceAccountToken") is not False]
    return [f"{w} mounts a token" for w in mounting if token_holder(w) not in TOKEN_HOLDERS] + [
        f"{title(account)} hands out tokens" for account in generous
    ]


def resource_problems(objects: Objects) -> list[str]:
    """Containers without requests for processor and memory, or without a limit of memory, or with a request above it."""
    found = []
    for who, resources in resource_holders(objects):
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        if not {"cpu", "memory"} <= set(requests) or "memory" not in limits:
            found.append(f"{who} has only {resources}")
    return found


def resource_holders(objects: Objects) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every container and every part of a custom resource that becomes one, with its resources."""
    for workload in workloads(objects):
        for container in workload.containers:
            yield f"{workload}: {container['name']}", container.get("resources", {})
    for cluster in of_kind(objects, "Cluster"):
        yield title(cluster), cluster["spec"].get("resources", {})
    for store in of_kind(objects, "ObjectStore"):
        yield title(store), store["spec"].get("instanceSidecarConfiguration", {}).get("resources", {})
    for tenant in of_kind(objects, "Tenant"):
        for pool in tenant["spec"]["pools"]:
            yield f"{title(tenant)}: {pool['name']}", pool.get("resources", {})


def literal_password_problems(objects: Objects) -> list[str]:
    """Environment variables that are called like a password and have a value in the open."""
    found = []
    for workload in workloads(objects):
        for container in workload.containers:
            for variable in container.get("env", []):
                name, value = variable["name"], variable.get("value")
                if value and _PASSWORD.search(name) and not _NAMES_A_PLACE.search(name) and not value.startswith("/"):
                    found.append(f"{workload}: {name} has a value in the open")
    return found


def secret_objects(objects: Objects) -> list[str]:
    """Secrets with values: none is ever rendered."""
    return [title(o) for o in of_kind(objects, "Secret")]


def image_problems(objects: Objects) -> list[str]:
    """Images without a tag or digest, or with `latest`."""
    found = []
    for who, reference in image_references(objects):
        name, _, digest = reference.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest") and not digest:
            found.append(f"{who}: {reference} may be another image tomorrow")
    return found


def image_references(objects: Objects) -> Iterator[tuple[str, str]]:
    """Every image that a pod runs, and who names it."""
    for workload in workloads(objects):
        for container in workload.containers:
            yield f"{workload}: {container['name']}", container["image"]
    for cluster in of_kind(objects, "Cluster"):
        yield title(cluster), cluster["spec"]["imageName"]
    for tenant in of_kind(objects, "Tenant"):
        yield title(tenant), tenant["spec"]["image"]


def right_problems(objects: Objects) -> list[str]:
    """Roles that the platform binds and that may do anything, and bindings of Roles or accounts that are not there."""
    found = []
    roles = {(namespace_of(o), o["metadata"]["name"]): o for o in of_kind(objects, "Role")}
    accounts = {(namespace_of(o), o["metadata"]["name"]) for o in of_kind(objects, "ServiceAccount")}
    for binding in of_kind(objects, "RoleBinding"):
        namespace, name = namespace_of(binding), binding["roleRef"]["name"]
        if binding["roleRef"]["kind"] == "Role" and (namespace, name) not in roles:
            found.append(f"{title(binding)}: no Role {name}")
        subjects = {(subject["namespace"], subject["name"]) for subject in binding["subjects"] if subject["kind"] == "ServiceAccount"}
        found += [f"{title(binding)}: no ServiceAccount {name}" for _, name in sorted(subjects - accounts)]
    for o in of_kind(objects, "Role", "ClusterRole"):
        for rule in o.get("rules") or []:
            if "*" in rule.get("verbs", []) or "*" in rule.get("resources", []):
                found.append(f"{title(o)} has rights to everything")
            if "secrets" in rule.get("resources", []) and {"list", "watch"} & set(rule["verbs"]):
                found.append(f"{title(o)} may read all Secrets")
    return found


def publication_problems(objects: Objects) -> list[str]:
    """Ways in to Synapse's administration that are open to the world or lead to more, and hosts that are closed in one place only."""
    found = []
    closed: dict[str, set[bool]] = {}
    for ingress in of_kind(objects, "Ingress"):
        allow_list = _allow_list(ingress, objects)
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                if not _ADMINISTRATION.match(path["path"]):
                    closed.setdefault(rule["host"], set()).add(bool(allow_list))
                internal = _port_name(path["backend"]["service"], namespace_of(ingress), objects) == "internal"
                if internal and not path["path"].startswith("/_synapse/admin"):
                    found.append(f"{title(ingress)}: {path['path']} leads past what the public may call")
                if (internal or _ADMINISTRATION.match(path["path"])) and not allow_list:
                    found.append(f"{title(ingress)}: {path['path']} is open to the world")
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                service = {"name": backend["name"], "port": {"number": backend["port"]}}
                if _port_name(service, namespace_of(route), objects) == "internal":
                    found.append(f"{title(route)}: {backend['name']}:{backend['port']} is open to the world")
    return found + [f"{host} is open in one Ingress and closed in another" for host, states in closed.items() if len(states) > 1]


_ADMINISTRATION = re.compile("^/(_synapse(?!/client)|api/admin)")
"""Closed on every host, also on one that is open for the rest."""


def _allow_list(ingress: Mapping[str, Any], objects: Objects) -> list[str]:
    """The addresses that an Ingress admits, if Traefik holds it to any (traefik/traefik, pkg/provider/kubernetes/ingress: annotations)."""
    named = ingress["metadata"].get("annotations", {}).get("traefik.ingress.kubernetes.io/router.middlewares", "").split(",")
    middlewares = {f"{namespace_of(o)}-{o['metadata']['name']}@kubernetescrd": o["spec"] for o in of_kind(objects, "Middleware")}
    return [
        cidr for name in named for cidr in middlewares.get(name, {}).get("ipAllowList", {}).get("sourceRange", []) if cidr not in _EVERYBODY
    ]


_EVERYBODY = ("0.0.0.0/0", "::/0")


def _port_name(service: Mapping[str, Any], namespace: str, objects: Objects) -> str | None:
    """What a Service calls the port that a backend means."""
    for o in of_kind(objects, "Service"):
        if (namespace_of(o), o["metadata"]["name"]) == (namespace, service["name"]):
            return next((port["name"] for port in o["spec"]["ports"] if port["port"] == service["port"].get("number")), None)
    return None
