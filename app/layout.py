"""A rendering as files: the Kustomize base."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from kit.rendering import PART_OF, ObjectId, PlacedObject, Rendering
from kit.state import PRUNED_LAST
from kit.text import yaml_documents, yaml_text

KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
GENERATED = {
    "labels": dict(PART_OF),
    "annotations": dict(PRUNED_LAST),
}
"""What each generated ConfigMap has: its name is another with each content."""
NOTICE = '# Made by "cdk8s synth"; change site.yaml, overlays/ or constructs/ instead.\n'

Files = Mapping[str, str]
"""Path to text."""


def base_files(rendering: Rendering) -> Files:
    """The files of `dist/base`, by path below it."""
    by_file: dict[str, list[Any]] = defaultdict(list)
    tuned: dict[str, list[Any]] = defaultdict(list)
    for placed in rendering.objects.values():
        fixed, tuning = split_tuning(placed)
        by_file[placed.file].append(fixed)
        if placed.tuning:
            tuned[placed.tuning.file].append(tuning)
    kustomization = {
        **KUSTOMIZATION,
        "resources": list(by_file),
        "patches": [{"path": file} for file in tuned],
        "configMapGenerator": [
            {"name": name, "namespace": namespace, "files": [file_argument(key, path) for key, path in files.items()]}
            for (namespace, name), files in rendering.config_maps.items()
        ],
        "generatorOptions": GENERATED,
    }
    documents = {path: NOTICE + yaml_documents(objects) for path, objects in (by_file | tuned).items()}
    return {"kustomization.yaml": NOTICE + yaml_text(without_empty(kustomization)), **documents, **rendering.files}


def split_tuning(placed: PlacedObject) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """An object without its tuned fields, and the patch that adds them."""
    manifest = placed.manifest
    if placed.tuning is None:
        return manifest, {}
    spec = manifest["spec"]
    rest = {key: value for key, value in spec.items() if key not in placed.tuning.keys}
    tuned = {key: value for key, value in spec.items() if key in placed.tuning.keys}
    return {**manifest, "spec": rest}, {**identity(manifest), "spec": tuned}


def identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a patch that say which object it is for."""
    metadata = {key: manifest["metadata"][key] for key in ("name", "namespace") if key in manifest["metadata"]}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata}


def file_argument(key: str, path: str) -> str:
    """A file of a generator: the key is left out where it is the file's own name."""
    return path if path.rpartition("/")[2] == key else f"{key}={path}"


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that hold something."""
    return {key: value for key, value in fields.items() if value not in ([], {}, None)}


def slug(object_id: ObjectId) -> str:
    """A file name for an object, unique within its folder."""
    return f"{object_id.kind.lower()}-{object_id.name.lower()}"
