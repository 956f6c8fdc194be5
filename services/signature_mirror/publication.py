"""What is served: databases that are whole, their list, and one signature of our own that says which list a clamd has loaded.

That signature matches the probe of the scan worker (services/scan_worker/clamd.py) and nothing else. It is published after the databases,
and freshclam fetches it after them: so a clamd that knows it has all that the list names.
"""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

PROBE = b"matrix-platform signature probe 5f0c3b1e9a7d4c62\n"
"""The same bytes as in services/scan_worker/clamd.py."""
PROBE_FILE, LIST_FILE = "platform.hsb", "databases.json"

_CVD = (".cvd", ".cld")
_PLAIN = (
    ".cdb", ".cbc", ".crb", ".fp", ".ftm", ".gdb", ".hdb", ".hdu", ".hsb", ".hsu", ".idb", ".ign", ".ign2", ".ldb", ".ldu", ".mdb", ".mdu",
    ".msb", ".msu", ".ndb", ".ndu", ".pdb", ".sfp", ".wdb", ".yar", ".yara",
)  # fmt: skip
_SIGN = ".sign"
"""Signatures of databases, which ClamAV 1.5 asks for beside them."""
_HEADER_BYTES = 512


class UnusableError(Exception):
    """What is to be published cannot be used. Its text says which file and why."""


@frozen
class Database:
    """A file of signatures. `published`: when it was made, in seconds since 1970; 0 if it does not say."""

    path: Path
    sha256: str
    published: int


@frozen
class Publication:
    """All databases by name."""

    databases: Mapping[str, Database]

    @property
    def digest(self) -> str:
        """A name for exactly these databases."""
        names = sorted((name, one.sha256) for name, one in self.databases.items() if not name.endswith(_SIGN))
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]

    @property
    def published(self) -> int:
        """When the newest was made; 0 if none says."""
        return max((one.published for one in self.databases.values()), default=0)

    def probe(self) -> str:
        """The signature of our own, in the format of .hsb: hash, size, name."""
        name = f"MatrixPlatform.Signatures.{self.published}.{self.digest}"
        return f"{hashlib.sha256(PROBE).hexdigest()}:{len(PROBE)}:{name}:73\n"

    def listing(self) -> str:
        """The list as it is served."""
        rows = {name: {"sha256": one.sha256, "bytes": one.path.stat().st_size} for name, one in sorted(self.databases.items())}
        return json.dumps({"digest": self.digest, "published": self.published, "databases": rows}, indent=1) + "\n"


def collect(*folders: Path) -> Publication:
    """The databases in folders; of two with one name that of the later folder. Raises UnusableError, OSError."""
    found = {path.name: path for folder in folders for path in sorted(folder.iterdir()) if _is_database(path)}
    databases = {name: _database(path) for name, path in found.items()}
    if not any(not name.endswith(_SIGN) for name in databases):
        raise UnusableError(
            f"there are no databases in {', '.join(map(str, folders))}: give files such as main.cvd, daily.cvd, bytecode.cvd"
        )
    return Publication(databases)


def _is_database(path: Path) -> bool:
    # ConfigMaps and Secrets are mounted with folders whose names begin with two dots.
    return path.is_file() and not path.name.startswith(".") and path.name != PROBE_FILE and path.suffix in (*_CVD, *_PLAIN, _SIGN)


def _database(path: Path) -> Database:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Database(path, sha256, _cvd_time(path) if path.suffix in _CVD else 0)


def _cvd_time(path: Path) -> int:
    """When a .cvd or .cld was made. Raises UnusableError if it is not whole.

    Its header is ClamAV-VDB:time:version:signatures:level:MD5 of what follows:signature:builder:seconds since 1970 (libclamav/cvd.c). Whether
    ClamAV has signed it, freshclam and clamd check.
    """
    with path.open("rb") as file:
        fields = file.read(_HEADER_BYTES).decode("latin-1").strip().split(":")
        rest = hashlib.file_digest(file, "md5").hexdigest()
    if fields[0] != "ClamAV-VDB" or len(fields) < 8:
        raise UnusableError(f"{path} is no database of ClamAV: its header is not one")
    if path.suffix == ".cvd" and rest != fields[5]:
        raise UnusableError(f"{path} is not whole: its MD5 is not the one in its header")
    return int(fields[8]) if len(fields) > 8 and fields[8].isdigit() else 0


def publish(publication: Publication, public: Path, settle_seconds: float, say: Callable[[str], None]) -> bool:
    """Put the databases where they are served. False if they were there. Raises OSError.

    Each file is replaced at once. The list and our own signature follow after `settle_seconds`: longer than one run of freshclam takes, so
    that none has fetched old databases before them.
    """
    public.mkdir(parents=True, exist_ok=True)
    for left in public.glob(".*.new"):
        left.unlink()
    if _read(public / PROBE_FILE) == publication.probe() and _read(public / LIST_FILE) == publication.listing():
        return False
    for name, one in publication.databases.items():
        if not _same(public / name, one):
            with one.path.open("rb") as source:
                _replace(public / name, source)
            say(f"published {name}")
    for path in _published(public):
        if path.name not in publication.databases:
            path.unlink()
            say(f"withdrew {path.name}")
    time.sleep(settle_seconds)
    _replace(public / PROBE_FILE, io.BytesIO(publication.probe().encode()))
    _replace(public / LIST_FILE, io.BytesIO(publication.listing().encode()))
    say(f"the signatures are {publication.digest}, made {publication.published}")
    return True


def _published(public: Path) -> Iterator[Path]:
    yield from (path for path in sorted(public.iterdir()) if path.name not in (PROBE_FILE, LIST_FILE))


def _same(path: Path, database: Database) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == database.sha256


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _replace(path: Path, source: BinaryIO) -> None:
    """Write a file so that a reader sees all of the old one or all of the new one, after a power failure too."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
