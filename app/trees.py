"""What a folder of `dist/` builds to, here, at a revision, and in a cluster."""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.errors import UserError
from app.kubectl import Kubectl
from kit.rendering import PART_OF

Objects = list[dict[str, Any]]

_SECONDS = 120


class CommandError(UserError):
    """A program that is needed is not there, or says that it cannot do what it was asked."""


def build(folder: Path) -> Objects:
    """The objects that `kubectl apply -k` of a folder sends."""
    if not (folder / "kustomization.yaml").is_file():
        raise CommandError(f"{folder} has no kustomization.yaml: is this the folder that synth wrote, and the profile one of its overlays?")
    return _objects(Kubectl().run("kustomize", str(folder), seconds=_SECONDS))


def build_at(revision: str, dist: Path, below: str) -> Objects:
    """The same of the folder `below` in `dist` as it was at a revision of Git."""
    place = dist.resolve()
    top = Path(_git(place.parent, "rev-parse", "--show-toplevel").decode().strip())
    path = place.relative_to(top.resolve()).as_posix()
    _git(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", said=f"there is no revision {revision!r} of {top}")
    packed = _git(top, "archive", "--format=tar", revision, "--", path, said=f"{revision} has no {path}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return build(Path(folder) / path / below)


def live(objects: Objects, cluster: Kubectl) -> tuple[Objects, Objects]:
    """The same objects as they are in the cluster, and as a server-side apply would leave them; nothing is changed.

    Before the first stand those of the platform that an apply does not know any more, the oldest first: of generated names of one object, which
    stay when another is applied, the last one is what runs.
    """
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kinds = dict.fromkeys(_resource(o) for o in objects)
    labelled: Objects = cluster.read(
        "get", ",".join(kinds), "--all-namespaces", "--selector", ",".join(f"{key}={value}" for key, value in PART_OF.items())
    )["items"]
    asked = cluster.run("get", "--ignore-not-found", "--filename", "-", "--output", "json", given=text, seconds=_SECONDS)
    present: Objects = json.loads(asked or '{"items": []}')["items"]
    dry_run = ("apply", "--server-side", "--dry-run=server", "--force-conflicts", "--filename", "-", "--output", "json")
    merged: Objects = json.loads(cluster.run(*dry_run, given=text, seconds=_SECONDS))["items"]
    known = {_key(o) for o in present}
    left = [o for o in labelled if _key(o) not in known and not o["metadata"].get("ownerReferences")]
    return [*sorted(left, key=lambda o: str(o["metadata"].get("creationTimestamp", ""))), *present], merged


def _resource(o: dict[str, Any]) -> str:
    """A kind as kubectl finds it among others of the same name: `Cluster.v1.postgresql.cnpg.io`."""
    group, _, version = o["apiVersion"].rpartition("/")
    return f"{o['kind']}.{version}.{group}" if group else str(o["kind"])


def _key(o: dict[str, Any]) -> tuple[str, str, str]:
    return o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]


def _objects(text: str) -> Objects:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: Iterable[Any] = yaml.load_all(text, loader)
    return [o for o in loaded if o]


def _git(folder: Path, *arguments: str, said: str | None = None) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False, timeout=_SECONDS)
    except FileNotFoundError:
        raise CommandError("there is no git, which knows the revisions of dist/") from None
    if done.returncode:
        raise CommandError(said or f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout
