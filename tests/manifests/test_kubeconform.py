"""kubeconform, which others wrote, finds each object right by the schemas of Kubernetes and by the definitions of the operators."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules.objects import Objects
from tests.manifests.rules.schemas import BUILT_IN, VERSION, Definitions, group, strict

KUBECONFORM = ROOT / ".tools" / "kubeconform" / "kubeconform"
KUBERNETES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{VERSION}-local-strict"
# Profiles differ in numbers alone: the largest one, and the two sites that have between them what any site can have.
TREES = (profiles()[-1].name, "full site", "other site")

pytestmark = pytest.mark.skipif(not os.access(KUBECONFORM, os.X_OK), reason="needs kubeconform: make kubeconform")


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name the schemas: all of them are here, none comes from a server."""
    folder: Path = tmp_path_factory.mktemp("schemas")
    for file in KUBERNETES.glob("*.json"):
        # Made for a reader that knows what `/api` is; and what a dialect means, kubeconform would look up in the internet.
        text = file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#')
        (folder / file.name).write_text(re.sub(r'^  "\$schema": "[^"]*",?\n', "", text, flags=re.MULTILINE))
    for (version, kind), schema in Definitions.at_hand().schemas.items():
        file = folder / group(version) / f"{kind.lower()}_{version.rpartition('/')[2]}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(strict(schema, resource=True)))
    places = ("{{.ResourceKind}}{{.KindSuffix}}.json", "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json")
    return [option for place in places for option in ("-schema-location", f"{folder}/{place}")]


def findings(objects: Objects, schemas: list[str], folder: Path) -> tuple[dict[str, int], list[str]]:
    """How many objects are valid, invalid, erroneous or skipped, and what is wrong with which."""
    file = folder / "objects.yaml"
    file.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    command = [str(KUBECONFORM), "-strict", "-summary", "-output", "json", *schemas, str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert run.returncode in (0, 1), run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report["summary"], [f"{found['kind']} {found['name']}: {found['msg']}" for found in report["resources"]]


@pytest.mark.parametrize("name", TREES)
def test_kubeconform_finds_every_object_right(name: str, trees: dict[str, Objects], schemas: list[str], tmp_path: Path) -> None:
    summary, problems = findings(trees[name], schemas, tmp_path)
    assert problems == []
    assert summary == {"valid": len(trees[name]), "invalid": 0, "errors": 0, "skipped": 0}


def test_kubeconform_notices_a_field_that_there_is_not(everything: Objects, schemas: list[str], tmp_path: Path) -> None:
    built_in = next(o for o in everything if o["kind"] == "Deployment")
    custom = next(o for o in everything if group(o["apiVersion"]) not in BUILT_IN)
    for o in (built_in, custom):
        assert findings([{**o, "spec": {**o["spec"], "imaginary": 1}}], schemas, tmp_path)[0]["invalid"] == 1, o["kind"]
