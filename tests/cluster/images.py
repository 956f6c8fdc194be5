"""The images under the names by which the rendered files and the operators' manifests call them, made of Debian's, PyPI's and our own programs.

No registry is asked. One root file system of a Debian release is a layer of nearly every image, the Python packages of
`requirements/cluster.lock` are another, and a program that Go has built is a third. What no registry of packages has is stood in for by the
programs of the live tests, or missing: `MISSING`.
"""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

from tests.kustomize import ROOT
from tests.live.cluster.substitutes import STAND_INS

FOLDER = ROOT / ".tools" / "cluster-images"
LOCK = ROOT / "requirements" / "cluster.lock"
SUITE = "forky"
PACKAGES = (
    *("base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip", "hostname"),
    *("libc-bin", "mawk", "media-types", "netbase", "procps", "sed", "tar", "tzdata", "util-linux"),
    *("coturn", "haproxy", "nginx", "postgresql-18", "valkey-sentinel", "valkey-server", "valkey-tools"),
    *("python3", "python-is-python3", "libjemalloc2"),
)
_USERS = {26: "postgres", 99: "haproxy", 101: "nginx", 991: "synapse", 999: "valkey", 1000: "minio"}
_LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/perl", "usr/lib/x86_64-linux-gnu/perl")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STAND_INS = "/opt/stand_ins"
NEXT = "-next"
"""The end of a tag: the same content again, with one byte more in what Go has built, for what a new release replaces."""
MISSING: Mapping[str, str] = {"element-hq/lk-jwt-service:": "its program is in no registry of packages"}
"""Images whose program cannot be had: part of the name, and why."""


@frozen
class Layer:
    """A file system as a tar file. `digest`: SHA-256 of it, in hexadecimal."""

    path: Path
    digest: str
    size: int


@frozen
class Image:
    """What a container starts with. `layers`: names of layers, the lowest first."""

    layers: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(factory=dict)
    user: str = ""

    def built_again(self) -> "Image":
        """The same, with programs of another digest."""
        return evolve(self, layers=tuple(layer.replace("=", f"{NEXT}=", 1) for layer in self.layers))


def _go(program: str, inside: str, *below: str, user: str = "65532:65532", **environment: str) -> Image:
    """An image of a program that Go has built."""
    return Image((*below, f"{program}={inside}"), (inside,), environment, user)


# The image of a container is the first of these whose name is part of it.
IMAGES: Mapping[str, Image] = {
    "/synapse:": Image(("debian", "python"), user="991:991"),
    "library/haproxy:": Image(("debian",), user="99:99"),
    "valkey/valkey:": Image(("debian",)),
    "vectorim/element-web:": Image(("debian", "element-web"), user="101"),
    "matrixdotorg/sygnal:": Image(("debian", "python", "stand-ins"), environment={"PYTHONPATH": f"{_STAND_INS}/sygnal"}),
    "coturn/coturn:": Image(("debian",), user="65534:65534"),
    "cloudnative-pg/postgresql:": Image(("debian",), environment={"PATH": f"/usr/lib/postgresql/18/bin:{_PATH}"}, user="26"),
    "pgsty/silo:": _go("minio", "/usr/local/bin/minio", "debian", user="1000"),
    "livekit/livekit-server:": _go("livekit", "/livekit-server", "debian", user=""),
    "registry.k8s.io/pause:": _go("pause", "/pause", user="65535:65535"),
    "coredns/coredns:": _go("coredns", "/coredns", user=""),
    "metrics-server/metrics-server:": _go("metrics-server", "/metrics-server"),
    "jetstack/cert-manager": _go("cert-manager", "/cert-manager"),
    # The operator looks for itself under both names, to copy itself into its instances.
    "cloudnative-pg/cloudnative-pg:": Image(("cloudnative-pg=/operator/manager_amd64", "manager-link"), ("/manager",), {}, "10001:10001"),
    "plugin-barman-cloud-sidecar:": _go("barman-cloud", "/manager", "debian", "python", user="26:26"),
    "plugin-barman-cloud:": _go("barman-cloud", "/manager", user="10001:10001"),
    "tests/client:": Image(("debian", "python")),
}


def used(objects: Iterable[Any]) -> set[str]:
    """The images that objects name: those of pods, and those that operators start."""
    found: set[str] = set()
    for value in objects:
        if isinstance(value, Mapping):
            found |= {text for key, text in value.items() if key in ("image", "imageName") and isinstance(text, str)}
            found |= used(value.values())
        elif isinstance(value, (list, tuple)):
            found |= used(value)
    return found


def successors(names: Iterable[str]) -> set[str]:
    """The names of what tests put in the place of some of these, as a new release does."""
    return {f"{name}{NEXT}" for name in names if "cloudnative-pg/cloudnative-pg:" in name or "cloudnative-pg/postgresql:" in name}


def recipe(name: str) -> Image | None:
    """How an image of this name is made; None if its program cannot be had. Raises LookupError if nobody has said."""
    for part, image in IMAGES.items():
        if part in name:
            return image.built_again() if name.endswith(NEXT) else image
    if any(part in name for part in MISSING):
        return None
    raise LookupError(f"nobody has said what the image {name} is made of: see {Path(__file__).name}")


def stamp(names: Iterable[str], programs: Mapping[str, Path]) -> str:
    """What decides images of these names: it changes with their names, settings and contents."""
    recipes = {name: image for name in sorted(names) if (image := recipe(name))}
    parts = {name: [asdict(image), *(layer(part, programs).digest for part in image.layers)] for name, image in recipes.items()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def archive(names: Iterable[str], programs: Mapping[str, Path], to: Path) -> None:
    """Write an OCI archive with images of these names. `programs`: what Go has built, by the name of its module."""
    recipes = {name: image for name in sorted(names) if (image := recipe(name))}
    with tarfile.open(to, "w") as file:
        written: set[str] = set()
        manifests = [_add_image(file, name, image, programs, written) for name, image in recipes.items()]
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
        _add(file, "index.json", json.dumps(index).encode())
        _add(file, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def _add_image(file: tarfile.TarFile, name: str, image: Image, programs: Mapping[str, Path], written: set[str]) -> dict[str, Any]:
    layers = [layer(part, programs) for part in image.layers]
    for one in layers:
        if one.digest not in written:
            written.add(one.digest)
            file.add(one.path, f"blobs/sha256/{one.digest}")
    environment = {"PATH": _PATH, **image.environment}
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Entrypoint": list(image.entrypoint) or None,
            "User": image.user,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one.digest}" for one in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(file, written, "application/vnd.oci.image.config.v1+json", configuration),
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{one.digest}", "size": one.size} for one in layers
        ],
    }
    described = _blob(file, written, manifest["mediaType"], manifest)
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    return described | {"annotations": annotations, "platform": {"architecture": "amd64", "os": "linux"}}


def _blob(file: tarfile.TarFile, written: set[str], media_type: Any, value: Any) -> dict[str, Any]:
    data = json.dumps(value, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    if digest not in written:
        written.add(digest)
        _add(file, f"blobs/sha256/{digest}", data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _add(file: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    file.addfile(entry, io.BytesIO(data))


# --- layers ---


def layer(name: str, programs: Mapping[str, Path]) -> Layer:
    """A layer by its name: made once, and again when what it is made of has changed."""
    program, _, inside = name.partition("=")
    if inside:
        source, more = programs[program.removesuffix(NEXT)], b"\n" * program.endswith(NEXT)
        stat = source.stat()
        return _kept(program, f"{inside} {stat.st_size} {stat.st_mtime_ns}", lambda file: _put(file, source.read_bytes() + more, inside))
    make: Mapping[str, Callable[[tarfile.TarFile], None]] = {
        "debian": lambda file: _tree(file, _root(), without=(*_LEFT_OUT, "usr/local/")),
        "python": lambda file: _tree(file, _root(), below="usr/local"),
        "element-web": lambda file: _tree(file, STAND_INS / "element-web", inside="app"),
        "stand-ins": lambda file: _tree(file, STAND_INS, inside=_STAND_INS.lstrip("/")),
        "manager-link": lambda file: _link(file, "manager", "operator/manager_amd64"),
    }
    stamp = _root_stamp() if name in ("debian", "python") else _digest_of(STAND_INS)
    return _kept(name, stamp, make[name])


def _kept(name: str, stamp: str, make: Callable[[tarfile.TarFile], None]) -> Layer:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, note = FOLDER / f"{name}.tar", FOLDER / f"{name}.json"
    if note.exists() and path.exists():
        kept = json.loads(note.read_text())
        if kept.pop("stamp") == stamp:
            return Layer(path, kept["digest"], kept["size"])
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        make(file)
    with path.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    made = Layer(path, digest, path.stat().st_size)
    note.write_text(json.dumps({"stamp": stamp, "digest": digest, "size": made.size}))
    return made


def _put(file: tarfile.TarFile, program: bytes, inside: str) -> None:
    """A program, and the folders above it, which belong to root."""
    for parent in reversed(Path(inside.lstrip("/")).parents[:-1]):
        entry = tarfile.TarInfo(str(parent))
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        file.addfile(entry)
    _add(file, inside.lstrip("/"), program, 0o755)


def _link(file: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    file.addfile(entry)


def _tree(file: tarfile.TarFile, folder: Path, below: str = "", inside: str = "", without: Sequence[str] = ()) -> None:
    """A folder as it is, for root; only what is `below` it, under `inside`, and `without` paths that begin so."""

    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if any(entry.name.startswith(left) or f"{entry.name}/" == left for left in without):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    if inside or below:
        file.add(folder / below, inside or below, filter=owned)
        return
    for child in sorted(folder.iterdir()):
        if child.name != ".done":
            file.add(child, child.name, filter=owned)


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


# --- the root file system ---


def _root_stamp() -> str:
    return hashlib.sha256(json.dumps([SUITE, PACKAGES, LOCK.read_text(), _USERS, _LEFT_OUT]).encode()).hexdigest()


def _root() -> Path:
    """The root file system with Debian's and PyPI's packages, made again when its list or lock has changed."""
    root, note = FOLDER / "root", FOLDER / "root.stamp"
    if note.exists() and note.read_text() == _root_stamp():
        return root
    note.unlink(missing_ok=True)
    first, *more = PACKAGES
    subprocess.run(
        ["nice", "-n", "10", ROOT / "tools" / "debian-program", "--as-they-are", SUITE, first, root, *more],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
    (root / ".done").unlink()  # The folder is changed below: next time it is made from the start.
    _accounts(root)
    certificates = sorted((root / "usr" / "share" / "ca-certificates" / "mozilla").glob("*.crt"))
    (root / "etc" / "ssl" / "certs" / "ca-certificates.crt").write_text("".join(file.read_text() for file in certificates))
    (root / "usr" / "bin" / "awk").symlink_to("mawk")
    _install_python(root)
    note.write_text(_root_stamp())
    return root


def _accounts(root: Path) -> None:
    """The accounts of Debian, and those that the images have."""
    for name, line in (("passwd", "{name}:x:{uid}:{uid}::/tmp:/bin/sh\n"), ("group", "{name}:x:{uid}:\n")):
        master = (root / "usr" / "share" / "base-passwd" / f"{name}.master").read_text()
        (root / "etc" / name).write_text(master + "".join(line.format(name=user, uid=uid) for uid, user in _USERS.items()))


def _install_python(root: Path) -> None:
    """What the lock pins, for the interpreter of the root file system, compiled, so that not each of thirty pods compiles it anew."""
    (interpreter,) = (root / "usr" / "bin").glob("python3.[0-9]*[0-9]")
    version = interpreter.name.removeprefix("python")
    target, scripts = root / "usr" / "local" / "lib" / f"python{version}" / "dist-packages", root / "usr" / "local" / "bin"
    command: list[str | Path] = [
        *(ROOT / ".venv" / "bin" / "uv", "pip", "install", "--quiet", "--target", target, "--python-version", version),
        *(
            "--python-platform",
            "x86_64-unknown-linux-gnu",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--requirement",
            LOCK,
        ),
    ]
    # It looks for an interpreter of its own, to ask it what it is.
    subprocess.run(["nice", "-n", "10", *command, "--python", sys.executable], check=True, timeout=900)
    scripts.mkdir(parents=True, exist_ok=True)
    for script in (target / "bin").iterdir():
        text = script.read_bytes()
        if text.startswith(b"#!"):
            text = b"#!/usr/bin/python3\n" + text.partition(b"\n")[2]
        (scripts / script.name).write_bytes(text)
        (scripts / script.name).chmod(0o755)
    shutil.rmtree(target / "bin")
    # Valid by themselves, whatever an archive makes of the times of files.
    compiled = ["chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(
        ["nice", "-n", "10", *compiled, f"/usr/lib/python{version}", f"/usr/local/lib/python{version}"],
        check=False,  # Some packages carry files of other versions of the language.
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
