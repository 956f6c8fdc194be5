"""What pods and configuration files name and somebody else must have: files, Secrets, hosts and their ports."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.manifests.rules.objects import (
    Declared,
    Object,
    Objects,
    Workload,
    config_maps,
    mounted_texts,
    namespace_of,
    of_kind,
    operator_pods,
    strings,
    structured,
    title,
    workloads,
)

# cloudnative-pg, pkg/specs/secrets.go: the keys of `<cluster>-app`.
APP_KEYS = {"username", "user", "password", "dbname", "host", "port", "pgpass", "uri", "jdbc-uri", "fqdn-uri", "fqdn-jdbc-uri"}


def config_map_problems(objects: Objects) -> list[str]:
    """ConfigMaps that a pod mounts and that are not there, or lack a key."""
    found = []
    maps = config_maps(objects)
    for workload in workloads(objects):
        for volume in workload.pod.get("volumes", []):
            if source := volume.get("configMap"):
                data = maps.get((workload.namespace, source["name"]))
                if data is None:
                    found.append(f"{workload}: no ConfigMap {source['name']}")
                    continue
                found += [f"{workload}: {source['name']} has no {i['key']}" for i in source.get("items", []) if i["key"] not in data]
    return found


def unused_config_maps(objects: Objects) -> list[str]:
    """ConfigMaps that nobody mounts; one that only tells people something says so with a chart's name, one for another's Grafana with a label."""
    shown = {
        (namespace_of(o), o["metadata"]["name"])
        for o in of_kind(objects, "ConfigMap")
        if "grafana_dashboard" in o["metadata"].get("labels", {})
    }
    used = {(w.namespace, v["configMap"]["name"]) for w in workloads(objects) for v in w.pod.get("volumes", []) if "configMap" in v}
    return [
        f"ConfigMap {name}"
        for (namespace, name), data in config_maps(objects).items()
        if (namespace, name) not in used | shown and "chart" not in data
    ]


def mount_problems(objects: Objects) -> list[str]:
    """Mounts of volumes that do not exist, two mounts at one place, a mount inside one that is read-only, and volumes nobody mounts."""
    found = []
    for workload in workloads(objects):
        claims = {claim["metadata"]["name"] for claim in workload.spec.get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in workload.pod.get("volumes", [])} | claims
        used = {mount["name"] for container in workload.containers for mount in container.get("volumeMounts", [])}
        found += [f"{workload}: the volume {name} {'is not mounted' if name in volumes else 'does not exist'}" for name in volumes ^ used]
        for container in workload.containers:
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            if len(mounts) < len(container.get("volumeMounts", [])):
                found.append(f"{workload}: {container['name']} has two mounts at one place")
            nested = [
                (outer, inner) for outer in mounts for inner in mounts if inner.startswith(f"{outer}/") and mounts[outer].get("readOnly")
            ]
            found += [f"{workload}: {inner} is mounted inside {outer}, which is read-only" for outer, inner in nested]
    return found


# -- Secrets


def secret_references(objects: Objects) -> Iterator[tuple[str, str, str, set[str]]]:
    """Who names which Secret (namespace and name), and the keys that must be in it."""
    for workload in workloads(objects):
        for volume in workload.pod.get("volumes", []):
            if source := volume.get("secret"):
                yield str(workload), workload.namespace, source["secretName"], {item["key"] for item in source.get("items", [])}
        for container in workload.containers:
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    yield str(workload), workload.namespace, reference["name"], {reference["key"]}
    for store in of_kind(objects, "ObjectStore"):
        configuration = store["spec"]["configuration"]
        for reference in [
            *configuration["s3Credentials"].values(),
            *([configuration["endpointCA"]] if "endpointCA" in configuration else []),
        ]:
            yield title(store), namespace_of(store), reference["name"], {reference["key"]}
    for role in of_kind(objects, "DatabaseRole"):
        yield title(role), namespace_of(role), role["spec"]["passwordSecret"]["name"], {"username", "password"}
    for tenant in of_kind(objects, "Tenant"):
        yield title(tenant), namespace_of(tenant), tenant["spec"]["configuration"]["name"], {"config.env"}
    for ingress in of_kind(objects, "Ingress"):
        for tls in ingress["spec"].get("tls", []):
            yield title(ingress), namespace_of(ingress), tls["secretName"], {"tls.crt", "tls.key"}


def existing_secrets(objects: Objects, declared: Declared) -> dict[tuple[str, str], set[str]]:
    """Every Secret that somebody makes: the provider, CloudNativePG and cert-manager."""
    found = {key: set(keys) for key, keys in declared.items()}
    for cluster in of_kind(objects, "Cluster"):
        namespace, name = namespace_of(cluster), cluster["metadata"]["name"]
        found |= {(namespace, f"{name}-app"): APP_KEYS, (namespace, f"{name}-ca"): {"ca.crt", "ca.key"}}
    for certificate in of_kind(objects, "Certificate"):
        found[namespace_of(certificate), certificate["spec"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
    return found


def secret_problems(objects: Objects, declared: Declared) -> list[str]:
    """Secrets that somebody names and nobody makes, or that lack a key."""
    existing = existing_secrets(objects, declared)
    found = []
    for who, namespace, name, keys in secret_references(objects):
        if (namespace, name) not in existing:
            found.append(f"{who}: nobody makes the Secret {namespace}/{name}")
        else:
            found += [f"{who}: the Secret {name} has no {key}" for key in sorted(keys - existing[namespace, name])]
    return found


def provider_problems(objects: Objects, declared: Declared) -> list[str]:
    """Secrets that a pod needs and that neither the generator may make nor an ExternalSecret fetches."""
    made = {(namespace_of(o), o["spec"].get("target", {}).get("name", o["metadata"]["name"])) for o in of_kind(objects, "ExternalSecret")}
    bindings = of_kind(objects, "RoleBinding")
    for role in of_kind(objects, "Role"):
        bound = [b for b in bindings if (namespace_of(b), b["roleRef"]["name"]) == (namespace_of(role), role["metadata"]["name"])]
        if any(subject["name"] == "secret-generator" for binding in bound for subject in binding["subjects"]):
            # What it may only read are the sources of what it copies.
            own = [rule for rule in role["rules"] if "patch" in rule["verbs"]]
            made |= {(namespace_of(role), name) for rule in own for name in rule.get("resourceNames", [])}
    needed = {(namespace, name) for _, namespace, name, _ in secret_references(objects)} & set(declared)
    return [f"no provider makes {namespace}/{name}" for namespace, name in sorted(needed - made)]


def password_file_problems(objects: Objects) -> list[str]:
    """Clients whose database settings are not those of the password file that they mount.

    CloudNativePG writes `<cluster>-rw:5432:<database>:<owner>:<password>` (pkg/specs/secrets.go), and libpq compares each field
    as text, so that another name of the same host finds no password.
    """
    found = []
    clusters = {(namespace_of(c), f"{c['metadata']['name']}-app"): _password_file_line(c) for c in of_kind(objects, "Cluster")}
    # Those of further roles are composed as the operator composes its own.
    owners = {(namespace_of(c), c["metadata"]["name"]): c for c in of_kind(objects, "Cluster")}
    for role in of_kind(objects, "DatabaseRole"):
        cluster = owners[namespace_of(role), role["spec"]["cluster"]["name"]]
        line = (*_password_file_line(cluster)[:3], role["spec"]["name"])
        clusters[namespace_of(role), role["spec"]["passwordSecret"]["name"]] = line
    for workload in workloads(objects):
        sources = [v["secret"]["secretName"] for v in workload.pod.get("volumes", []) if "secret" in v]
        mounted = [clusters[key] for key in ((workload.namespace, name) for name in sources) if key in clusters]
        for container in workload.containers:
            for path, text in mounted_texts(workload, container, objects).items():
                settings = structured(path, text)
                arguments = settings.get("database", {}).get("args") if isinstance(settings, dict) else None
                if not arguments:
                    continue
                actual = (arguments["host"], arguments["port"], arguments["dbname"], arguments["user"])
                if actual not in mounted:
                    found.append(f"{workload}: {path} has {actual}, and the password file {mounted}")
    return found


def _password_file_line(cluster: Object) -> tuple[str, int, str, str]:
    init = cluster["spec"]["bootstrap"]["initdb"]
    return f"{cluster['metadata']['name']}-rw", 5432, init["database"], init["owner"]


# -- files

# The folders in which the platform mounts things. A path begins where no other path goes on before it.
_PATH = re.compile(r"(?<![\w./*$}\])>])/(?:etc|secrets|run|media|data|opt)(?:/[\w.@-]+)*")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
# What images bring along.
IN_IMAGES = ("/etc/ssl/certs", "/etc/resolv.conf", "/etc/passwd", "/etc/hosts", "/etc/nginx/mime.types")


IDLE = {"beat": "it reads the broker's password alone, of the settings of all of li_sync's programs"}
"""Containers that are told more than they use: why."""


def named_paths(texts: Iterable[str]) -> set[str]:
    """Absolute paths under the folders of mounts in texts, without comments."""
    return {path.rstrip(".") for text in texts for path in _PATH.findall(_COMMENT.sub("", text))}


def path_problems(objects: Objects) -> list[str]:
    """Paths that a container's command, environment, probes or configuration names, and that are not in the container."""
    found = []
    for workload in workloads(objects):
        for container in workload.containers:
            if container["name"] in IDLE:
                continue
            configuration = mounted_texts(workload, container, objects)
            own = {key: value for key, value in container.items() if key not in ("volumeMounts", "image")}
            # Programs compute their paths; what configuration and scripts name stands there literally.
            texts = [text for path, text in configuration.items() if not path.endswith((".py", ".map"))]
            paths = named_paths([*(text for _, text in strings(own)), *texts])
            here = available(workload, container, objects)
            found += [f"{workload}: {container['name']} names {path}, which is not there" for path in sorted(paths) if not here(path)]
    return found


def available(workload: Workload, container: Mapping[str, Any], objects: Objects) -> Any:
    """Whether a path is in a container: a mounted file, a folder of such, or anything in a writable mount."""
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
    files = set(mounted_texts(workload, container, objects))
    open_folders = []
    for mount in container.get("volumeMounts", []):
        volume, folder = volumes.get(mount["name"], {}), mount["mountPath"].rstrip("/")
        if "secret" in volume and volume["secret"].get("items"):
            files |= {f"{folder}/{item['path']}" for item in volume["secret"]["items"]}
        elif "configMap" not in volume:
            open_folders.append(folder)

    def here(path: str) -> bool:
        inside = any(path == folder or path.startswith(f"{folder}/") for folder in (*open_folders, *IN_IMAGES))
        return inside or path in files or any(file.startswith(f"{path}/") for file in files)

    return here


# -- hosts

_HOST = re.compile(r"((?:[a-z0-9-]+\.)+svc\.[a-z0-9.-]*[a-z0-9])\.?(?::(\d+)|((?: \d{2,5})+)\b)?")
_SCHEME = re.compile(r"(https?)://$")
_CHECK_PORT = re.compile(r"^\s*default-server check port (\d+)", re.MULTILINE)


def addresses(text: str) -> Iterator[tuple[str, int | None]]:
    """Names of Services and pods in a text, each with the ports that stand with it: `host:1`, `http://host`, `host 1 2`."""
    text = text.replace("\\r", " ").replace("\\n", " ")  # escapes of line ends in HAProxy's checks
    for match in _HOST.finditer(text):
        host, port, ports = match.groups()
        scheme = _SCHEME.search(text[: match.start()])
        if port:
            yield host, int(port)
        elif scheme:
            yield host, {"http": 80, "https": 443}[scheme[1]]
        elif ports:
            yield from ((host, int(number)) for number in ports.split())
        else:
            yield host, None


def pairs(value: Any) -> Iterator[tuple[str, int]]:
    """`host` and `port` that stand side by side in a structure."""
    if isinstance(value, Mapping):
        if isinstance(value.get("host"), str) and isinstance(value.get("port"), int):
            yield value["host"], value["port"]
        for item in value.values():
            yield from pairs(item)
    elif isinstance(value, list):
        for item in value:
            yield from pairs(item)


def host_problems(objects: Objects) -> list[str]:
    """Hosts of the cluster that some configuration names and that do not exist, or do not listen on the port."""
    found: dict[str, None] = {}
    for o in objects:
        namespace = namespace_of(o)
        named: set[tuple[str, int | None]] = {a for _, text in strings(o) for a in addresses(text)}
        for file, text in o.get("data", {}).items() if o["kind"] == "ConfigMap" else ():
            named |= set(pairs(structured(file, text)))
            for port in _CHECK_PORT.findall(text):
                named |= {(host, int(port)) for host, _ in addresses(text)}
        for host, number in sorted(named, key=str):
            if problem := _host_problem(host, number, namespace, objects):
                found[f"{title(o)}: {problem}"] = None
    return list(found)


def _host_problem(host: str, number: int | None, namespace: str, objects: Objects) -> str | None:
    name, _, domain = host.partition(".svc.")
    labels = name.split(".")
    if domain:
        *pod, service, namespace = labels
    elif len(labels) == 1:
        pod, service = [], host
    else:
        return None  # a host outside the cluster
    ports = pod_ports(pod[0], service, namespace, objects) if pod else service_ports(service, namespace, objects)
    if ports is None:
        return f"there is no {host}"
    return f"{host} does not listen on {number}" if number is not None and number not in ports else None


BESIDE = {("cert-manager", "cert-manager"): {9402}}
"""Services of what the administrators of the cluster have installed, by namespace and name (docs/reference/operators.md)."""


def service_ports(service: str, namespace: str, objects: Objects) -> set[int] | None:
    """The ports on which a Service answers; None if there is none of that name."""
    if (namespace, service) in BESIDE:
        return BESIDE[namespace, service]
    for operator in operator_pods(objects):
        if operator.namespace == namespace and service in operator.services:
            return set(operator.services[service])
    for o in of_kind(objects, "Service"):
        if o["metadata"]["name"] == service and namespace_of(o) == namespace:
            selected = [w for w in workloads(objects) if w.selected_by(o["spec"]["selector"], namespace)]
            if o["spec"].get("clusterIP") == "None":
                return {number for w in selected for number in w.numbers}
            return {
                port["port"]
                for port in o["spec"]["ports"]
                if selected and all(port["targetPort"] in w.ports or port["targetPort"] in w.numbers for w in selected)
            }
    return None


def pod_ports(pod: str, service: str, namespace: str, objects: Objects) -> set[int] | None:
    """The ports of one pod of a StatefulSet behind its headless Service; None if there is no such pod."""
    for workload in workloads(objects):
        if workload.namespace == namespace and workload.spec.get("serviceName") == service and pod in workload.pod_names:
            return workload.numbers if service_ports(service, namespace, objects) is not None else None
    return None


def ingress_problems(objects: Objects) -> list[str]:
    """Backends of an Ingress or HTTPRoute that are no Service or have no such port."""
    found = []
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = service_ports(backend["name"], namespace_of(ingress), objects)
                if ports is None or backend["port"].get("number") not in ports:
                    found.append(f"{title(ingress)}: {path['path']} goes to {backend['name']}:{backend['port']}, which does not listen")
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                ports = service_ports(backend["name"], backend.get("namespace", namespace_of(route)), objects)
                if ports is None or backend["port"] not in ports:
                    found.append(f"{title(route)}: {backend['name']}:{backend['port']} does not listen")
    return found


def account_problems(objects: Objects) -> list[str]:
    """Pods whose ServiceAccount or priority class does not exist."""
    accounts = {(namespace_of(o), o["metadata"]["name"]) for o in of_kind(objects, "ServiceAccount")}
    classes = {o["metadata"]["name"] for o in of_kind(objects, "PriorityClass")}
    found = []
    for workload in workloads(objects):
        if (workload.namespace, workload.pod.get("serviceAccountName", "")) not in accounts:
            found.append(f"{workload}: no ServiceAccount {workload.pod.get('serviceAccountName')}")
        if (name := workload.pod.get("priorityClassName")) and name not in classes:
            found.append(f"{workload}: no PriorityClass {name}")
    return found
