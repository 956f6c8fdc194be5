"""The three requests about a Secret that the generator makes: get, create and add to it."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from services.kubernetes_api.api import Api

MANAGER = "matrix-platform-secrets"
"""The field manager and the `app.kubernetes.io/managed-by` label of what this program has made."""


@frozen
class Stored:
    """A Secret as the cluster has it. `manager` is the label `managed-by`, `owner` the object that controls it, e.g. `SealedSecret`."""

    data: Mapping[str, bytes]
    version: str
    manager: str | None
    owner: str | None
    immutable: bool


@frozen
class Secrets:
    """The Secrets of a cluster."""

    api: Api

    def get(self, namespace: str, name: str) -> Stored | None:
        """The Secret, or None when there is none."""
        answer = self.api.ask("GET", _path(namespace, name), f"get Secret {namespace}/{name}", (404,))
        if answer is None:
            return None
        metadata = answer["metadata"]
        controllers = [owner["kind"] for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
        return Stored(
            data={key: base64.b64decode(value) for key, value in (answer.get("data") or {}).items()},
            version=metadata["resourceVersion"],
            manager=(metadata.get("labels") or {}).get("app.kubernetes.io/managed-by"),
            owner=controllers[0] if controllers else None,
            immutable=bool(answer.get("immutable")),
        )

    def create(self, namespace: str, name: str, kind: str, data: Mapping[str, bytes]) -> bool:
        """Create a Secret of a type. False when somebody else was first."""
        manifest = secret_manifest(namespace, name, kind, data)
        path = f"{_path(namespace)}?fieldManager={MANAGER}"
        return self.api.ask("POST", path, f"create Secret {namespace}/{name}", (409,), "application/json", manifest) is not None

    def add(self, namespace: str, name: str, version: str, data: Mapping[str, bytes]) -> bool:
        """Add keys to the Secret as it was at `version`. False when it has changed since: then nothing has been added.

        The version in a merge patch makes the API server refuse the patch with 409 if the object has another one.
        """
        patch = {"metadata": {"resourceVersion": version}, "data": encoded(data)}
        path = f"{_path(namespace, name)}?fieldManager={MANAGER}"
        return (
            self.api.ask("PATCH", path, f"add keys to Secret {namespace}/{name}", (409,), "application/merge-patch+json", patch) is not None
        )


def encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    """Values as the `data` of a Secret holds them."""
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def secret_manifest(namespace: str, name: str, kind: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of a Secret of a type.

    It has no `app.kubernetes.io/instance` label: Argo CD may track what it owns by that label, and prunes what is not in Git.
    """
    labels = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "matrix-platform"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded(data)}


def _path(namespace: str, name: str | None = None) -> str:
    secrets = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"
    return f"{secrets}/{quote(name, safe='')}" if name else secrets
