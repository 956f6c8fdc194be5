"""The difference between two renderings, as a Kustomize overlay a person could have written."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from app.layout import GENERATED, KUSTOMIZATION, NOTICE, Files, file_argument, identity, slug, without_empty
from kit.rendering import ObjectId, Rendering
from kit.text import yaml_documents, yaml_text

# Lists that Kustomize merges by a key (x-kubernetes-patch-merge-key in the Kubernetes API's OpenAPI); all others are replaced as a whole.
# Only kinds of the Kubernetes API itself have them: a custom resource's lists are always replaced.
_MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": None,
    "topologySpreadConstraints": None,
    "imagePullSecrets": None,
}
_SCALABLE = {"Deployment", "StatefulSet"}


def overlay_files(base: Rendering, target: Rendering) -> Files:
    """The files of one overlay by path below its folder; applied to the base, they make exactly the target."""
    added: dict[str, list[Any]] = defaultdict(list)
    changes: dict[ObjectId, dict[str, Any]] = {}
    counts: list[dict[str, Any]] = []
    names = _scalable_names(base)
    for key, placed in target.objects.items():
        if key not in base.objects:
            added[placed.file].append(placed.manifest)
            continue
        change = difference(base.objects[key].manifest, placed.manifest)
        count = _only_replicas(key, change)
        if count is not None and names.count(key.name) == 1:
            counts.append({"name": key.name, "count": count})
        elif change:
            changes[key] = change
    changes |= {key: {"$patch": "delete"} for key in base.objects if key not in target.objects}
    patches = _patches(base, changes)
    generators, files = _config_maps(base, target)
    kustomization = {
        **KUSTOMIZATION,
        "resources": ["../../base", *added],
        "replicas": counts,
        "patches": [{"path": path} for path in patches],
        "configMapGenerator": generators,
        "generatorOptions": GENERATED if generators else {},
    }
    return {
        "kustomization.yaml": NOTICE + yaml_text(without_empty(kustomization)),
        **{path: NOTICE + yaml_documents(objects) for path, objects in added.items()},
        **{path: NOTICE + yaml_text(patch) for path, patch in patches.items()},
        **files,
    }


def difference(base: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """The strategic merge patch (without the identity) that turns one manifest into the other; empty if they are equal."""
    builtin = "." not in base["apiVersion"].partition("/")[0] or base["apiVersion"].partition("/")[0].endswith(".k8s.io")
    return _mapping_difference(base, target, builtin)


def _mapping_difference(base: Mapping[str, Any], target: Mapping[str, Any], builtin: bool) -> dict[str, Any]:
    if any(key in base and _kind(base[key]) is not _kind(value) for key, value in target.items()):
        # A merge cannot make a mapping of a scalar or a list, nor the other way round: only what holds it can be replaced.
        return {"$patch": "replace", **target}
    changes: dict[str, Any] = {key: None for key in base if key not in target}
    for key, value in target.items():
        old = base.get(key)
        if key not in base:
            changes[key] = value
        elif old == value:
            continue
        elif isinstance(old, Mapping) and isinstance(value, Mapping):
            changes[key] = _mapping_difference(old, value, builtin)
        elif isinstance(old, list) and isinstance(value, list) and builtin and key in _MERGED_BY:
            changes[key] = _keyed_difference(old, value, _MERGED_BY[key])
        else:
            changes[key] = value
    return changes


def _kind(value: Any) -> type:
    return dict if isinstance(value, Mapping) else list if isinstance(value, list) else str


def _keyed_difference(base: Sequence[Any], target: Sequence[Any], key: str | None) -> list[Any]:
    """Item by item where both lists hold the same items in the same order; else the whole list anew."""
    if key and [item[key] for item in base] == [item[key] for item in target]:
        return [{key: new[key], **_mapping_difference(old, new, builtin=True)} for old, new in zip(base, target, strict=True) if old != new]
    return [{"$patch": "replace"}, *target]


def _only_replicas(key: ObjectId, change: Mapping[str, Any]) -> int | None:
    spec = change.get("spec") or {}
    if key.kind in _SCALABLE and list(change) == ["spec"] and list(spec) == ["replicas"] and spec["replicas"] is not None:
        return int(spec["replicas"])
    return None


def _scalable_names(rendering: Rendering) -> list[str]:
    """Names that Kustomize's `replicas` could mean: it looks at nothing but the name, in all kinds and namespaces."""
    return [key.name for key in rendering.objects if key.kind in {*_SCALABLE, "ReplicaSet", "ReplicationController"}]


def _patches(base: Rendering, changes: Mapping[ObjectId, Mapping[str, Any]]) -> dict[str, Any]:
    """Each change in a file of its own: path to patch. What else has changed makes no difference to the name of a file."""
    paths = {
        key: f"patches/{placed.file.rpartition('/')[0] or key.namespace or 'cluster'}/{slug(key)}" for key, placed in base.objects.items()
    }
    namesakes = Counter(paths.values())
    return {
        f"{path}-{key.namespace}.yaml" if namesakes[path] > 1 else f"{path}.yaml": {**identity(base.objects[key].manifest), **change}
        for key, change in changes.items()
        for path in [paths[key]]
    }


def _config_maps(base: Rendering, target: Rendering) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The generators whose content differs, with the files that they need: those that the base has not, or has differently."""
    generators: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for (namespace, name), wanted in target.config_maps.items():
        present = base.config_maps.get((namespace, name))
        changed = {key: path for key, path in wanted.items() if present is None or _text(base, present, key) != target.files[path]}
        if not changed and present is not None and present.keys() == wanted.keys():
            continue
        generator: dict[str, Any] = {"name": name, "namespace": namespace}
        if present is not None and present.keys() <= wanted.keys():
            generator["behavior"] = "merge"
        elif present is not None:
            generator["behavior"], changed = "replace", dict(wanted)
        generator["files"] = [file_argument(key, path) for key, path in changed.items()]
        generators.append(generator)
        files |= {path: target.files[path] for path in changed.values()}
    missing = base.config_maps.keys() - target.config_maps.keys()
    if missing:
        raise ValueError(f"the base has ConfigMaps that this profile lacks, and Kustomize cannot take them away: {sorted(missing)}")
    return generators, files


def _text(rendering: Rendering, files: Mapping[str, str], key: str) -> str | None:
    return rendering.files[files[key]] if key in files else None
