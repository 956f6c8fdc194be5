"""`dist/flux/<cluster>/`: the same for Flux, which runs in each cluster itself.

fluxcd.io/flux/components: source v1 (GitRepository, HelmRepository), kustomize v1 (Kustomization), helm v2 (HelmRelease).
"""

from collections.abc import Iterator
from typing import Any

from app.gitops.operators import repository, values, wanted
from app.gitops.options import ClusterOptions, GitopsOptions
from app.layout import KUSTOMIZATION, NOTICE, Files
from app.site import Site
from kit.rendering import PART_OF
from kit.text import yaml_documents, yaml_text

_SOURCE, _KUSTOMIZE, _HELM = "source.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/v1", "helm.toolkit.fluxcd.io/v2"
_HEALTHY = [
    {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "current": "has(status.phase) && status.phase == 'Cluster in healthy state'",
    },
    {"apiVersion": "minio.min.io/v2", "kind": "Tenant", "current": "has(status.currentState) && status.currentState == 'Initialized'"},
]
"""What is waited for beyond what every object has: CEL, as in kustomize-controller's `healthCheckExprs`."""


def flux_files(site: Site, gitops: GitopsOptions) -> Files:
    """The files of `dist/flux/`, by path below it."""
    files: dict[str, str] = {}
    for name, cluster in gitops.clusters:
        parts = {
            "source.yaml": yaml_text(_object(_SOURCE, "GitRepository", gitops, _name(site), _repository(gitops))),
            "operators.yaml": yaml_documents(_operators(site, gitops, cluster)),
            "platform.yaml": yaml_text(_platform(site, gitops, cluster)),
        }
        parts = {file: text for file, text in parts.items() if text}
        kustomization = yaml_text({**KUSTOMIZATION, "resources": list(parts)})
        files |= {f"{name}/{file}": NOTICE + text for file, text in {"kustomization.yaml": kustomization, **parts}.items()}
    return files


def _name(site: Site) -> str:
    """Of what an installation has of its own in the namespace of Flux."""
    return site.facts.cluster_wide("platform")


def _repository(gitops: GitopsOptions) -> dict[str, Any]:
    return {"interval": "5m", "url": gitops.repository, "ref": {"branch": gitops.revision}}


def _operators(site: Site, gitops: GitopsOptions, cluster: ClusterOptions) -> Iterator[dict[str, Any]]:
    for operator in wanted(site):
        if operator.chart is None:
            yield _folder(site, gitops, cluster, operator.name, f"{gitops.folder}/operators/{operator.name}")
            continue
        url = repository(site, operator)
        kind = {"type": "oci"} if url.startswith("oci://") else {}
        yield _object(_SOURCE, "HelmRepository", gitops, operator.name, {**kind, "interval": "1h", "url": url})
        chart = {
            "chart": operator.chart.name,
            "version": operator.chart.version,
            "sourceRef": {"kind": "HelmRepository", "name": operator.name},
        }
        spec: dict[str, Any] = {
            "interval": "1h",
            "releaseName": operator.name,
            "targetNamespace": operator.namespace,
            "storageNamespace": operator.namespace,
            "chart": {"spec": chart},
            "install": {"createNamespace": True, "crds": "CreateReplace", "remediation": {"retries": 3}},
            "upgrade": {"crds": "CreateReplace", "remediation": {"retries": 3}},
        }
        if told := values(site, operator):
            spec["values"] = told
        if not cluster.automatic:
            spec["suspend"] = True
        yield _object(_HELM, "HelmRelease", gitops, operator.name, spec)


def _platform(site: Site, gitops: GitopsOptions, cluster: ClusterOptions) -> dict[str, Any]:
    return _folder(site, gitops, cluster, _name(site), f"{gitops.folder}/overlays/{cluster.profile}", healthCheckExprs=_HEALTHY)


def _folder(site: Site, gitops: GitopsOptions, cluster: ClusterOptions, name: str, path: str, **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "interval": "10m",
        "retryInterval": "1m",
        "timeout": "30m",
        "path": f"./{path}",
        "prune": cluster.prune,
        "wait": True,
        "sourceRef": {"kind": "GitRepository", "name": _name(site)},
        **more,
    }
    if not cluster.automatic:
        spec["suspend"] = True
    return _object(_KUSTOMIZE, "Kustomization", gitops, name, spec)


def _object(api_version: str, kind: str, gitops: GitopsOptions, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": gitops.flux_namespace, "labels": PART_OF}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
