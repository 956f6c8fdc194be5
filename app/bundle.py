"""A bundle: one folder with all that an air-gapped site needs, and the proof that it is whole.

Images are copied by skopeo into folders of their own (`dir:`) with all platforms and as they are, so that their digests stay what they were.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from app.errors import UserError

LIST, SUMS, SIGNATURE = "bundle.json", "SHA256SUMS", "SHA256SUMS.minisig"
SBOM = "sbom.cdx.json"
PARTS = ("charts", "wheels", "npm")
"""Folders of files that come again in later bundles, each under its own name."""
AUTHORITY = "ca/ca.crt"
"""Who has signed the certificate of the registry inside; skopeo reads every `.crt` of the folder."""
_SECONDS = 3600


class BundleError(UserError):
    """The bundle could not be made, or is not what it says."""


@frozen
class BundledImage:
    """An image: where it is had, by which name the site pulls it, its digest, and its folder. `folder` is empty where an earlier bundle has it."""

    source: str
    target: str
    digest: str
    folder: str


def resolve(reference: str) -> str:
    """The digest of an image's index, as its registry has it."""
    raw = _run(["skopeo", "inspect", "--raw", f"docker://{_asked(reference)}"])
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def copy_images(pairs: Iterable[tuple[str, str]], out: Path, known: Iterable[str]) -> Iterator[BundledImage]:
    """Copy each source that is not among the digests that are known, and say what has been copied. `pairs`: source and target."""
    there = set(known)
    for number, (source, target) in enumerate(pairs):
        digest = resolve(source)
        folder = "" if digest in there else f"images/{number:02}-{target.rpartition('/')[2].partition(':')[0]}"
        if folder:
            (out / folder).mkdir(parents=True)
            _run(["skopeo", "copy", "--quiet", "--all", "--preserve-digests", f"docker://{_name(source)}@{digest}", f"dir:{out / folder}"])
        yield BundledImage(source, target, digest, folder)


def leave_out_known(out: Path, earlier: Path | None) -> dict[str, str]:
    """Remove files of PARTS that an earlier bundle has brought as they are. All that there were, with their sums."""
    known: dict[str, str] = _earlier(earlier)["files"] if earlier else {}
    sums = {name: _sum(out / name) for name in _files(out) if name.partition("/")[0] in PARTS}
    for name, digest in sums.items():
        if known.get(name) == digest:
            (out / name).unlink()
    return sums


def write_list(out: Path, images: Sequence[BundledImage], files: Mapping[str, str], **more: Any) -> None:
    """bundle.json, and the scripts that fetch the images again and bring them into the site's registry."""
    (out / LIST).write_text(json.dumps({**more, "images": [asdict(image) for image in images], "files": dict(files)}, indent=2) + "\n")
    carried = [image for image in images if image.folder]
    _script(
        out / "pull.sh",
        "Fetches every image of this bundle again where there is internet, by its digest. Needs skopeo 1.6 or newer.",
        [f'skopeo copy --quiet --all --preserve-digests "$@" docker://{_name(i.source)}@{i.digest} dir:{i.folder}' for i in carried],
    )
    trusted = f" --dest-cert-dir {Path(AUTHORITY).parent}" if (out / AUTHORITY).exists() else ""
    _script(
        out / "push.sh",
        "Brings every image of this bundle into the registry of the site, under the names that it pulls them by. Needs skopeo 1.6 or newer and,\n"
        "# where the registry asks who comes, `skopeo login` before. Further options of `skopeo copy` can be given, such as --dest-tls-verify=false.",
        [
            f'skopeo copy --quiet --all --preserve-digests{trusted} "$@" dir:{i.folder} docker://{i.target.partition("@")[0]}'
            for i in carried
        ],
    )


def _script(file: Path, purpose: str, commands: Sequence[str]) -> None:
    file.write_text("\n".join(["#!/bin/sh", f"# {purpose}", "set -eu", 'cd "$(dirname "$0")"', *commands]) + "\n")


def seal(out: Path, key: Path | None = None) -> None:
    """The sums of all files, and their signature by a secret key of minisign."""
    sums = "".join(f"{_sum(out / name)}  {name}\n" for name in _files(out))
    (out / SUMS).write_text(sums)
    if key:
        _run(["minisign", "-S", "-s", str(key), "-m", str(out / SUMS), "-x", str(out / SIGNATURE)])


def problems(folder: Path, wanted: Sequence[str] | None = None, key: Path | None = None) -> Iterator[str]:
    """What is wrong with a bundle, judged without a network. `wanted`: the images that the site pulls; `key`: minisign's public key."""
    if not (folder / SUMS).is_file() or not (folder / LIST).is_file():
        yield f"{folder}: has no {SUMS} and {LIST}: this is no bundle, or not all of it"
        return
    if key:
        try:
            _run(["minisign", "-V", "-q", "-p", str(key), "-m", str(folder / SUMS), "-x", str(folder / SIGNATURE)])
        except BundleError as error:
            yield f"the signature of {SUMS} is not by this key: {error}"
    listed = {name: digest for digest, name in (line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines())}
    there = set(_files(folder))
    yield from (f"{name}: is missing" for name in sorted(listed.keys() - there))
    yield from (f"{name}: is in no list" for name in sorted(there - listed.keys()))
    yield from (f"{name}: is not as it was" for name in sorted(there & listed.keys()) if _sum(folder / name) != listed[name])
    images = [BundledImage(**entry) for entry in json.loads((folder / LIST).read_text())["images"]]
    for image in images:
        if image.folder:
            yield from _image_problems(folder, image)
    targets = {image.target for image in images}
    yield from (f"{name}: the site pulls it, and the bundle has it not" for name in wanted or () if name not in targets)


def _image_problems(folder: Path, image: BundledImage) -> Iterator[str]:
    """Whether the manifests and layers of an image are there, each under its digest."""
    place = folder / image.folder
    index = place / "manifest.json"
    if not index.is_file() or f"sha256:{_sum(index)}" != image.digest:
        yield f"{image.folder}: is not {image.source} with the digest {image.digest}"
        return
    waiting = [json.loads(index.read_text())]
    while waiting:
        manifest = waiting.pop()
        for entry in manifest.get("manifests", []):
            file = place / f"{entry['digest'].partition(':')[2]}.manifest.json"
            if not file.is_file() or f"sha256:{_sum(file)}" != entry["digest"]:
                yield f"{image.folder}: lacks {entry['digest']} of its platforms"
            else:
                waiting.append(json.loads(file.read_text()))
        for entry in [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]:
            file = place / entry["digest"].partition(":")[2]
            if not file.is_file() or f"sha256:{_sum(file)}" != entry["digest"]:
                yield f"{image.folder}: lacks {entry['digest']}"


def known_digests(earlier: Path | None) -> list[str]:
    """The digests that an earlier bundle, or its list, has brought."""
    return [entry["digest"] for entry in _earlier(earlier)["images"]] if earlier else []


def _earlier(bundle: Path) -> dict[str, Any]:
    """The list of a bundle, or of a file that is one."""
    file = bundle / LIST if bundle.is_dir() else bundle
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        if not all(entry["digest"] for entry in found["images"]) or not isinstance(found["files"], dict):
            raise ValueError("an image without a digest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} is no list of an earlier bundle: {error}") from None
    return found


def _asked(reference: str) -> str:
    """What a registry is asked for, which knows a tag or a digest: where both are given, the digest."""
    _, at, digest = reference.partition("@")
    return f"{_name(reference)}@{digest}" if at else reference


def _name(reference: str) -> str:
    """A reference without tag and digest. The host may have a port."""
    host, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{host}{slash}{last.partition(':')[0]}"


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in (SUMS, SIGNATURE))


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _run(command: Sequence[str]) -> bytes:
    if shutil.which(command[0]) is None:
        raise BundleError(f"there is no {command[0]}: install it (Debian has a package of that name)")
    done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
    if done.returncode:
        raise BundleError(f"{' '.join(command)}: {(done.stderr or done.stdout).decode().strip()}")
    return done.stdout
