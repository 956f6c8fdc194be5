"""The compiled tree has the files that it promises by name, and an overlay is built in less than a second."""

import resource
import subprocess
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from overlays import profiles
from tests.kustomize import kubectl

INVENTORY = Path(__file__).with_name("inventory.txt")
SECONDS = 1.0


def rows() -> list[str]:
    return [line for line in INVENTORY.read_text().splitlines() if line and not line.startswith("#")]


def generated_components(kustomization: dict[str, Any]) -> set[str]:
    """Components whose configuration files a configMapGenerator packs: `synapse` of `config/synapse/...`, or the ConfigMap's own name."""
    generators = kustomization["configMapGenerator"]
    sources = [entry.rpartition("=")[2] for generator in generators for entry in generator["files"]]
    return {PurePosixPath(source).parts[1] for source in sources} | {generator["name"] for generator in generators}


def missing(files: set[str], kustomization: dict[str, Any]) -> list[str]:
    """Rows of the inventory that a tree does not have."""
    packed = generated_components(kustomization)
    absent = [row for row in rows() if row not in files]
    return [row for row in absent if not (row.endswith("configmap.yaml") and PurePosixPath(row).parent.name[3:] in packed)]


@pytest.fixture(scope="module")
def files(dist: Path, full_dist: Path, other_dist: Path) -> set[str]:
    """The bases of sites that have between them what any site can have, and the overlays of the shipped one, which are there in any site."""
    return {str(path.relative_to(root)) for root in (full_dist, other_dist, dist) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def kustomization(full_dist: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((full_dist / "base" / "kustomization.yaml").read_text())
    return content


def test_every_promised_file_exists(files: set[str], kustomization: dict[str, Any]) -> None:
    assert missing(files, kustomization) == []


def test_a_file_that_is_gone_is_missed(files: set[str], kustomization: dict[str, Any]) -> None:
    gone = "base/main-instance/01-synapse/workers/pusher.yaml"
    assert missing(files - {gone}, kustomization) == [gone]


def test_a_config_map_without_generator_is_missed(files: set[str], kustomization: dict[str, Any]) -> None:
    generators = [g for g in kustomization["configMapGenerator"] if not any("config/haproxy/" in entry for entry in g["files"])]
    assert missing(files, kustomization | {"configMapGenerator": generators}) == ["base/main-instance/03-haproxy/configmap.yaml"]


def test_every_file_of_the_base_is_used(full_dist: Path, kustomization: dict[str, Any]) -> None:
    generated = [entry.rpartition("=")[2] for generator in kustomization["configMapGenerator"] for entry in generator["files"]]
    patches = [patch["path"] for patch in kustomization["patches"]]
    used = {"kustomization.yaml", *kustomization["resources"], *generated, *patches}
    assert {str(path.relative_to(full_dist / "base")) for path in (full_dist / "base").rglob("*") if path.is_file()} == used


@pytest.mark.parametrize("profile", [profile.name for profile in profiles()])
def test_an_overlay_is_built_in_less_than_a_second(profile: str, dist: Path) -> None:
    """One of six attempts. On a machine that is busy with other things the time of the processor counts, not that of waiting for it."""
    overlay = dist / "overlays" / profile
    assert any(seconds(overlay) < SECONDS for _ in range(6))


def seconds(overlay: Path) -> float:
    """How long `kubectl kustomize` takes: by the clock, or of the processor if that is less."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([kubectl(), "kustomize", str(overlay)], check=True, capture_output=True, timeout=60)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return min(elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
