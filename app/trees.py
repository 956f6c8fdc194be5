"""What a folder of `dist/` builds to, here, at a revision, and in a cluster."""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

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


@frozen
class Past:
    """`dist/` as it was at a revision of Git. `folder`: its files."""

    revision: str
    folder: Path
    _top: Path
    _path: str

    def build(self, below: str) -> Objects:
        """The objects of a folder in it."""
        there = self.folder / below
        if not (there / "kustomization.yaml").is_file():
            others = sorted(path.parent.name for path in there.parent.glob("*/kustomization.yaml"))
            advice = f"it has {', '.join(others)}: name one of these" if others else "name a revision at which synth had written it"
            raise CommandError(f"{self.revision} has no {self._path}/{below}; {advice}")
        return build(there)

    def beside(self, name: str) -> str | None:
        """The text of a file of the folder that `dist/` stood in; None if there was none."""
        path = (Path(self._path).parent / name).as_posix()
        try:
            return _git(self._top, "show", f"{self.revision}:{path}").decode()
        except CommandError:
            return None


@contextmanager
def past(revision: str, dist: Path) -> Iterator[Past]:
    """`dist/` as it was at a revision of Git, as long as somebody looks at it."""
    place = dist.resolve()
    top = Path(_git(place.parent, "rev-parse", "--show-toplevel", said=f"{place.parent} is in no repository of Git").decode().strip())
    path = place.relative_to(top.resolve()).as_posix()
    known = (
        f"there is no revision {revision!r} of {top}: name a commit, tag or branch that `git log` knows; `git fetch --tags` may bring it"
    )
    _git(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", said=known)
    lacking = f"{revision} has no {path}: name a revision at which it was committed; `git log -- {path}` lists them"
    packed = _git(top, "archive", "--format=tar", revision, "--", path, said=lacking)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield Past(revision, Path(folder) / path, top, path)


def build_at(revision: str, dist: Path, below: str) -> Objects:
    """The objects of the folder `below` in `dist` as it was at a revision of Git."""
    with past(revision, dist) as found:
        return found.build(below)


def texts(folder: Path) -> dict[str, str]:
    """The files of a folder by their paths below it; none where there is no such folder."""
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*")) if file.is_file()}


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
