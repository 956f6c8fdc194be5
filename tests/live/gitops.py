"""Argo CD's own engine, which synchronises a git repository with a cluster: in which order it writes what has changed.

gitops-engine is the part of Argo CD that compares and applies; its `agent` is a program that does nothing else, and always by itself.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from tests.kustomize import ROOT, kubectl
from tests.live.control_plane import ControlPlane
from tests.live.processes import Program, free_ports, running, wait_for
from tests.live.programs import chosen

Objects = Sequence[Mapping[str, Any]]
Key = tuple[str, str]
"""Kind and name."""
_LISTED = {"ConfigMap": "configmaps", "StatefulSet": "statefulsets"}


def engine_program() -> str:
    """The program of tools/gitops-engine; where it is not built, the test is skipped and says how to build it."""
    return chosen("GITOPS_ENGINE", [ROOT / ".tools/gitops-engine/gitops-engine"], "Argo CD's engine, which Go builds: make gitops-engine")


def synchronise(plane: ControlPlane, namespace: str, objects: Objects, repository: Path) -> list[Key]:
    """Let the engine bring a cluster to what a repository wants; the ConfigMaps and StatefulSets that it made or changed, as it wrote them."""
    _commit(repository, objects)
    before = {kind: _versions(plane, kind, namespace) for kind in _LISTED}
    (port,) = free_ports(1)
    command: list[str | Path] = [
        *(engine_program(), repository, "--kubeconfig", plane.kubeconfig, "--port", str(port), "--resync-seconds", "3600"),
        *("--default-namespace", namespace),
    ]
    with _watch(plane, "ConfigMap", namespace) as config_maps, _watch(plane, "StatefulSet", namespace) as sets:
        watches = {"ConfigMap": config_maps, "StatefulSet": sets}
        # They begin with what is there.
        wait_for(lambda: all(len(list(_events(watches[kind].output()))) >= len(before[kind]) for kind in _LISTED), 60, "the watches")
        with running(command, name="gitops-engine") as agent:
            agent.ready(lambda: "RESOURCE" in agent.output() and all(_changed(watches[kind], before[kind]) for kind in _LISTED), 180)
        found = {(kind, name): at for kind, watch in watches.items() for name, at in _changed(watch, before[kind]).items()}
    # One number counts the writes of all kinds (etcd's revision).
    return sorted(found, key=lambda key: found[key])


def _changed(watch: Program, before: Mapping[str, int]) -> dict[str, int]:
    """Name to the revision of the first write that gave an object another specification than before."""
    found: dict[str, int] = {}
    for event in _events(watch.output()):
        metadata = event["object"]["metadata"]
        if event["type"] in ("ADDED", "MODIFIED") and before.get(metadata["name"]) != metadata.get("generation", 0):
            found.setdefault(metadata["name"], int(metadata["resourceVersion"]))
    return found


def _versions(plane: ControlPlane, kind: str, namespace: str) -> dict[str, int]:
    """Name to the version of its specification; a ConfigMap has none, and is not changed but made anew."""
    return {o["metadata"]["name"]: o["metadata"].get("generation", 0) for o in plane.objects(_LISTED[kind], namespace)}


def _watch(plane: ControlPlane, kind: str, namespace: str) -> AbstractContextManager[Program]:
    words: list[str | Path] = [kubectl(), "--kubeconfig", plane.kubeconfig, "get", _LISTED[kind], "--namespace", namespace]
    return running([*words, "--watch", "--output-watch-events", "--output", "json"], name=f"watch-{kind}")


def _events(text: str) -> Iterator[dict[str, Any]]:
    """The documents of a stream; the last one may not have come whole."""
    decoder, rest = json.JSONDecoder(), text.lstrip()
    while rest:
        try:
            event, end = decoder.raw_decode(rest)
        except json.JSONDecodeError:
            return
        yield event
        rest = rest[end:].lstrip()


def _commit(repository: Path, objects: Objects) -> None:
    repository.mkdir()
    (repository / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    git = ["git", "-C", str(repository), "-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Objects"]):
        subprocess.run([*git, *words], check=True, capture_output=True, timeout=30)
