"""The `manual` provider: Secret manifests on an operator's machine, to be sealed (SOPS, Sealed Secrets) and applied by hand.

The only code of the compiler that touches values. It writes outside `dist/`, which is committed.
"""

import base64
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from app.errors import UserError
from infrastructure.secret_provider.providers import recipe_data
from kit.secrets import Form, Given, KeyRef, Recipe, SecretSpec, Shared, in_order
from services.secrets.kubernetes import encoded, secret_manifest
from services.secrets.recipes import complete


class ManifestError(UserError):
    """Why manifests cannot be written. Nothing has been written. No value is in the message."""


@frozen
class Written:
    """The files that are new or have new keys, and the keys that only the operator of the site can give, with what they are."""

    files: tuple[Path, ...]
    missing: tuple[str, ...]


def write_manifests(
    specs: Iterable[SecretSpec], folder: Path, dist: Path, given: Mapping[KeyRef, bytes] | None = None, *, force: bool = False
) -> Written:
    """Write one file `<namespace>.<name>.yaml` per Secret into `folder`, with new values for the keys that the file lacks.

    A key that a file holds keeps its value, so running it again changes nothing. Sealed files (SOPS, Sealed Secrets) stay as they
    are. Only the owner may read the files. Secrets that are made in the cluster are left out. `given` brings an operator's own values,
    for any key. Raises ManifestError inside `dist`; in a Git work tree that does not ignore the files, unless `force`; for a
    sealed file that lacks keys; and for a value that cannot be right.
    """
    _refuse_public(folder, dist, force)
    given = given or {}
    outside = [spec for spec in in_order(specs) if not spec.made_in_cluster]
    if unknown := set(given) - {spec.key(key) for spec in outside for key, _ in spec.keys}:
        raise ManifestError(f"no Secret of the platform needs {', '.join(sorted(map(str, unknown)))}")
    known: dict[tuple[str, str], Mapping[str, bytes]] = {}
    changed: list[tuple[Path, Any]] = []
    missing: list[str] = []
    faults: list[str] = []
    for spec in outside:
        path = folder / f"{spec.namespace}.{spec.name}.yaml"
        manifest = _load(path, spec)
        held = _values(path, manifest)
        if held is None:
            _check_sealed(path, spec, manifest)
            continue
        handed = {key: _as_meant(recipe, given[spec.key(key)]) for key, recipe in spec.keys if spec.key(key) in given}
        faults += [f"{path}: {key} has another value than the one given" for key in handed if held.get(key, handed[key]) != handed[key]]
        present = {**handed, **held}
        sources = {k: _at_source(r.source, known, k in present) for k, r in spec.keys if isinstance(r, Shared)}
        result = complete({key: recipe_data(spec, key) for key, _ in spec.keys}, present, sources)
        known[spec.namespace, spec.name] = {**present, **result.added}
        faults += [f"{path}: {key} {fault}" for key, fault in result.faults.items()]
        missing += [f"{spec}: {key}: {reason}" for key, reason in result.missing.items()]
        if new := {key: value for key, value in known[spec.namespace, spec.name].items() if key not in held}:
            changed.append((path, _with(manifest, spec, new)))
    if faults:
        raise ManifestError("\n".join(faults))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, manifest in changed:
        _write_private(path, manifest)
    return Written(tuple(path for path, _ in changed), tuple(missing))


def _as_meant(recipe: Recipe, value: bytes) -> bytes:
    """A value that somebody has put into a file: the end of its line does not belong to a key of one line."""
    return value.rstrip(b"\r\n") if isinstance(recipe, Given) and recipe.form in (Form.LINE, Form.PLAIN) else value


def read_given(folder: Path) -> dict[KeyRef, bytes]:
    """The values that an operator gives, from files `<folder>/<namespace>/<secret>/<key>`. Raises ManifestError for other files."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            found[KeyRef(*path.relative_to(folder).parts)] = path.read_bytes()
        except (TypeError, ValueError):
            raise ManifestError(f"{path}: expected {folder}/<namespace>/<secret>/<key>") from None
    return found


def _refuse_public(folder: Path, dist: Path, force: bool) -> None:
    real = folder.resolve()
    if real.is_relative_to(dist.resolve()):
        raise ManifestError(f"{folder} is in {dist}, which is committed and deployed: no secret may be there; choose another folder")
    tree = next((parent for parent in (real, *real.parents) if (parent / ".git").exists()), None)
    if tree and not force and not _git_ignores(tree, real / "secret.yaml"):
        raise ManifestError(
            f"{folder} is in the Git work tree {tree}, where plain secrets are soon committed; "
            "choose another folder, let Git ignore this one, or force it"
        )


def _git_ignores(tree: Path, path: Path) -> bool:
    try:
        command = ["git", "-C", str(tree), "check-ignore", "--quiet", "--", str(path)]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


def _load(path: Path, spec: SecretSpec) -> Any:
    """The manifest that is there, or None."""
    if not path.exists():
        return None
    try:
        manifest = YAML().load(path.read_text())
        metadata = manifest["metadata"]
        if manifest["kind"] in ("Secret", "SealedSecret") and (metadata["namespace"], metadata["name"]) == (spec.namespace, spec.name):
            return manifest
    except (YAMLError, KeyError, TypeError, OSError, UnicodeDecodeError) as error:
        # The kind of error alone: its message might quote a value.
        raise ManifestError(f"{path} cannot be read as the manifest of a Secret ({type(error).__name__})") from None
    raise ManifestError(f"{path} is not the manifest of Secret {spec}")


def _values(path: Path, manifest: Any) -> dict[str, bytes] | None:
    """The values that a manifest holds; None when it is sealed."""
    if manifest is None:
        return {}
    if manifest["kind"] == "SealedSecret" or "sops" in manifest:
        return None
    try:
        values = {key: base64.b64decode(value, validate=True) for key, value in (manifest.get("data") or {}).items()}
        # As the API server does it: stringData wins over data.
        return values | {key: value.encode() for key, value in (manifest.get("stringData") or {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise ManifestError(f"{path}: data must be base64, and stringData must be text") from None


def _check_sealed(path: Path, spec: SecretSpec, manifest: Any) -> None:
    sealed = (manifest.get("spec") or {}).get("encryptedData") or {}
    keys = {*sealed, *(manifest.get("data") or {}), *(manifest.get("stringData") or {})}
    if lacking := [key for key, _ in spec.keys if key not in keys]:
        raise ManifestError(f"{path} is sealed and lacks {', '.join(lacking)}; unseal it, run this again, and seal it again")


def _at_source(source: KeyRef, known: Mapping[tuple[str, str], Mapping[str, bytes]], already: bool) -> bytes | None:
    values = known.get((source.namespace, source.secret))
    if values is None and not already:
        raise ManifestError(f"{source} is sealed, and another Secret needs its value; unseal it, run this again, and seal it again")
    return values.get(source.key) if values else None


def _with(manifest: Any, spec: SecretSpec, new: Mapping[str, bytes]) -> Any:
    if manifest is None:
        return secret_manifest(spec.namespace, spec.name, spec.type, new)
    manifest["data"] = (manifest.get("data") or {}) | encoded(new)
    return manifest


def _write_private(path: Path, manifest: Any) -> None:
    """Replace a file in one step by one that only its owner may read."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    yaml = YAML()
    yaml.width = 2**20  # one line per value, however long
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        yaml.dump(manifest, file)
    new.replace(path)
