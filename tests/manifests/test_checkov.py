"""checkov, which knows nothing of this platform, finds nothing in what is rendered but what .checkov.yaml leaves out for a reason."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules.objects import Objects

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
CONFIG = ROOT / ".checkov.yaml"
# Profiles differ in numbers alone: the largest one, and the two sites that have between them what any site can have.
TREES = (profiles()[-1].name, "full site", "other site")

pytestmark = pytest.mark.skipif(not CHECKOV.exists() and not os.environ.get("CI"), reason="needs checkov: make .venv-checkov/.done")

PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "intruder", "namespace": "default"},
    "spec": {"hostNetwork": True, "containers": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}]},
}


@pytest.fixture(scope="module")
def failures(trees: dict[str, Objects], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What all of checkov's checks of Kubernetes objects find, beside an object that they must find something in."""
    folder = tmp_path_factory.mktemp("checkov")
    for name in TREES:
        (folder / f"{name.replace(' ', '-')}.yaml").write_text(yaml.dump_all(trees[name], Dumper=yaml.CSafeDumper))
    (folder / "intruder.yaml").write_text(yaml.safe_dump(PRIVILEGED))
    config = yaml.safe_load(CONFIG.read_text())
    everything = folder.parent / "everything.yaml"
    everything.write_text(yaml.safe_dump({key: value for key, value in config.items() if key != "skip-check"}))
    report = checkov(folder, everything)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] > sum(len(trees[name]) for name in TREES) / 2
    found: list[dict[str, Any]] = report["results"]["failed_checks"]
    return found


def checkov(folder: Path, config: Path) -> dict[str, Any]:
    """The report on the objects in a folder."""
    command = [str(CHECKOV), "--config-file", str(config), "--directory", str(folder), "--output", "json"]
    # Elsewhere than in the repository, whose .checkov.yaml is read by itself.
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    assert run.returncode in (0, 1), run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def left_out() -> dict[str, tuple[str, ...] | None]:
    """Check to the objects in which alone it finds something; None: in many."""
    entries = re.findall(r"^((?:  # .*\n)+)  - (\w+)$", CONFIG.read_text(), re.MULTILINE)
    found = {check: re.findall(r"[\w.-]+", reason.partition("Only:")[2]) for reason, check in entries}
    return {check: tuple(objects) or None for check, objects in found.items()}


def is_left_out(failure: dict[str, Any]) -> bool:
    objects = left_out().get(failure["check_id"], ())
    # The name of a Job ends in a digest.
    return objects is None or failure["resource"].startswith(objects)


def test_checkov_finds_only_what_is_left_out_for_a_reason(failures: list[dict[str, Any]]) -> None:
    found = [f"{f['file_path']}: {f['resource']}: {f['check_id']} {f['check_name']}" for f in failures if not is_left_out(f)]
    assert [line for line in found if not line.startswith("/intruder")] == []
    assert any("CKV_K8S_16" in line for line in found), "a privileged container was not noticed"
    assert any("CKV_K8S_19" in line for line in found), "a pod that may not be in the network of its node was not noticed"


def test_no_check_is_left_out_that_finds_nothing(failures: list[dict[str, Any]]) -> None:
    found = {(failure["check_id"], failure["resource"]) for failure in failures if failure["file_path"] != "/intruder.yaml"}
    for check, objects in left_out().items():
        for o in objects or ("",):
            assert any(checked == check and resource.startswith(o) for checked, resource in found), f"{check} {o}"


def test_every_check_that_is_left_out_has_its_reason() -> None:
    assert list(left_out()) == yaml.safe_load(CONFIG.read_text())["skip-check"]


def test_checkov_reads_the_list_of_what_is_left_out(tmp_path: Path) -> None:
    pod = {"containers": [{"name": "a", "image": "b:1"}]}
    labels = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"selector": labels, "template": template},
    }
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    found = {failure["check_id"] for failure in checkov(tmp_path, CONFIG)["results"]["failed_checks"]}
    assert found
    assert not found & set(left_out())
