"""What is applied: an overlay with the few changes that a cluster without internet and registries needs, each with its reason."""

import base64
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.images import MISSING
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.operators import tenants
from tests.cluster.sandbox import NODES, name
from tests.kustomize import ROOT, build
from tests.manifests.rules.budget import quantity

SITE = ROOT / "tests" / "cluster" / "site.yaml"
NAMESPACES = ("matrix", "matrix-li", "matrix-rtc")
AUTOSCALED = "350m"
"""Of a processor: half of what the profile waits for."""
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
Manifest = Mapping[str, Any]
Change = tuple[Mapping[str, str], Sequence[Mapping[str, Any]]]
"""Which objects, and a JSON patch of each."""


def compiled(site: Path, folder: Path) -> Path:
    """Compile a site into a folder. Returns the folder of its overlays, one a profile."""
    command: list[str | Path] = [sys.executable, "-O", "-m", "app", "synth", "--site", site, "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return folder / "overlays"


class Overlay:
    """An overlay with its changes, as a kustomization in a folder of its own. `objects`: what `kubectl kustomize` prints for it.

    `runs`: with what stands in for the operator of MinIO. `more`: changes that a test wants besides.
    """

    def __init__(self, overlay: Path, folder: Path, *, runs: bool = True, more: Sequence[Change] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        added = [*_given_by_people(), *(tenants(build(overlay)) if runs else ())]
        (folder / "added.yaml").write_text(yaml.safe_dump_all(added))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            # A kustomization names other ones by relative paths alone.
            "resources": [str(_relative(overlay, folder)), "added.yaml"],
            "patches": [{"target": target, "patch": yaml.safe_dump(patch)} for target, patch in (*_changes(build(overlay)), *more)],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        self.folder = folder
        self.objects = build(folder)

    def apply(self, api: Kubernetes, *flags: str, seconds: float = 300) -> tuple[str, ...]:
        """Apply it as the deployment guide says, or with more flags. Returns the API server's warnings."""
        return api.kubectl("apply", "--server-side", *flags, "--kustomize", self.folder, seconds=seconds).warnings

    def difference(self, api: Kubernetes) -> str:
        """What applying it would change."""
        return api.kubectl("diff", "--server-side", "--kustomize", self.folder, codes=(0, 1), seconds=300).output

    def workloads(self) -> list[Manifest]:
        """What its pods come from, as far as these are rendered."""
        return [o for o in self.objects if o["kind"] in (*_WORKLOADS, "Job")]


def prepare(api: Kubernetes) -> None:
    """What an administrator does before: labels of the nodes for calls."""
    for node in NODES:
        api.kubectl("label", "node", name(node), "matrix-platform/livekit=true", "matrix-platform/coturn=true", "--overwrite")


def _relative(target: Path, start: Path) -> Path:
    up, rest = start.resolve(), target.resolve()
    common = next(parent for parent in (up, *up.parents) if rest.is_relative_to(parent))
    return Path(*[".."] * len(up.relative_to(common).parts)) / rest.relative_to(common)


def _given_by_people() -> list[Manifest]:
    """The Secrets that only a site's operator can give."""
    data = {"fcm-example-app.json": base64.b64encode(b"{}").decode()}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "push-credentials", "namespace": "matrix"}, "data": data}]


def a_quarter(objects: Sequence[Manifest]) -> list[Change]:
    """Pods request a quarter of the processors that a larger size gives them: three nodes here share two."""
    found: list[Change] = []
    for o in objects:
        target = {"kind": o["kind"], "name": o["metadata"]["name"], "namespace": o["metadata"].get("namespace", "")}
        if o["kind"] == "Cluster":
            found.append((target, [_less("/spec", o["spec"])]))
        elif o["kind"] in _WORKLOADS:
            containers = o["spec"]["template"]["spec"]["containers"]
            paths = [(f"/spec/template/spec/containers/{index}", container) for index, container in enumerate(containers)]
            found.append((target, [_less(path, container) for path, container in paths]))
    return found


def _less(path: str, holder: Manifest) -> dict[str, Any]:
    cores = quantity(holder["resources"]["requests"]["cpu"])
    return {"op": "replace", "path": f"{path}/resources/requests/cpu", "value": f"{cores * 250:.0f}m"}


def _changes(objects: list[dict[str, Any]]) -> list[Change]:
    own: list[dict[str, Any]] = [{"op": "remove", "path": "/spec/acme"}, {"op": "add", "path": "/spec/selfSigned", "value": {}}]
    # No certificate authority reaches this cluster to see that a name is ours.
    changes: list[Change] = [({"kind": "Issuer"}, own)]
    # Two processors run all nodes, so that no process gets the 770m of one that an autoscaler waits for.
    sooner: list[dict[str, Any]] = [{"op": "replace", "path": "/spec/metrics/0/resource/target/averageValue", "value": AUTOSCALED}]
    changes.append(({"kind": "HorizontalPodAutoscaler", "name": "client-reader"}, sooner))
    for o in objects:
        if o["kind"] not in _WORKLOADS:
            continue
        target = {"kind": o["kind"], "name": o["metadata"]["name"], "namespace": o["metadata"]["namespace"]}
        for index, container in enumerate(o["spec"]["template"]["spec"]["containers"]):
            if any(part in container["image"] for part in MISSING):
                changes.append((target, [{"op": "add", "path": "/spec/replicas", "value": 0}]))
            if "/coturn:" in container["image"]:
                # Debian builds coturn without the metrics by which it is probed.
                probes = [f"/spec/template/spec/containers/{index}/{probe}" for probe in ("readinessProbe", "livenessProbe")]
                patch: list[dict[str, Any]] = [{"op": "remove", "path": f"{probe}/httpGet"} for probe in probes]
                patch += [{"op": "add", "path": f"{probe}/tcpSocket", "value": {"port": "turn"}} for probe in probes]
                changes.append((target, patch))
    return changes
