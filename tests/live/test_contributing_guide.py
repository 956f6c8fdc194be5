"""The contributor's guide, followed: the component that it adds step by step is deployed, and each step that is left out is missed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.kustomize import ROOT

GUIDE = ROOT / "docs" / "CONTRIBUTING.md"
STEP = re.compile(r"((?:^ *<!-- (?:new|after|before): [^\n]*-->\n)+) *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"<!-- (new|after|before): ([^:\s]+)(?:: (.*?))? -->")
MISSED = {
    "app/site.py": "has no attribute 'status_page'",
    "constructs/infrastructure/ingress/options.py": "hosts.status has no Secret for its certificate in tls.secret_names",
    "app/platform/main_instance.py": "status-page has a row and is in no tree",
    "tests/manifests/components.py": "status-page has no row in tests/manifests/components.py",
}
"""What is said when all that goes into a file is left out."""


@frozen
class Change:
    """Text that goes into a file: a new one, or behind or before the line that begins so."""

    how: str
    file: str
    line: str
    text: str

    def apply(self, root: Path) -> None:
        path = root / self.file
        if self.how == "new":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        (place,) = (number for number, line in enumerate(lines) if line.startswith(self.line))
        lines.insert(place + (self.how == "after"), self.text)
        path.write_text("".join(lines))


def changes(guide: str) -> Iterator[Change]:
    """What the section of the guide has its reader write."""
    section = guide.partition("## Add a component")[2].partition("\n## ")[0]
    for places, block in STEP.findall(section):
        text = "".join(line[3:] if line.startswith("   ") else line for line in block.splitlines(keepends=True))
        *empty, last = PLACE.findall(places)
        yield from (Change(how, file, "", "") for how, file, _ in empty)
        yield Change(last[0], last[1], last[2], text)


def copy(folder: Path) -> Path:
    """The repository's files, committed or not, and what `make setup` has installed."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("dist/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for installed in (".tools", ".venv", ".venv-live"):
        if (ROOT / installed).exists():
            (folder / installed).symlink_to(ROOT / installed)
    return folder


def run(folder: Path, *command: str) -> str:
    """What a command prints in a copy, whose code goes before the installed one."""
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{folder / 'constructs'}"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    return f"{done.stdout}{done.stderr}\nexit code {done.returncode}"


def rules(folder: Path) -> str:
    """The tests that hold a new component to what it says."""
    tests = ("tests/manifests/test_components.py", "tests/unit/test_house.py", "tests/unit/test_hosts.py")
    return run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", *tests)


@pytest.fixture(scope="module")
def steps() -> tuple[Change, ...]:
    return tuple(changes(GUIDE.read_text()))


@pytest.mark.timeout(900)
def test_a_component_that_is_added_by_the_guide_is_deployed_and_keeps_the_rules(steps: tuple[Change, ...], tmp_path: Path) -> None:
    folder = copy(tmp_path / "copy")
    for step in steps:
        step.apply(folder)
    assert len(steps) > 10
    (folder / "site.yaml").write_text(
        "server_name: example.com\nimages: {registry: registry.example.com}\nfeatures: {status_page: true}\nstatus_page: {text: Call 112.}\n"
    )
    assert run(folder, "app", "synth").endswith("exit code 0")
    base = folder / "dist" / "base"
    assert "status.example.com" in (base / "main-instance" / "10-status-page" / "ingress.yaml").read_text()
    assert (base / "config" / "status-page" / "page.txt").read_text() == "Call 112.\n"
    assert rules(folder).endswith("exit code 0")
    checked = run(folder, "mypy", "app", "constructs", "overlays")
    assert checked.endswith("exit code 0"), checked


@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", MISSED)
def test_a_step_that_is_left_out_is_missed_in_words(file: str, steps: tuple[Change, ...], tmp_path: Path) -> None:
    folder = copy(tmp_path / "copy")
    for step in steps:
        if step.file != file:
            step.apply(folder)
    assert MISSED[file] in rules(folder)
