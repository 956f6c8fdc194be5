"""What stays in a cluster when a site no longer declares it: objects that only a person deletes, and how they are removed."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from kit.footprint import OPERATORS
from kit.rendering import Manifest, ObjectId

PRUNE = "kustomize.toolkit.fluxcd.io/prune"
"""The annotation by which such an object is known, here and by Flux."""


@frozen(order=True)
class Left:
    """An object that has been left behind, and the command that removes it with what it holds.

    `goes_on`: with its volumes, which something else has been given; the command leaves them.
    """

    identity: ObjectId
    command: str
    goes_on: bool = False

    def __str__(self) -> str:
        if self.goes_on:
            return f"{self.identity} is no longer declared, and its volumes are what takes its place has: before you apply, {self.command}"
        return f"{self.identity} is no longer declared, and stays with its data. When nobody needs them: {self.command}"


def kept(manifests: Iterable[Manifest]) -> dict[ObjectId, Manifest]:
    """The objects that only a person deletes, by their identity."""
    return {ObjectId.of(o): o for o in manifests if o["metadata"].get("annotations", {}).get(PRUNE) == "disabled"}


def kept_in(folder: Path) -> dict[ObjectId, Manifest]:
    """The same of a `dist/` as it was written; none where there is no such folder."""
    return kept(_objects(text for text in _texts(folder) if f"{PRUNE}: disabled" in text))


def left_behind(before: Mapping[ObjectId, Manifest], declared: Container[ObjectId]) -> list[Left]:
    """What was kept and is no longer declared in any way. What stands in a namespace that is left behind goes with it."""
    gone = {identity: o for identity, o in before.items() if identity not in declared}
    whole = {identity.name for identity in gone if identity.kind == "Namespace"}
    # A policy that closes a namespace holds nothing.
    left = {identity: o for identity, o in gone.items() if identity.namespace not in whole and identity.kind != "NetworkPolicy"}
    return sorted(
        Left(identity, f"kubectl --namespace {identity.namespace} delete {identity.kind.lower()} {identity.name}", goes_on=True)
        if _taken_over(identity, declared)
        else Left(identity, removal(o))
        for identity, o in left.items()
    )


def _taken_over(identity: ObjectId, declared: Container[ObjectId]) -> bool:
    """Whether it is a MinIO that goes on with the same volumes, by its operator or without."""
    store, is_pool, _ = identity.name.partition("-pool-")
    if identity.kind == "Tenant":
        return ObjectId("StatefulSet", identity.namespace, f"{identity.name}-pool-0") in declared
    return identity.kind == "StatefulSet" and bool(is_pool) and ObjectId("Tenant", identity.namespace, store) in declared


def left_behind_by(folder: Path, before: Mapping[ObjectId, Manifest]) -> list[Left]:
    """The same for a `dist/` as it is now. All of it is parsed only if it keeps less than before."""
    if before.keys() <= kept_in(folder).keys():
        return []
    return left_behind(before, {ObjectId.of(o) for o in _objects(_texts(folder))})


def removal(o: Manifest) -> str:
    """The command that removes an object with the volumes that it has."""
    identity = ObjectId.of(o)
    within = f"kubectl --namespace {identity.namespace} delete"
    match identity.kind:
        case "Namespace":
            return f"kubectl delete namespace {identity.name}"
        case "StatefulSet":
            labels = ",".join(f"{key}={value}" for key, value in o["spec"]["selector"]["matchLabels"].items())
            return f"{within} statefulset,persistentvolumeclaim --selector {labels}"
        case "Tenant":
            # The operator leaves volumes alone unless a pool says reclaimStorage.
            label = f"{OPERATORS['Tenant']}={identity.name}"
            return f"{within} tenant {identity.name} && {within} persistentvolumeclaim --selector {label}"
        case "Cluster":
            return f"{within} cluster.postgresql.cnpg.io {identity.name}"
        case kind:
            return f"{within} {kind.lower()} {identity.name}"


def _texts(folder: Path) -> Iterator[str]:
    return (file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.yaml")))


def _objects(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        yield from (o for o in yaml.load_all(text, yaml.CSafeLoader) if o and "metadata" in o)
