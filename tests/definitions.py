"""Definitions of custom resources, for API servers whose operators are not there."""

from typing import Any


def definition(api_version: str, kind: str) -> dict[str, Any]:
    """A CustomResourceDefinition that accepts every object of a kind."""
    group, version = api_version.split("/")
    plural = kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Cluster" if kind.startswith("Cluster") and group == "cert-manager.io" else "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


def is_served(definition: dict[str, Any]) -> bool:
    """Whether its kind is. `kubectl wait` gives up on a definition that has no status yet, as each has for a moment."""
    # Both may be null at first.
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
