"""One object of an installation explained: everything that its component has declared, and what follows from it."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.inspection.budget import budget
from kit.component import Component
from kit.footprint import pod_sets
from kit.installation import Installation
from kit.network import Pods
from kit.rendering import Manifest, ObjectId, Rendering
from kit.waves import WAVES, wave

_ROOT = Path(__file__).resolve().parents[2]


def explanation(installation: Installation, rendering: Rendering, identity: ObjectId) -> dict[str, Any]:
    """What there is to say, by title; empty where there is nothing."""
    placed = rendering.objects[identity]
    component, declared = installation.maker(identity), installation.declared
    manifest = placed.manifest
    step = wave(placed.file, identity.kind)

    def mine(pods: Pods) -> bool:
        return _selects(pods, manifest, component)

    calls = [f"{c.target.namespace}/{c.target.name}:{c.port.number}" for c in declared.connections if mine(c.source)]
    calls += [f"{peer.name}, outside the cluster" for pods, peer in declared.outside if mine(pods)]
    calls += ["the API server" for pods in declared.api_clients if mine(pods)]
    runs = _template(manifest) is not None or manifest["kind"] in ("Cluster", "Tenant")
    return {
        "object": str(identity),
        "made_by": f"{type(component).__name__}, {_source(component)}",
        "why": inspect.cleandoc(type(component).__doc__ or "").splitlines(),
        "stands_in": [f"dist/base/{placed.file}", *([f"dist/base/{placed.tuning.file}, its tuning"] if placed.tuning else [])],
        "step": f"{step}: {WAVES[step]}",
        "requests": list(_requests(rendering, identity)),
        "called_by": sorted({f"{c.source.namespace}/{c.source.name} on {c.port.number}" for c in declared.connections if mine(c.target)})
        if runs
        else [],
        "calls": sorted(set(calls)) if runs else [],
        "published": [f"https://{e.host.name}{path}" for e in declared.exposures if mine(e.endpoint.pods) for path in e.paths]
        if runs
        else [],
        "reads": sorted(set(_reads(_template(manifest) or {}))),
        "keeps": [f"{kept.what} ({kept.where}): {kept.restored}" for name, kept in declared.state if name == component.name],
        "when_replaced": component.noticed if runs else "",
        "stops_at_once": f"when ConfigMap {stop.config_map} changes: {stop.noticed}" if runs and (stop := component.stopped_by) else "",
        "alerts": [
            f"{alert.name}: docs/04-TROUBLESHOOTING.md#{alert.name.lower()}" for name, alert in declared.alerts if name == component.name
        ],
    }


def _selects(pods: Pods, manifest: Manifest, component: Component) -> bool:
    """Whether these are pods of an object. What an operator makes of a custom resource has the labels that its component says."""
    if pods.namespace != manifest["metadata"].get("namespace"):
        return False
    template = _template(manifest)
    if template is None:
        return pods == component.pods
    labels: Mapping[str, str] = template["metadata"]["labels"]
    return set(pods.labels) <= set(labels.items())


def _template(manifest: Manifest) -> Manifest | None:
    spec = manifest.get("spec") or {}
    spec = spec.get("jobTemplate", {}).get("spec") or spec
    template: Manifest | None = spec.get("template") if manifest["kind"] != "ExternalSecret" else None
    return template if template and "spec" in template else None


def _source(component: Component) -> str:
    return Path(inspect.getfile(type(component))).resolve().relative_to(_ROOT).as_posix()


def _requests(rendering: Rendering, identity: ObjectId) -> Iterator[str]:
    manifests = rendering.manifests()
    for pods in pod_sets(manifests, 3):
        if (pods.namespace, pods.workload) == (identity.namespace, identity.name) and _runs(rendering, identity):
            count = f"{pods.least}" if pods.least == pods.most else f"{pods.least} to {pods.most}"
            yield f"{count} pods, each {pods.each.cpu} CPU, {pods.each.memory} memory, {pods.each.storage} storage"
    for line in budget(manifests).by_component():
        component = rendering.objects[identity].manifest["metadata"].get("labels", {}).get("app.kubernetes.io/name")
        if line.component == component and line.pods:
            yield f"its component: {line.pods} pods, {line.cpu} CPU, {line.memory} memory, {line.storage} storage"


def _runs(rendering: Rendering, identity: ObjectId) -> bool:
    return identity.kind in ("Cluster", "Tenant") or _template(rendering.objects[identity].manifest) is not None


def _reads(template: Manifest) -> Iterator[str]:
    """ConfigMaps, Secrets with their keys, and volumes."""
    for volume in template.get("spec", {}).get("volumes", []):
        sources = volume.get("projected", {}).get("sources", [volume])
        for source in sources:
            if config_map := source.get("configMap"):
                yield f"ConfigMap {config_map['name']}"
            if secret := source.get("secret"):
                keys = ", ".join(item["key"] for item in secret.get("items", []))
                yield f"Secret {secret.get('secretName') or secret['name']}" + (f": {keys}" if keys else "")
            if claim := source.get("persistentVolumeClaim"):
                yield f"PersistentVolumeClaim {claim['claimName']}"
