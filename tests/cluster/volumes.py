"""Storage: a provisioner that gives each claim a folder of this machine.

The volumes of the class `local`, which is the default, are as those of a cluster without network storage: what is on a node stays there, and
is gone with it. Those of the class `network` follow their pods to any node.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.kubernetes import Kubernetes, RefusedError
from tests.cluster.sandbox import NODES, name

PROVISIONER = "matrix-platform.test/local"
LOCAL, NETWORK = "local", "network"
CLASSES: list[dict[str, Any]] = [
    {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": kind, "annotations": {"storageclass.kubernetes.io/is-default-class": str(kind == LOCAL).lower()}},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    for kind in (LOCAL, NETWORK)
]
_SELECTED = "volume.kubernetes.io/selected-node"


def volume(claim: dict[str, Any], path: Path) -> dict[str, Any]:
    """The volume for a claim."""
    metadata, spec = claim["metadata"], claim["spec"]
    reached = [metadata["annotations"][_SELECTED]] if spec["storageClassName"] == LOCAL else [name(node) for node in NODES]
    nodes = {"key": "kubernetes.io/hostname", "operator": "In", "values": reached}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [nodes]}]}},
        },
    }


def _waiting(claim: dict[str, Any]) -> bool:
    metadata = claim["metadata"]
    chosen = _SELECTED in metadata.get("annotations", {})
    return chosen and claim["status"].get("phase") == "Pending" and claim["spec"].get("storageClassName") in (LOCAL, NETWORK)


@contextlib.contextmanager
def provisioner(api: Kubernetes, folder: Path) -> Iterator[None]:
    """Give claims their volumes, below `folder`, for the time of a `with` block."""
    end = threading.Event()
    given: set[str] = set()

    def work() -> None:
        while not end.wait(1.0):
            # The API server may be away for a moment; the next turn makes up for it.
            with contextlib.suppress(RefusedError, OSError, TimeoutError):
                new = [
                    claim
                    for claim in api.listed("/api/v1/persistentvolumeclaims")
                    if _waiting(claim) and claim["metadata"]["uid"] not in given
                ]
                volumes = [volume(claim, _folder(folder, claim)) for claim in new]
                if volumes:
                    api.apply(volumes)
                    given.update(claim["metadata"]["uid"] for claim in new)

    api.apply(CLASSES)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(30)


def _folder(parent: Path, claim: dict[str, Any]) -> Path:
    metadata = claim["metadata"]
    path: Path = parent / metadata["annotations"][_SELECTED] / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid'][:8]}"
    path.mkdir(parents=True, exist_ok=True)
    return path
