"""A rendering as the objects that Kustomize would make of it, without a call to kubectl."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.layout import GENERATED
from kit.rendering import Manifest, Rendering

# The letters of Kustomize's digests: such a name is recognised as a generated one (app/inspection/changes.py).
_LETTERS = str.maketrans("013ae", "ghkmt")
_READING = {"configMap", "configMapRef", "configMapKeyRef"}
_RUN_PODS = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}


def objects(rendering: Rendering) -> list[Manifest]:
    """All objects. The name of a generated ConfigMap ends in a digest of its content, wherever pods read it."""
    texts = {
        (namespace, name): {key: rendering.files[path] for key, path in files.items()}
        for (namespace, name), files in rendering.config_maps.items()
    }
    names = {key: f"{key[1]}-{_digest(content)}" for key, content in texts.items()}
    made = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**GENERATED, "name": names[key], "namespace": key[0]}, "data": content}
        for key, content in texts.items()
    ]
    return [*(_reading(manifest, names) for manifest in rendering.manifests()), *made]


def _digest(content: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10].translate(_LETTERS)


def _reading(manifest: Manifest, names: Mapping[tuple[str, str], str]) -> Manifest:
    if manifest["kind"] not in _RUN_PODS:
        return manifest
    namespace = manifest["metadata"]["namespace"]

    def renamed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                key: {**item, "name": names.get((namespace, item["name"]), item["name"])}
                if key in _READING and isinstance(item, Mapping) and "name" in item
                else renamed(item)
                for key, item in value.items()
            }
        return [renamed(item) for item in value] if isinstance(value, list) else value

    found: Manifest = renamed(manifest)
    return found
