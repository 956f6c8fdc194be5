"""Renovate sees every version that a person would otherwise have to remember: its own patterns, on the files that they are for."""

import json
import re
import tomllib
from collections.abc import Iterator

from infrastructure.operators import OPERATORS
from kit.images import image_lock
from tests.kustomize import ROOT

CONFIG = json.loads((ROOT / "renovate.json").read_text())
DIGEST = "sha256:" + "0123456789abcdef" * 4


def seen(path: str, text: str | None = None) -> Iterator[dict[str, str | None]]:
    """The named groups of every match in a file, or in another text in its place."""
    for manager in CONFIG["customManagers"]:
        if path in manager["managerFilePatterns"]:
            for pattern in manager["matchStrings"]:
                # JavaScript writes the name of a group without the P.
                for match in re.finditer(pattern.replace("(?<", "(?P<"), text or (ROOT / path).read_text()):
                    yield match.groupdict()


def test_every_image_of_other_people_is_seen() -> None:
    wanted = {(image.repository, image.tag, image.digest) for image in image_lock().values() if not image.built}
    found = [(match["depName"], match["currentValue"], match["currentDigest"]) for match in seen("images.toml")]
    assert len(found) == len(wanted) > 3
    assert set(found) == wanted


def test_an_image_that_has_got_a_digest_is_seen_and_read() -> None:
    (manager,) = [manager for manager in CONFIG["customManagers"] if manager["datasourceTemplate"] == "docker"]
    text = manager["autoReplaceStringTemplate"]
    for name, value in (("depName", "docker.io/a/b"), ("newValue", "1.2"), ("newDigest", DIGEST), ("#if newDigest", ""), ("/if", "")):
        text = text.replace(f"{{{{{name}}}}}", value)
    assert tomllib.loads(text) == {"repository": "docker.io/a/b", "tag": "1.2", "digest": DIGEST}
    assert list(seen("images.toml", text)) == [{"depName": "docker.io/a/b", "currentValue": "1.2", "currentDigest": DIGEST}]


def test_every_operator_is_seen() -> None:
    found = {
        (match.get("registryUrl"), match["depName"], match["currentValue"]) for match in seen("constructs/infrastructure/operators.py")
    }
    charts = {(operator.chart.repository, operator.chart.name, operator.chart.version) for operator in OPERATORS if operator.chart}
    manifests = {
        (None, re.sub(r"https://github.com/([^/]+/[^/]+)/.*", r"\1", operator.manifest), f"v{operator.version}")
        for operator in OPERATORS
        if operator.manifest
    }
    assert found == charts | manifests
    assert len(found) == len(OPERATORS)


def test_every_definition_of_a_custom_resource_is_seen() -> None:
    lines = [line for line in (ROOT / "cdk8s.yaml").read_text().splitlines() if ":=https:" in line]
    found = list(seen("cdk8s.yaml"))
    assert len(found) == len(lines) > 5
    assert all(f"/{match['depName']}/{match['currentValue']}/" in line for match, line in zip(found, lines, strict=True))


def test_the_content_scanner_is_seen() -> None:
    assert [match["currentValue"] for match in seen("services/content_scanner/build")] == ["1.4.1"]
    assert image_lock()["content-scanner"].tag.startswith("v1.4.1-")


def test_the_state_compressor_is_seen() -> None:
    assert [match["currentValue"] for match in seen("services/state_compressor/build")] == ["0.1.4"]
    assert image_lock()["state-compressor"].tag.startswith("v0.1.4-")


def test_a_minio_that_is_newer_compares_as_newer() -> None:
    (rule,) = [rule for rule in CONFIG["packageRules"] if "versioning" in rule]
    pattern = rule["versioning"].removeprefix("regex:").replace("(?<", "(?P<")
    minio = image_lock()["minio"]
    assert rule["matchDepNames"] == [minio.repository]
    later = (minio.tag.replace("T00", "T01"), "RELEASE.2099-11-02T00-00-00Z")
    numbers = [re.fullmatch(pattern, tag) for tag in (minio.tag, *later)]
    order = [tuple(map(int, match.groups())) for match in numbers if match]
    assert len(order) == 3
    assert order == sorted(order)
