"""What an installation compiles to, before it is laid out as files: objects and configuration, each at its path below `dist/base`."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

Manifest: TypeAlias = Mapping[str, Any]
PART_OF: Final[Mapping[str, str]] = {"app.kubernetes.io/part-of": "matrix-platform"}
"""The label of every object."""


@frozen(order=True)
class ObjectId:
    """What tells one Kubernetes object from all others. `namespace` is empty for cluster-wide kinds."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "ObjectId":
        """The identity of a manifest."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@frozen
class Tuning:
    """The part of an object that people tune (counts, sizes, parameters), kept in a file of its own below `config/`.

    `keys` are fields of `spec`. In `dist/base` the object's file holds the rest and the kustomization joins the two.
    """

    file: str
    keys: tuple[str, ...]


@frozen
class PlacedObject:
    """An object, the file that it belongs to and the part of it that is tuned elsewhere."""

    file: str
    manifest: Manifest
    tuning: Tuning | None = None


@frozen
class Rendering:
    """Everything that is rendered for one site and profile.

    `config_maps`: (namespace, name) to key to file. `files`: path to text, for every file that a ConfigMap packs.
    """

    objects: Mapping[ObjectId, PlacedObject]
    config_maps: Mapping[tuple[str, str], Mapping[str, str]]
    files: Mapping[str, str]

    def manifests(self) -> list[Manifest]:
        """All objects, in the order of their declaration; ConfigMaps that Kustomize generates are not among them."""
        return [placed.manifest for placed in self.objects.values()]
