"""What operators make: the pods and Services that no rendered file holds, as the objects that will stand in the cluster.

Only what connections depend on: names, labels, ports. A label whose value is known to the operator alone (a version, a hash) is left out.
Read from the operators' sources, at the versions named below.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.inspection.reach.pods import namespace_of
from app.inspection.reach.policies import Labels, Manifest


def derived(objects: Sequence[Manifest], dns_namespace: str = "kube-system") -> list[Manifest]:
    """What the operators add to these objects, apart from objects that are rendered already, and the cluster's DNS."""
    present = {_identity(manifest) for manifest in objects}
    return [manifest for manifest in (*dns(dns_namespace), *_all(objects)) if _identity(manifest) not in present]


def _all(objects: Sequence[Manifest]) -> Iterator[Manifest]:
    clusters = [manifest for manifest in objects if manifest["kind"] == "Cluster" and _group(manifest) == "postgresql.cnpg.io"]
    for cluster in clusters:
        yield from postgresql(cluster)
    for manifest in objects:
        if manifest["kind"] == "Pooler":
            yield from pooler(manifest)
        if manifest["kind"] == "Tenant" and _group(manifest) == "minio.min.io":
            yield from tenant(manifest)
    if clusters:
        yield from CLOUDNATIVE_PG
    if any(manifest["kind"] == "ObjectStore" for manifest in objects):
        yield from BARMAN_CLOUD
    if any(manifest["kind"] == "Tenant" for manifest in objects):
        yield from MINIO_OPERATOR
    yield from acme_solvers(objects)


def postgresql(cluster: Manifest) -> Iterator[Manifest]:
    """A CloudNativePG Cluster (1.30): its instances, the jobs that create them, and its Services.

    The first instance stands for the primary, the others for replicas. `inheritedMetadata` reaches the instances but not the pods of
    the jobs (pkg/specs/jobs.go sets it on the Job alone), so a policy that selects by an inherited label misses those.
    """
    namespace, name, spec = namespace_of(cluster), cluster["metadata"]["name"], cluster["spec"]
    own = {"cnpg.io/cluster": name} | _app_labels(name, "database")
    inherited = (spec.get("inheritedMetadata") or {}).get("labels") or {}
    instances = spec.get("instances", 1)
    for serial in range(1, instances + 1):
        role = "primary" if serial == 1 else "replica"
        labels = own | {
            "cnpg.io/instanceName": f"{name}-{serial}",
            "cnpg.io/podRole": "instance",
            "cnpg.io/instanceRole": role,
            "role": role,
        }
        # pkg/specs/pods.go, pkg/management/url/url.go
        ports = [("postgresql", 5432), ("metrics", 9187), ("status", 8000)]
        yield _pod(namespace, f"{name}-{serial}", labels | inherited, ports, owner=("Cluster", name))
    for serial, role in _cluster_jobs(spec, instances):
        labels = own | {"cnpg.io/instanceName": f"{name}-{serial}", "cnpg.io/jobRole": role}
        yield _workload("Job", namespace, f"{name}-{serial}-{role}", labels, [])
    yield from _cluster_services(namespace, name, spec)


def _cluster_jobs(spec: Manifest, instances: int) -> Iterator[tuple[int, str]]:
    bootstrap = spec.get("bootstrap") or {}
    if "recovery" in bootstrap:
        yield 1, "snapshot-recovery" if bootstrap["recovery"].get("volumeSnapshots") else "full-recovery"
    else:
        yield 1, "pgbasebackup" if "pg_basebackup" in bootstrap else "initdb"
    if instances > 1:
        yield 2, "join"


def _cluster_services(namespace: str, name: str, spec: Manifest) -> Iterator[Manifest]:
    selectors = {
        "rw": {"cnpg.io/cluster": name, "cnpg.io/instanceRole": "primary"},
        "ro": {"cnpg.io/cluster": name, "cnpg.io/instanceRole": "replica"},
        "r": {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"},
    }
    port = {"name": "postgres", "port": 5432, "targetPort": 5432}
    managed = (spec.get("managed") or {}).get("services") or {}
    for suffix, selector in selectors.items():
        if suffix not in (managed.get("disabledDefaultServices") or ()):
            yield _service(namespace, f"{name}-{suffix}", selector, [port])
    for extra in managed.get("additional") or ():
        template = extra["serviceTemplate"]
        ports = (template.get("spec") or {}).get("ports") or [port]
        yield _service(namespace, template["metadata"]["name"], selectors[extra["selectorType"]], ports)


def pooler(manifest: Manifest) -> Iterator[Manifest]:
    """A CloudNativePG Pooler (1.30): a Deployment of PgBouncer and its Service, both of the Pooler's name."""
    namespace, name, spec = namespace_of(manifest), manifest["metadata"]["name"], manifest["spec"]
    cluster = spec["cluster"]["name"]
    given = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    own = {"cnpg.io/poolerName": name, "cnpg.io/cluster": cluster, "cnpg.io/podRole": "pooler"} | _app_labels(cluster, "pooler")
    ports = [("pgbouncer", 5432), ("metrics", 9127)]
    yield _workload("Deployment", namespace, name, given | own, ports, replicas=spec.get("instances", 1))
    yield _service(namespace, name, {"cnpg.io/poolerName": name}, [{"name": "pgbouncer", "port": 5432, "targetPort": "pgbouncer"}])


def tenant(manifest: Manifest) -> Iterator[Manifest]:
    """A MinIO Tenant (operator 7.1): a StatefulSet per pool, and the Services `minio`, `<tenant>-hl` and `<tenant>-console`."""
    namespace, name, spec = namespace_of(manifest), manifest["metadata"]["name"], manifest["spec"]
    # Tenant.TLS(): a certificate is asked for unless switched off.
    tls = spec.get("requestAutoCert", True) or bool(spec.get("externalCertSecret"))
    console = 9443 if tls else 9090
    own = {"v1.min.io/tenant": name, "v1.min.io/console": f"{name}-console"}
    sftp = [("sftp-port", 8022)] if (spec.get("features") or {}).get("enableSFTP") else []
    ports = [("minio-port", 9000), ("console-port", console), *sftp]
    for index, pool in enumerate(spec["pools"]):
        pool_name = pool.get("name") or f"ss-{index}"
        given = ((spec.get("poolsMetadata") or {}).get("labels") or {}) | (pool.get("labels") or {})
        labels = given | own | {"v1.min.io/pool": pool_name}
        yield _workload("StatefulSet", namespace, f"{name}-{pool_name}", labels, ports, replicas=pool["servers"], service=f"{name}-hl")
    selector, scheme = {"v1.min.io/tenant": name}, "https" if tls else "http"
    yield _service(namespace, "minio", selector, [{"name": f"{scheme}-minio", "port": 443 if tls else 80, "targetPort": 9000}])
    headless = [{"name": f"{scheme}-minio", "port": 9000}, *({"name": "sftp-minio", "port": number} for _, number in sftp)]
    yield _service(namespace, f"{name}-hl", selector, headless, headless=True)
    yield _service(namespace, f"{name}-console", selector, [{"name": f"{scheme}-console", "port": console, "targetPort": console}])


def acme_solvers(objects: Sequence[Manifest]) -> Iterator[Manifest]:
    """The pod by which cert-manager (1.21) answers an HTTP-01 challenge, in every namespace that asks for a certificate."""
    solvers = [
        solver
        for manifest in objects
        if manifest["kind"] in ("Issuer", "ClusterIssuer")
        for solver in ((manifest["spec"].get("acme") or {}).get("solvers") or ())
    ]
    if not any("http01" in solver for solver in solvers):
        return
    for namespace in sorted({namespace_of(manifest) for manifest in objects if _asks_for_certificate(manifest)}):
        labels = {"acme.cert-manager.io/http01-solver": "true"}
        yield _pod(namespace, "cm-acme-http-solver", labels, [("http", 8089)])
        yield _service(namespace, "cm-acme-http-solver", labels, [{"name": "http", "port": 8089, "targetPort": 8089}])


def _asks_for_certificate(manifest: Manifest) -> bool:
    annotations = manifest["metadata"].get("annotations") or {}
    return manifest["kind"] == "Certificate" or bool({"cert-manager.io/cluster-issuer", "cert-manager.io/issuer"} & annotations.keys())


def _app_labels(instance: str, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "postgresql",
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "cloudnative-pg",
    }


def _group(manifest: Manifest) -> str:
    return str(manifest.get("apiVersion", "")).partition("/")[0]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"]


def _pod(namespace: str, name: str, labels: Labels, ports: Iterable[tuple[str, int]], owner: tuple[str, str] | None = None) -> Manifest:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    metadata = {"namespace": namespace, "name": name, "labels": labels, "ownerReferences": owners}
    return {"kind": "Pod", "metadata": metadata, "spec": _containers(ports)}


def _workload(
    kind: str, namespace: str, name: str, labels: Labels, ports: Iterable[tuple[str, int]], replicas: int = 1, service: str = ""
) -> Manifest:
    template = {"metadata": {"labels": labels}, "spec": _containers(ports)}
    return {
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": replicas, "serviceName": service, "template": template},
    }


def _containers(ports: Iterable[tuple[str, int]]) -> Manifest:
    return {"containers": [{"ports": [{"name": name, "containerPort": number} for name, number in ports]}]}


def _service(namespace: str, name: str, selector: Labels, ports: Sequence[Mapping[str, Any]], headless: bool = False) -> Manifest:
    spec = {"selector": selector, "ports": list(ports)} | ({"clusterIP": "None"} if headless else {})
    return {"kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def dns(namespace: str) -> tuple[Manifest, ...]:
    """Cluster DNS, as in cluster/addons/dns/coredns/coredns.yaml.base of Kubernetes.

    OpenShift's, in `openshift-dns`, is called otherwise and listens on another port (cluster-dns-operator, assets/dns/daemonset.yaml).
    """
    number, labels = 5353 if namespace == "openshift-dns" else 53, {"k8s-app": "kube-dns"}
    listening = [("dns", number, "UDP"), ("dns-tcp", number, "TCP"), ("metrics", 9153, "TCP")]
    ports = [{"name": name, "containerPort": port, "protocol": protocol} for name, port, protocol in listening]
    spec = {"replicas": 2, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"ports": ports}]}}}
    service = [{"name": name, "port": 53, "targetPort": name, "protocol": protocol} for name, _, protocol in listening[:2]]
    workload = {"kind": "Deployment", "metadata": {"namespace": namespace, "name": "coredns"}, "spec": spec}
    return workload, _service(namespace, "kube-dns", labels, service)


def ingress_controller(namespace: str) -> Manifest:
    """Whoever publishes hosts: an ingress controller, or the proxies of a Gateway. Only its namespace is known."""
    return _workload("Deployment", namespace, "ingress-controller", {}, [], replicas=2)


# config/manager/manager.yaml and config/webhook/service.yaml of CloudNativePG 1.30.
CLOUDNATIVE_PG: tuple[Manifest, ...] = (
    _workload(
        "Deployment",
        "cnpg-system",
        "cnpg-controller-manager",
        {"app.kubernetes.io/name": "cloudnative-pg"},
        [("metrics", 8080), ("", 9443)],
    ),
    _service("cnpg-system", "cnpg-webhook-service", {"app.kubernetes.io/name": "cloudnative-pg"}, [{"port": 443, "targetPort": 9443}]),
)

# kubernetes/deployment.yaml and service.yaml of plugin-barman-cloud 0.14.
BARMAN_CLOUD: tuple[Manifest, ...] = (
    _workload("Deployment", "cnpg-system", "barman-cloud", {"app": "barman-cloud"}, [("", 9090)]),
    _service("cnpg-system", "barman-cloud", {"app": "barman-cloud"}, [{"port": 9090, "targetPort": 9090}]),
)

# resources/base of the MinIO operator 7.1; the leader labels itself `operator: leader` (pkg/controller/main-controller.go).
_MINIO_LABELS = {
    "name": "minio-operator",
    "app.kubernetes.io/instance": "minio-operator",
    "app.kubernetes.io/name": "operator",
    "operator": "leader",
}
MINIO_OPERATOR: tuple[Manifest, ...] = (
    _workload("Deployment", "minio-operator", "minio-operator", _MINIO_LABELS, [("", 4221), ("", 4223)], replicas=2),
    _service("minio-operator", "operator", {"name": "minio-operator", "operator": "leader"}, [{"name": "http", "port": 4221}]),
    _service("minio-operator", "sts", {"name": "minio-operator"}, [{"name": "https", "port": 4223, "targetPort": 4223}]),
)
