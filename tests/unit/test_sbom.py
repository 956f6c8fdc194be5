"""The list of parts of a bundle: valid by CycloneDX' schema, and with every image, chart, wheel and package that there is."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from app.sbom import bill, chart_part, image_part, npm_parts, wheel_parts
from kit.images import image_lock
from tests.kustomize import ROOT

DIGEST = f"sha256:{'0' * 64}"
PACKAGES = (ROOT / "package-lock.json").read_text()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for name, licence in (("Some_Thing", "License-Expression: MIT OR Apache-2.0"), ("other", "License: All\n rights\n " + "x" * 200)):
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n")
    return folder


@pytest.fixture(scope="module")
def document(wheels: Path) -> str:
    images = [image_part(image.reference("registry.example.com:5000/matrix"), DIGEST, image.licence) for image in image_lock().values()]
    charts = [chart_part("cert-manager", "v1.21.1", "https://charts.example.com", "Apache-2.0")]
    return bill([*images, *charts, *wheel_parts(wheels), *npm_parts(PACKAGES)], "matrix-platform", "1.0")


@pytest.fixture(scope="module")
def components(document: str) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in json.loads(document)["components"]}


def test_it_follows_the_schema(document: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(document) is None
    assert validator.validate_str(document.replace('"container"', '"vessel"')) is not None


def test_every_image_is_in_it_by_its_digest_with_its_licence(components: dict[str, dict[str, Any]]) -> None:
    found = [component for component in components.values() if component["type"] == "container"]
    assert {(component["name"], component["version"]) for component in found} == {
        (image.reference("registry.example.com:5000/matrix").rpartition(":")[0], image.tag) for image in image_lock().values()
    }
    assert all(component["licenses"] and component["hashes"][0]["content"] == "0" * 64 for component in found)
    (haproxy,) = [component for component in found if component["name"] == "docker.io/library/haproxy"]
    assert haproxy["purl"].startswith("pkg:oci/haproxy@sha256:000")


def test_every_package_is_in_it_with_what_its_lock_or_its_wheel_says(components: dict[str, dict[str, Any]]) -> None:
    packages = [entry for path, entry in json.loads(PACKAGES)["packages"].items() if path]
    found = {ref: component for ref, component in components.items() if ref.startswith("pkg:npm/")}
    assert {component["version"] for component in found.values()} == {entry["version"] for entry in packages}
    with_files = {entry["version"] for entry in packages if "integrity" in entry}
    assert {component["version"] for component in found.values() if component.get("hashes", [{}])[0].get("alg") == "SHA-512"} == with_files
    assert components["pkg:npm/%40lezer/lr@1.4.10"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert components["pkg:pypi/some-thing@1.0"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    # A whole text is no name of a licence.
    assert "licenses" not in components["pkg:pypi/other@1.0"]
    assert components["cert-manager@v1.21.1"]["externalReferences"][0]["url"] == "https://charts.example.com"


def test_what_the_product_is_made_of_hangs_on_it(document: str) -> None:
    made = json.loads(document)
    whole = made["metadata"]["component"]["bom-ref"]
    (told,) = [entry for entry in made["dependencies"] if entry["ref"] == whole]
    assert set(told["dependsOn"]) == {component["bom-ref"] for component in made["components"]}
