"""`dist/argocd/`: projects, the operators and the platform as Argo CD's objects, and how it tells whether they are healthy.

Argo CD 3.6: docs/operator-manual/{project.yaml,application.yaml,applicationset.yaml,health.md}, docs/user-guide/{sync-options,sync-waves}.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.gitops.operators import repository, values, wanted
from app.gitops.options import ClusterOptions, GitopsOptions
from app.layout import KUSTOMIZATION, NOTICE, Files
from app.site import Site
from infrastructure.operators import Operator
from kit.rendering import PART_OF, Manifest, Rendering
from kit.text import yaml_documents, yaml_text

_API = "argoproj.io/v1alpha1"
PLATFORM, OPERATORS = "platform", "operators"
"""Projects, of which each installation that an Argo CD keeps has its own."""
_HEALTH = Path(__file__).with_name("health")
_RETRY = {"limit": 10, "backoff": {"duration": "30s", "factor": 2, "maxDuration": "5m"}}
"""What needs an operator that is not up yet comes with another attempt."""
_OPTIONS = ["ServerSideApply=true", "SkipDryRunOnMissingResource=true", "RespectIgnoreDifferences=true", "PruneLast=true"]
_SERVER_SIDE_DIFF = {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}


def argocd_files(site: Site, gitops: GitopsOptions, renderings: Mapping[str, Rendering]) -> Files:
    """The files of `dist/argocd/`, by path below it. `renderings`: by the name of their profile, of which the clusters run some."""
    used = [manifest for _, cluster in gitops.clusters for manifest in renderings[cluster.profile].manifests()]
    files = {
        "projects.yaml": yaml_documents([_platform_project(site, gitops, used), _operators_project(site, gitops)]),
        "operators.yaml": yaml_documents(
            _operator(site, gitops, name, cluster, operator) for name, cluster in gitops.clusters for operator in wanted(site)
        ),
        "platform.yaml": yaml_text(_platform(site, gitops, used)),
        "health-checks.yaml": yaml_text(_health_checks(gitops)),
    }
    kustomization = {**KUSTOMIZATION, "resources": list(files)}
    return {name: NOTICE + text for name, text in {"kustomization.yaml": yaml_text(kustomization), **files}.items() if text}


def _platform_project(site: Site, gitops: GitopsOptions, used: Sequence[Manifest]) -> dict[str, Any]:
    """It may make what `dist/` has, kind by kind, where `dist/` has it, and nothing else."""
    namespaces = dict.fromkeys(namespace for manifest in used if (namespace := manifest["metadata"].get("namespace")))
    kinds = {True: set[tuple[str, str]](), False: set[tuple[str, str]]()}
    for manifest in used:
        kinds["namespace" in manifest["metadata"]].add((_group(manifest), manifest["kind"]))
    kinds[True].add(("", "ConfigMap"))
    return _project(
        gitops,
        site.facts.cluster_wide(PLATFORM),
        "What dist/overlays has.",
        [gitops.repository],
        namespaces,
        {"clusterResourceWhitelist": _kinds(kinds[False]), "namespaceResourceWhitelist": _kinds(kinds[True])},
    )


def _operators_project(site: Site, gitops: GitopsOptions) -> dict[str, Any]:
    """Operators bring definitions, webhooks and rights for the whole cluster."""
    charts = [_chart_url(repository(site, operator)) for operator in wanted(site) if operator.chart]
    namespaces = [*dict.fromkeys(operator.namespace for operator in wanted(site)), "kube-system"]
    everything = [{"group": "*", "kind": "*"}]
    sources = list(dict.fromkeys([gitops.repository, *charts]))
    return _project(
        gitops,
        site.facts.cluster_wide(OPERATORS),
        "What the platform stands on.",
        sources,
        namespaces,
        {"clusterResourceWhitelist": everything},
    )


def _project(
    gitops: GitopsOptions, name: str, description: str, sources: list[str], namespaces: Iterable[str], allowed: Mapping[str, Any]
) -> dict[str, Any]:
    servers = dict.fromkeys(cluster.server for _, cluster in gitops.clusters)
    destinations = [{"server": server, "namespace": namespace} for server in servers for namespace in namespaces]
    spec = {"description": description, "sourceRepos": sources, "destinations": destinations, **allowed}
    return {"apiVersion": _API, "kind": "AppProject", "metadata": _metadata(gitops, name), "spec": spec}


def _operator(site: Site, gitops: GitopsOptions, name: str, cluster: ClusterOptions, operator: Operator) -> dict[str, Any]:
    if operator.chart:
        chart = {"repoURL": _chart_url(repository(site, operator)), "chart": operator.chart.name, "targetRevision": operator.chart.version}
        helm = {"releaseName": operator.name, **({"valuesObject": told} if (told := values(site, operator)) else {})}
        source: dict[str, Any] = {**chart, "helm": helm}
    else:
        path = f"{gitops.folder}/operators/{operator.name}"
        source = {"repoURL": gitops.repository, "targetRevision": gitops.revision, "path": path}
    spec = {
        "project": site.facts.cluster_wide(OPERATORS),
        "source": source,
        "destination": {"server": cluster.server, "namespace": operator.namespace},
        "syncPolicy": _sync(cluster, ["CreateNamespace=true", *_OPTIONS]),
    }
    metadata = {**_metadata(gitops, f"{name}-{operator.name}"), "annotations": _SERVER_SIDE_DIFF}
    return {"apiVersion": _API, "kind": "Application", "metadata": metadata, "spec": spec}


def _platform(site: Site, gitops: GitopsOptions, used: Sequence[Manifest]) -> dict[str, Any]:
    """One Application for each cluster: its overlay of the profile that it runs."""
    name = site.facts.cluster_wide(PLATFORM)
    elements = [
        {"name": name, "server": cluster.server, "profile": cluster.profile, "automatic": cluster.automatic, "prune": cluster.prune}
        for name, cluster in gitops.clusters
    ]
    source = {
        "repoURL": gitops.repository,
        "targetRevision": gitops.revision,
        "path": f"{gitops.folder}/overlays/{{{{.profile}}}}",
    }
    template = {
        "metadata": {"name": f"{{{{.name}}}}-{site.namespaces.main}", "labels": PART_OF, "annotations": _SERVER_SIDE_DIFF},
        "spec": {
            "project": name,
            "source": source,
            # Every object names its own namespace; a project admits no Application without one that is among its destinations.
            "destination": {"server": "{{.server}}", "namespace": site.namespaces.main},
            "ignoreDifferences": _left_to_autoscalers(used),
            "syncPolicy": {"syncOptions": _OPTIONS, "retry": _RETRY},
        },
    }
    # A field that is a truth value cannot be templated: docs/operator-manual/applicationset/Template.md, "Template Patch".
    patch = "{{- if .automatic }}\nspec:\n  syncPolicy:\n    automated:\n      prune: {{ .prune }}\n      selfHeal: true\n{{- end }}\n"
    spec = {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        # Whoever takes a cluster out of the list does not thereby delete what runs there.
        "syncPolicy": {"preserveResourcesOnDeletion": True},
        "generators": [{"list": {"elements": elements}}],
        "template": template,
        "templatePatch": patch,
    }
    return {"apiVersion": _API, "kind": "ApplicationSet", "metadata": _metadata(gitops, name), "spec": spec}


def _sync(cluster: ClusterOptions, options: list[str]) -> dict[str, Any]:
    automated = {"automated": {"prune": cluster.prune, "selfHeal": True}} if cluster.automatic else {}
    return {**automated, "syncOptions": options, "retry": _RETRY}


def _left_to_autoscalers(used: Sequence[Manifest]) -> list[dict[str, Any]]:
    """The numbers of replicas that autoscalers set."""
    targets = {
        (target.get("kind", "Deployment"), target["name"], manifest["metadata"]["namespace"])
        for manifest in used
        if manifest["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
        for target in [manifest["spec"]["scaleTargetRef"]]
    }
    return [
        {"group": "apps", "kind": kind, "name": name, "namespace": namespace, "jsonPointers": ["/spec/replicas"]}
        for kind, name, namespace in sorted(targets)
    ]


def _health_checks(gitops: GitopsOptions) -> dict[str, Any]:
    """Checks in place of Argo CD's own: applied by a server-side apply, they join what its ConfigMap has."""
    data = {f"resource.customizations.health.{file.stem}": file.read_text() for file in sorted(_HEALTH.glob("*.lua"))}
    labels = {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}
    metadata = {"name": "argocd-cm", "namespace": gitops.argocd_namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _metadata(gitops: GitopsOptions, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": gitops.argocd_namespace, "labels": PART_OF}


def _chart_url(url: str) -> str:
    """Argo CD names a registry of charts without its scheme (docs/user-guide/helm.md)."""
    return url.removeprefix("oci://")


def _group(manifest: Manifest) -> str:
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return group if version else ""


def _kinds(kinds: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"group": group, "kind": kind} for group, kind in sorted(kinds)]
