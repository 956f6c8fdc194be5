"""Storage: a provisioner that gives each claim a folder of this machine, on the node that the scheduler chose for it.

The volumes are `local`, as those of a cluster without network storage: what is on a node stays there, and is gone with it.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.kubernetes import Kubernetes, RefusedError

PROVISIONER = "matrix-platform.test/local"
CLASS: dict[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER,
    "volumeBindingMode": "WaitForFirstConsumer",
    "reclaimPolicy": "Delete",
}
_SELECTED = "volume.kubernetes.io/selected-node"


def volume(claim: dict[str, Any], path: Path) -> dict[str, Any]:
    """The volume for a claim."""
    metadata, spec = claim["metadata"], claim["spec"]
    node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [metadata["annotations"][_SELECTED]]}
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
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
        },
    }


def _waiting(claim: dict[str, Any]) -> bool:
    metadata = claim["metadata"]
    chosen = _SELECTED in metadata.get("annotations", {})
    return chosen and claim["status"].get("phase") == "Pending" and claim["spec"].get("storageClassName") == CLASS["metadata"]["name"]


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

    api.apply([CLASS])
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
