"""What this repository itself is made with, for where there are no registries: Python's wheels and npm's packages, as their locks pin them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LOCKS = tuple(ROOT / "requirements" / f"{name}.lock" for name in ("dev", "kubectl", "docs"))
"""What `make synth`, `make check`, `make docs` and `make site` install."""
_SECONDS = 1800


class PackagesError(UserError):
    """A registry did not give what a lock pins."""


def fetch_wheels(folder: Path, locks: Sequence[Path] = LOCKS) -> None:
    """Every wheel that the locks pin, for the Python and the machine that this runs on."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    for lock in locks:
        _run([*pip, "--only-binary", ":all:", "--dest", str(folder), "--requirement", str(lock)], ROOT)


def fetch_npm(folder: Path) -> None:
    """Every package of package-lock.json, as the cache that `npm ci --offline` reads."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(ROOT / name, place)
        _run(["npm", "ci", "--silent", "--ignore-scripts", "--logs-max=0", "--cache", str(folder)], Path(place))


def _run(command: Sequence[str], folder: Path) -> None:
    # npm comes with the locked environment.
    path = f"{Path(sys.prefix) / 'node' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    program = shutil.which(command[0], path=path) or command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError:
        raise PackagesError(f"there is no {command[0]}: run make setup, and this command by .venv/bin/python") from None
    if done.returncode:
        raise PackagesError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
