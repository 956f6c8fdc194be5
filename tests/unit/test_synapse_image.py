"""The image of Synapse is made of what the live tests have run."""

import re
from pathlib import Path

import pytest

from kit.images import image

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "services" / "synapse" / "Containerfile").read_text()


def entries(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Package name to its version and hashes."""
    blocks = re.findall(r"^([a-z0-9-]+)==(\S+) .*\n((?:    .*\n)+)", lock.read_text(), flags=re.MULTILINE)
    return {name: (version, frozenset(re.findall(r"sha256:[0-9a-f]{64}", rest))) for name, version, rest in blocks}


TESTED = entries(ROOT / "requirements" / "live.lock")
ADDED = entries(ROOT / "services" / "synapse" / "requirements.lock")


@pytest.mark.parametrize("package", sorted(ADDED))
def test_the_image_adds_the_very_files_that_the_live_tests_run(package: str) -> None:
    assert ADDED[package][1]
    assert ADDED[package] == TESTED[package]


def test_the_image_is_of_the_version_of_synapse_that_the_live_tests_run() -> None:
    version = TESTED["matrix-synapse"][0]
    assert f"synapse:v{version}\nFROM ${{BASE}}" in CONTAINERFILE
    assert re.fullmatch(rf"v{re.escape(version)}-\d+", image("synapse").tag)
