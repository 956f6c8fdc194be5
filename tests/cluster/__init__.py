"""A real Kubernetes of three nodes on this machine, with the real operators, for what no imitation can show.

    with running_cluster(say) as cluster:
        overlay = Overlay(compiled(SITE, folder) / "100-ccu", cluster.place.folder / "overlay")
        overlay.apply(cluster.api)

Every node is a network namespace with its own containerd, kubelet, kube-proxy and engine of NetworkPolicies. `images.py` says what the images
are made of, `operators.py` what else runs, `platform.py` what is changed in the rendered files before they are applied.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster import images, operators, platform
from tests.cluster.nodes import PAUSE, Cluster, nodes
from tests.cluster.platform import SITE, Overlay, compiled
from tests.cluster.sandbox import NODES, sandbox
from tests.cluster.volumes import provisioner
from tests.kustomize import ROOT, build

__all__ = ["SITE", "Cluster", "Overlay", "compiled", "running_cluster"]

CLIENT = "docker.io/tests/client:1"
"""The image that the programs of tests run in."""
_PROGRAMS = ROOT / ".tools"


def programs() -> dict[str, Path]:
    """What Go has built, by the name of its module."""
    binaries = {"livekit": "livekit-server"}
    names = ("barman-cloud", "cert-manager", "cloudnative-pg", "coredns", "livekit", "metrics-server", "minio", "pause")
    return {name: _PROGRAMS / name / binaries.get(name, name) for name in names}


@contextlib.contextmanager
def running_cluster(say: Callable[[str], None], *overlays: Path, folder: Path | None = None) -> Iterator[Cluster]:
    """Run it for the time of a `with` block, with the images of these overlays, and the operators at work. `say` is told each step.

    Without an overlay there is no metrics-server either.
    """
    measured = bool(overlays)
    started = time.monotonic()

    def step(text: str) -> None:
        say(f"{time.monotonic() - started:4.0f} s  {text}")

    wanted = [*operators.everything(measured), *(o for overlay in overlays for o in build(overlay))]
    named = images.used(wanted)
    names = named | {PAUSE, CLIENT, *([operators.sidecar(), *images.successors(named)] if measured else [])}
    with contextlib.ExitStack() as running:
        place = running.enter_context(sandbox(_PROGRAMS / "debian" / "containerd", folder or _run_folder()))
        step("starting etcd and the API server, giving images to three nodes, and starting these")
        kubernetes, policies = _PROGRAMS / "kubernetes" / "kubernetes", _PROGRAMS / "network-policies" / "network-policies"
        cluster = running.enter_context(nodes(place, kubernetes, policies, lambda cluster: give(cluster, names, step)))
        running.enter_context(provisioner(cluster.api, place.folder / "volumes"))
        step("installing the operators")
        platform.prepare(cluster.api)
        operators.install(cluster.api, measured)
        step("the cluster is ready")
        yield cluster


def _run_folder() -> Path:
    """Where running clusters keep what they have: on the disk of the images, which are linked into it."""
    folder = _PROGRAMS / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def give(cluster: Cluster, names: set[str], say: Callable[[str], None]) -> None:
    """Put images of these names into the stores of all nodes, before these run.

    They are unpacked once and kept. What is below an image never changes, so the stores have it as hard links; the runtime's own records
    are copied.
    """
    built, kept = programs(), images.FOLDER / "store"
    stamp, note = images.stamp(names, built), images.FOLDER / "store.stamp"
    if not note.exists() or note.read_text() != stamp:
        say("unpacking the images, once")
        note.unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        archive = cluster.place.folder / "images.tar"
        images.archive(names, built, archive)
        cluster.start_containerd(NODES[0])
        cluster.images(NODES[0], "import", archive, seconds=900)
        cluster.end(f"containerd-{NODES[0]}")
        archive.unlink()
        shutil.move(cluster.store(NODES[0]), kept)
        note.write_text(stamp)
    for node in NODES:
        cluster.store(node).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--link", kept, cluster.store(node)], check=True, timeout=300)
        for record in kept.rglob("*.db"):
            copy = cluster.store(node) / record.relative_to(kept)
            copy.unlink()
            shutil.copy2(record, copy)
