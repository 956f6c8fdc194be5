"""What a cluster has besides Kubernetes: DNS, metrics, cert-manager, CloudNativePG and its backup plugin.

They are the real programs, with upstream's own manifests where these are in their modules. Two kinds of objects have no program here: the MinIO
operator, which no module proxy serves, is stood in for by what it would make of a Tenant; Traefik's Middleware is accepted as it is.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.inspection.reach.operators import derived
from tests.cluster.kubernetes import Kubernetes, RefusedError, wait_until
from tests.cluster.nodes import DNS_ADDRESS
from tests.definitions import definition, is_served
from tests.kustomize import ROOT

Manifest = dict[str, Any]

READY_SECONDS = 180.0
_FILES = Path(__file__).with_name("manifests")
_PLUGIN = "ghcr.io/cloudnative-pg/plugin-barman-cloud"
_METRICS_IMAGE = "registry.k8s.io/metrics-server/metrics-server"


def version(module: str, source: str) -> str:
    """The version of a module that `tools/<module>/go.mod` pins, with its `v`."""
    for line in (ROOT / "tools" / module / "go.mod").read_text().splitlines():
        words = line.removeprefix("require").split()
        if words[:1] == [source]:
            return words[1]
    raise LookupError(f"tools/{module}/go.mod does not require {source}")


def _kept(program: str) -> list[Manifest]:
    """The manifests that were kept beside a program when it was built."""
    files = sorted((ROOT / ".tools" / program / "files").glob("*.yaml"))
    found = [document for file in files for document in yaml.load_all(file.read_text(), yaml.CSafeLoader)]
    return [document for document in found if document and document["kind"] != "Kustomization"]


def _own(name: str, values: Mapping[str, str] | None = None) -> list[Manifest]:
    """A manifest of this folder, with values in place of `${...}`."""
    text = (_FILES / f"{name}.yaml").read_text()
    for key, value in (values or {}).items():
        text = text.replace(f"${{{key}}}", value)
    return list(yaml.load_all(text, yaml.CSafeLoader))


def dns() -> list[Manifest]:
    """CoreDNS, as a cluster has it."""
    return _own("coredns", {"VERSION": version("coredns", "github.com/coredns/coredns"), "ADDRESS": DNS_ADDRESS})


def metrics() -> list[Manifest]:
    """metrics-server, with upstream's manifests. It takes the kubelets' certificates, which are of the cluster's authority, as they are."""
    found = _kept("metrics-server")
    labels = {"k8s-app": "metrics-server"}
    for o in found:
        o["metadata"].setdefault("labels", {}).update(labels)
        if o["kind"] == "Deployment":
            o["spec"]["selector"] = {"matchLabels": labels}
            o["spec"]["template"]["metadata"] = {"labels": labels}
            (container,) = o["spec"]["template"]["spec"]["containers"]
            container["image"] = f"{_METRICS_IMAGE}:{version('metrics-server', 'sigs.k8s.io/metrics-server')}"
            container["args"].append("--kubelet-insecure-tls")
        if o["kind"] == "Service":
            o["spec"]["selector"] = labels
    return found


def cert_manager() -> list[Manifest]:
    """cert-manager: upstream's definitions, its controller and its webhook."""
    return [*_kept("cert-manager"), *_own("cert-manager", {"VERSION": version("cert-manager", "github.com/cert-manager/cert-manager")})]


def cloudnative_pg() -> list[Manifest]:
    """The operator of PostgreSQL, with upstream's manifest."""
    found = _kept("cloudnative-pg")
    for o in found:
        if o["kind"] == "Deployment":
            _alone(o["spec"]["template"]["spec"]["containers"][0])
    return found


def barman_cloud() -> list[Manifest]:
    """The plugin that backs PostgreSQL up, with the manifest of its module, which names the images of a test."""
    found = _kept("barman-cloud")
    tag = version("barman-cloud", "github.com/cloudnative-pg/plugin-barman-cloud")
    for o in found:
        if o["kind"] == "Deployment":
            (container,) = o["spec"]["template"]["spec"]["containers"]
            container["image"] = f"{_PLUGIN}:{tag}"
            _alone(container)
        if o["kind"] == "Secret":
            o["data"]["SIDECAR_IMAGE"] = base64.b64encode(sidecar().encode()).decode()
    return found


def sidecar() -> str:
    """The image that the plugin puts beside each PostgreSQL: no manifest names it as one."""
    return f"{_PLUGIN}-sidecar:{version('barman-cloud', 'github.com/cloudnative-pg/plugin-barman-cloud')}"


def _alone(container: Manifest) -> None:
    """Change an operator for a small, busy machine without a registry.

    It is the only one of its kind, so it needs no election, which it would lose when the API server is slow, and end; it is not throttled;
    and its image, which is there, is not pulled at each start.
    """
    container["args"] = [argument for argument in container["args"] if not argument.startswith("--leader-elect")]
    container["resources"].get("limits", {}).pop("cpu", None)
    container["imagePullPolicy"] = "IfNotPresent"


UNKNOWN = (definition("minio.min.io/v2", "Tenant"), definition("traefik.io/v1alpha1", "Middleware"))
"""Kinds that no program here looks after."""


def everything(measured: bool) -> list[Manifest]:
    """All of it, for the list of images. `measured`: with metrics-server."""
    return [*dns(), *(metrics() if measured else []), *cert_manager(), *cloudnative_pg(), *barman_cloud()]


def install(api: Kubernetes, measured: bool) -> None:
    """Apply all of it and wait until it works: webhooks included, which refuse what comes before they serve."""
    api.apply([*dns(), *(metrics() if measured else []), *UNKNOWN])
    _apply_definitions(api, [*cert_manager(), *cloudnative_pg()])
    wait_ready(api, "cert-manager", "cert-manager", "cert-manager-webhook")
    api.apply(
        _own("cert-manager-webhooks", {"AUTHORITY": wait_until(lambda: _authority(api), READY_SECONDS, "the webhook has an authority")})
    )
    wait_ready(api, "cnpg-system", "cnpg-controller-manager")
    wait_until(lambda: _admitted(api), READY_SECONDS, "the webhook of cert-manager admits objects", pause=2)
    api.apply(barman_cloud())
    wait_ready(api, "cnpg-system", "barman-cloud")
    wait_ready(api, "kube-system", "coredns", *(["metrics-server"] if measured else []))


def _authority(api: Kubernetes) -> str:
    """What signs the certificate of cert-manager's webhook, in base64."""
    secret = api.get("secret", "cert-manager-webhook-ca", "cert-manager")
    return str(secret["data"]["ca.crt"]) if secret else ""


def _admitted(api: Kubernetes) -> bool:
    """Whether an Issuer would be."""
    metadata = {"name": "asking", "namespace": "default"}
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": {"selfSigned": {}}}
    api.kubectl("apply", "--server-side", "--dry-run=server", "--filename", "-", given=json.dumps(issuer))
    return True


def _apply_definitions(api: Kubernetes, objects: Sequence[Manifest]) -> None:
    """Definitions first: what else is applied may be of these kinds."""
    first = [o for o in objects if o["kind"] in ("Namespace", "CustomResourceDefinition")]
    api.apply(first)
    wait_until(lambda: all(is_served(o) for o in api.objects("customresourcedefinitions")), 60, "every definition is served")
    api.apply([o for o in objects if o not in first])


def wait_ready(api: Kubernetes, namespace: str, *deployments: str, seconds: float = READY_SECONDS) -> None:
    """Wait until Deployments have all their pods. Raises TimeoutError with what their pods say."""
    for deployment in deployments:
        try:
            words = ("rollout", "status", f"deployment/{deployment}", "--namespace", namespace, f"--timeout={seconds:.0f}s")
            api.kubectl(*words, seconds=seconds + 30)
        except RefusedError as error:
            pods = api.kubectl("describe", "pods", "--namespace", namespace).output
            raise TimeoutError(f"{namespace}/{deployment} is not ready: {error}\n{pods[-6000:]}") from error


# --- in place of the MinIO operator ---


def tenants(objects: Sequence[Mapping[str, Any]]) -> list[Manifest]:
    """What the MinIO operator would make of the Tenants among the objects: a StatefulSet for each pool, and the Services."""
    found: list[Manifest] = []
    chosen = [o for o in objects if o["kind"] == "Tenant"]
    operated = derived(chosen)
    for tenant in chosen:
        namespace, name = tenant["metadata"]["namespace"], tenant["metadata"]["name"]
        mine = [o for o in operated if o["metadata"].get("namespace") == namespace and o["kind"] in ("Service", "StatefulSet")]
        for o in mine:
            if o["kind"] == "Service":
                service = {"apiVersion": "v1", **o}
                # Its servers find each other before they are ready.
                service["spec"] = {**o["spec"], "publishNotReadyAddresses": o["metadata"]["name"] == f"{name}-hl"}
                found.append(service)
            else:
                (pool,) = [pool for pool in tenant["spec"]["pools"] if o["metadata"]["name"] == f"{name}-{pool['name']}"]
                found.append(_pool(tenant, pool, o))
    return found


def _pool(tenant: Mapping[str, Any], pool: Mapping[str, Any], made: Mapping[str, Any]) -> Manifest:
    namespace, name, spec = tenant["metadata"]["namespace"], tenant["metadata"]["name"], tenant["spec"]
    labels, servers, volumes = made["spec"]["template"]["metadata"]["labels"], pool["servers"], pool["volumesPerServer"]
    claim = pool["volumeClaimTemplate"]
    container = {
        "name": "minio",
        "image": spec["image"],
        "imagePullPolicy": spec["imagePullPolicy"],
        "args": ["server", "--quiet", "--address", ":9000", *(_drives(tenant, each) for each in spec["pools"])],
        "env": [
            *spec["env"],
            {"name": "MINIO_CONFIG_ENV_FILE", "value": "/tmp/minio/config.env"},
            # Without this MinIO refuses drives on the file system of the machine itself (cmd/xl-storage.go).
            {"name": "MINIO_CI_CD", "value": "1"},
        ],
        "ports": [{"name": "minio-port", "containerPort": 9000}],
        "resources": pool["resources"],
        "securityContext": pool["containerSecurityContext"],
        "volumeMounts": [
            *({"name": f"data{number}", "mountPath": f"{spec['mountPath']}{number}"} for number in range(volumes)),
            {"name": "configuration", "mountPath": "/tmp/minio", "readOnly": True},
        ],
        "readinessProbe": {"httpGet": {"path": "/minio/health/ready", "port": 9000}, "periodSeconds": 5, "timeoutSeconds": 3},
    }
    pod = {
        "containers": [container],
        "affinity": pool["affinity"],
        "topologySpreadConstraints": pool.get("topologySpreadConstraints", []),
        "priorityClassName": spec["priorityClassName"],
        "securityContext": pool["securityContext"],
        "automountServiceAccountToken": False,
        "volumes": [{"name": "configuration", "secret": {"secretName": spec["configuration"]["name"]}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": namespace, "name": f"{name}-{pool['name']}", "labels": labels},
        "spec": {
            "replicas": servers,
            "serviceName": f"{name}-hl",
            "podManagementPolicy": spec["podManagementPolicy"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "volumeClaimTemplates": [{**claim, "metadata": {"name": f"data{number}"}} for number in range(volumes)],
        },
    }


def _drives(tenant: Mapping[str, Any], pool: Mapping[str, Any]) -> str:
    """Where the drives of a pool are, as MinIO's command line says it."""
    namespace, name = tenant["metadata"]["namespace"], tenant["metadata"]["name"]
    host = f"{name}-{pool['name']}-{{0...{pool['servers'] - 1}}}.{name}-hl.{namespace}.svc.cluster.local"
    return f"http://{host}:9000{tenant['spec']['mountPath']}{{0...{pool['volumesPerServer'] - 1}}}"
