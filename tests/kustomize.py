"""Kustomize as a person runs it: `kubectl kustomize` on the files that the compiler makes."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from app.layout import Files
from kit.rendering import ObjectId, Rendering

ROOT = Path(__file__).parents[1]


@cache
def kubectl() -> str:
    """The kubectl that `make setup` has chosen; else the one on PATH."""
    found = shutil.which("kubectl", path=f"{ROOT / '.tools' / 'bin'}") or shutil.which("kubectl")
    assert found, "no kubectl: run `make setup`"
    return found


def write(folder: Path, files: Files) -> None:
    """Write files by path below a folder."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def build(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl kustomize` prints for a folder."""
    # Go's garbage collector takes a third of the time of a run so short: it may wait until there is more to collect.
    run = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"GOGC": "400"}
    )
    assert run.returncode == 0, run.stderr
    return list(yaml.load_all(run.stdout, yaml.CSafeLoader))


def by_id(objects: Iterable[Mapping[str, Any]]) -> dict[ObjectId, Mapping[str, Any]]:
    """Objects by identity; two of one identity are an error."""
    found: dict[ObjectId, Mapping[str, Any]] = {}
    for o in objects:
        assert ObjectId.of(o) not in found, f"{ObjectId.of(o)} comes twice"
        found[ObjectId.of(o)] = o
    return found


def without_hashes(objects: list[dict[str, Any]]) -> list[Any]:
    """The same objects with the generated ConfigMaps under the names that they were given, wherever these occur."""
    hashed = [o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"]
    plain = {name: re.sub(r"-[0-9a-z]{10}$", "", name) for name in hashed}
    return [_rename(o, plain) for o in objects]


def expected(rendering: Rendering) -> dict[ObjectId, Any]:
    """What Kustomize should make of a rendering: its objects, and a ConfigMap for each generator."""
    objects: dict[ObjectId, Any] = {key: placed.manifest for key, placed in rendering.objects.items()}
    for (namespace, name), files in rendering.config_maps.items():
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "matrix-platform"},
            "annotations": {"argocd.argoproj.io/sync-options": "PruneLast=true"},
        }
        data = {key: rendering.files[path] for key, path in files.items()}
        objects[ObjectId("ConfigMap", namespace, name)] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return objects


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
