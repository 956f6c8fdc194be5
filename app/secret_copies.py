"""Copies of the platform's Secrets, which nobody but the owner of an age key can read: what a lost one is brought back from.

https://age-encryption.org; the values are in memory and in the copy, and in no message.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyrage
from attrs import frozen

from app.errors import UserError
from app.kubectl import Kubectl
from kit.secrets import SecretSpec

Manifest = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


class CopyError(UserError):
    """Why a copy cannot be made or read. Nothing has been written."""


@frozen
class Found:
    """The Secrets of the platform that a cluster has, and those that it lacks."""

    manifests: tuple[Manifest, ...]
    missing: tuple[Name, ...]


def read_secrets(cluster: Kubectl, specs: Iterable[SecretSpec]) -> Found:
    """Ask the cluster for the Secrets that a site declares, whoever has made them."""
    wanted = sorted({(spec.namespace, spec.name) for spec in specs})
    there: dict[Name, Manifest] = {}
    for namespace in dict.fromkeys(namespace for namespace, _ in wanted):
        names = [name for where, name in wanted if where == namespace]
        # One name alone would be answered without a list around it, and none at all with nothing.
        answer = cluster.run("get", "secrets", "--namespace", namespace, *names, "--ignore-not-found", "--output", "json")
        items = json.loads(answer or "{}")
        for manifest in items.get("items", [items] if items else []):
            there[namespace, manifest["metadata"]["name"]] = _bare(manifest)
    return Found(tuple(there.values()), tuple(name for name in wanted if name not in there))


def _bare(manifest: Manifest) -> Manifest:
    """A Secret without what a cluster has added to it."""
    metadata = {key: manifest["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in manifest["metadata"]}
    metadata.get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    kept = {key: manifest[key] for key in ("type", "data", "immutable") if key in manifest}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **kept}


def sealed(manifests: Sequence[Manifest], recipients: Iterable[str]) -> bytes:
    """A copy that the owners of these public keys can open. CopyError for what is no key."""
    keys = []
    for text in recipients:
        try:
            keys.append(pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text))
        except pyrage.RecipientError:
            raise CopyError(f"{text!r} is no public key of age; give what age-keygen prints, age1..., or an ssh-ed25519 key") from None
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}, indent=1)
    return bytes(pyrage.encrypt(text.encode(), keys, armored=True))


def opened(copy: bytes, identity: str) -> tuple[Manifest, ...]:
    """The Secrets of a copy. `identity`: the text of a file that age-keygen or ssh-keygen has made. CopyError if it is another one's."""
    try:
        if "OPENSSH PRIVATE KEY" in identity:
            keys = [pyrage.ssh.Identity.from_buffer(identity.encode())]
        else:
            lines = [line.strip() for line in identity.splitlines() if line.strip() and not line.startswith("#")]
            keys = [pyrage.x25519.Identity.from_str(line) for line in lines]
        text = pyrage.decrypt(copy, keys)
    except (pyrage.IdentityError, ValueError):
        raise CopyError("the identity is no private key of age; give the file that age-keygen has written") from None
    except pyrage.DecryptError as error:
        raise CopyError(f"the copy cannot be opened with this key: {error}") from None
    return tuple(json.loads(text)["items"])


def write_copy(path: Path, copy: bytes) -> None:
    """Put a copy where nothing is yet. Only the owner may read it, though nobody can without the key."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CopyError(f"{path} is there already; give a name that says the day") from None
    with os.fdopen(file, "wb") as opened_file:
        opened_file.write(copy)


@frozen
class Difference:
    """What a cluster has of a copy: these are not there, these are as they were, and these are others."""

    absent: tuple[Manifest, ...]
    same: tuple[Manifest, ...]
    other: tuple[Manifest, ...]


def compare(manifests: Sequence[Manifest], there: Mapping[Name, Manifest]) -> Difference:
    """Compare a copy with a cluster, by the values."""
    absent = tuple(manifest for manifest in manifests if name_of(manifest) not in there)
    known = [(manifest, there[name_of(manifest)]) for manifest in manifests if name_of(manifest) in there]
    same = tuple(manifest for manifest, other in known if manifest.get("data", {}) == other.get("data", {}))
    return Difference(absent, same, tuple(manifest for manifest, _ in known if manifest not in same))


def name_of(manifest: Manifest) -> Name:
    """Namespace and name of a Secret."""
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]
