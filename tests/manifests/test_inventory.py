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
YARDSTICK_SECONDS = 0.19
"""What the yardstick takes on two idle cores, on which the largest overlay takes 0.9 s."""


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


@pytest.fixture(scope="module")
def yardstick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kustomization of nothing special, by which a machine is compared with the one that its time is known of."""
    folder = tmp_path_factory.mktemp("yardstick")
    objects = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"map-{n}"}, "data": {"key": "value"}} for n in range(400)]
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"namePrefix": "own-", "resources": ["objects.yaml"]}))
    return folder


@pytest.mark.parametrize("profile", [profile.name for profile in profiles()])
def test_an_overlay_is_built_in_less_than_a_second(profile: str, dist: Path, yardstick: Path) -> None:
    """One of six attempts. A machine that is slower, or busy with other things, has as much more time as it needs more for the yardstick."""
    overlay = dist / "overlays" / profile

    def slower() -> float:
        return max(1.0, min(seconds(yardstick) for _ in range(2)) / YARDSTICK_SECONDS)

    assert any(seconds(overlay) < SECONDS * slower() for _ in range(6))


def seconds(overlay: Path) -> float:
    """How long `kubectl kustomize` takes: by the clock, or of the processor if that is less."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([kubectl(), "kustomize", str(overlay)], check=True, capture_output=True, timeout=60)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return min(elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
