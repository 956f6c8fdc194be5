"""What is applied: an overlay with the few changes that a cluster without internet and registries needs, each with its reason."""

import base64
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.images import MISSING
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.operators import tenants
from tests.cluster.sandbox import NODES, name
from tests.kustomize import ROOT, build

SITE = ROOT / "tests" / "cluster" / "site.yaml"
NAMESPACES = ("matrix", "matrix-li", "matrix-rtc")
AUTOSCALED = "350m"
"""Of a processor: half of what the profile waits for."""
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
Manifest = Mapping[str, Any]


def compiled(site: Path, folder: Path) -> Path:
    """Compile a site into a folder. Returns the folder of its overlays, one a profile."""
    command: list[str | Path] = [sys.executable, "-O", "-m", "app", "synth", "--site", site, "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return folder / "overlays"


class Overlay:
    """An overlay with its changes, as a kustomization in a folder of its own. `objects`: what `kubectl kustomize` prints for it.

    `runs`: with what stands in for the operator of MinIO.
    """

    def __init__(self, overlay: Path, folder: Path, *, runs: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        added = [*_given_by_people(), *(tenants(build(overlay)) if runs else ())]
        (folder / "added.yaml").write_text(yaml.safe_dump_all(added))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            # A kustomization names other ones by relative paths alone.
            "resources": [str(_relative(overlay, folder)), "added.yaml"],
            "patches": [{"target": target, "patch": yaml.safe_dump(patch)} for target, patch in _changes(build(overlay))],
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


def _changes(objects: list[dict[str, Any]]) -> list[tuple[dict[str, str], list[dict[str, Any]]]]:
    """JSON patches, and what they are for."""
    own: list[dict[str, Any]] = [{"op": "remove", "path": "/spec/acme"}, {"op": "add", "path": "/spec/selfSigned", "value": {}}]
    # No certificate authority reaches this cluster to see that a name is ours.
    changes: list[tuple[dict[str, str], list[dict[str, Any]]]] = [({"kind": "Issuer"}, own)]
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
