"""Other versions of Synapse than the live environment's, in folders of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kustomize import ROOT


def installed_synapse(version: str) -> Path:
    """A folder with this version of Synapse, for the front of Python's path. Skips the test where it cannot be had."""
    folder, lock = ROOT / ".tools" / f"synapse-{version}", ROOT / "tests" / "live" / f"synapse-{version}.lock"
    if not (folder / "synapse").exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        run = subprocess.run(
            [*install, "--only-binary", ":all:", "--target", folder, "-r", lock], capture_output=True, text=True, timeout=300, check=False
        )
        if run.returncode:
            pytest.skip(f"Synapse {version} cannot be installed: {run.stderr.strip()[-200:]}")
    return folder
