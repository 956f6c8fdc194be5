"""From the last release to this one with that release's site.yaml: what `diff` says, what CHANGELOG.md says of it, what a real API server does."""

import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from app.cli import main
from app.compiler import compile_site
from app.releases import Section, sections
from app.settings import read_site
from kit.images import Image, image_lock
from overlays import profiles
from tests.definitions import definition
from tests.kustomize import ROOT, build, write
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.test_control_plane import BUILT_IN, NODE

# A clone may lack the history, which CI need not have.
pytestmark = [pytest.mark.optional, pytest.mark.timeout(300)]
PROFILE = "1000-ccu"
KEEP_DATA = {"Namespace", "PersistentVolumeClaim", "StatefulSet", "Cluster", "Tenant", "Secret"}


def unsaid(section: Section, told: Iterable[Mapping[str, Any]]) -> list[str]:
    """What somebody who applies a release has to know and its section does not say. `told`: the changes of `diff --json`."""
    found, replaced = [], set()
    for change in told:
        kind, name = change["kind"], change["name"]
        if change["action"] == "gone" and kind in KEEP_DATA:
            found.append(f"{kind} {name} holds data, and is no longer declared")
        elif change["action"] == "gone" and f"`{name}`" not in section.text:
            found.append(f"{kind} {name} is no longer declared")
        if change["refused"] and not any(kind.lower() in words and name in words for words in map(str.split, section.commands)):
            found.append(f"{kind} {name} is refused, and no command does away with what is in the way")
        if "replaced" in change["effect"]:
            replaced.add(change["component"])
    return [*found, *(f"{name}: its pods are replaced" for name in sorted(replaced - section.replaced))]


@frozen
class Release:
    """A repository whose commit `last` has the last release with its site.yaml, and whose folder has what this one makes of that."""

    folder: Path

    @property
    def before(self) -> Path:
        """The overlay of the last release."""
        return self.folder / "last" / "overlays" / PROFILE

    @property
    def after(self) -> Path:
        """This one's."""
        return self.folder / "dist" / "overlays" / PROFILE

    def diff(self, *arguments: str) -> Result:
        """The command, as the guide has it."""
        return self._run("diff", *arguments)

    def plan(self, *arguments: str) -> Result:
        """The same of `plan`."""
        return self._run("plan", *arguments)

    def _run(self, command: str, *arguments: str) -> Result:
        place = ("--site", str(self.folder / "site.yaml"), "--dist", str(self.folder / "dist"))
        return CliRunner().invoke(main, [command, PROFILE, *arguments, *place])


def git(folder: Path, *arguments: str) -> bytes:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True).stdout


def last_revision() -> str:
    """The tag of the last release, or the commit that CHANGELOG.md names where it has none."""
    _, last, *_ = sections()
    named = re.search(r"commit `([0-9a-f]{12,40})`", last.text)
    for revision in (f"v{last.version}", *([named[1]] if named else [])):
        if (
            subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{revision}^{{commit}}"], check=False, capture_output=True).returncode
            == 0
        ):
            return revision
    pytest.skip(f"needs the history of Git as far as release {last.version}: git fetch --tags --unshallow")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    packed = git(ROOT, "archive", "--format=tar", last_revision(), "--", "dist", "site.yaml", "pyproject.toml")
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "last")
    git(folder, "tag", "last")
    (folder / "dist").rename(folder / "last")
    # Its site.yaml as it was: that this is understood is the first of what a release promises.
    files = compile_site(read_site(folder / "site.yaml"), [profile for profile in profiles() if profile.name == PROFILE])
    write(folder / "dist", files)
    return Release(folder)


@pytest.fixture(scope="module")
def told(release: Release) -> list[dict[str, Any]]:
    said = release.diff("--since", "last", "--json")
    assert said.exit_code == 1, said.output
    changes: list[dict[str, Any]] = json.loads(said.stdout)["changes"]
    return changes


def test_the_newest_section_is_that_of_this_version() -> None:
    assert sections()[0].version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_says_what_goes_what_is_refused_and_whose_pods_are_replaced(told: list[dict[str, Any]]) -> None:
    assert len(told) > 100
    newest = sections()[0]
    assert unsaid(newest, told) == []
    assert newest.replaced == {change["component"] for change in told if "replaced" in change["effect"]}


def test_plan_has_every_change_once_and_before_them_what_the_changelog_says(release: Release, told: list[dict[str, Any]]) -> None:
    said = release.plan("--since", "last", "--json")
    assert said.exit_code == (1 if any(change["refused"] for change in told) else 0), said.output
    found = json.loads(said.stdout)
    placed = [change for step in found["steps"] for group in step["groups"] for change in group["changes"]]
    keys = [
        [(c["kind"], c["namespace"], c["name"], c["effect"]) for c in part] for part in ([*placed, *found["refused"], *found["left"]], told)
    ]
    assert sorted(keys[0]) == sorted(keys[1])
    newest, commands = sections()[0], [command for task in found["before"] for command in task["commands"]]
    assert commands[: len(newest.commands)] == newest.commands
    built = {command.split()[3].rpartition("/")[2].partition(":")[0] for command in commands if command.startswith("podman")}
    assert built <= newest.built


def contents(image: Image) -> list[str]:
    """What an image is made of, by paths of Git."""
    containerfile = ROOT / image.containerfile
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", containerfile.read_text(), flags=re.MULTILINE)
    return [image.containerfile, *(f"services/{source}" for line in copied for source in line.split())]


def test_an_image_that_is_made_here_of_something_else_has_another_tag_and_the_changelog_says_that_it_is_to_be_built() -> None:
    revision = last_revision()
    before = tomllib.loads(git(ROOT, "show", f"{revision}:images.toml").decode())
    ours = [image for image in image_lock().values() if image.built]
    raised = {image.name for image in ours if image.tag != before.get(image.name, {}).get("tag")}
    other = {image.name for image in ours if git(ROOT, "diff", "--name-only", revision, "--", *contents(image))}
    assert other - raised == set(), "what diff names with the tag of before is not built again: raise it in images.toml"
    assert sections()[0].built == raised


def test_what_it_does_not_say_is_named(told: list[dict[str, Any]]) -> None:
    gone = [
        {**change, "action": "gone", "effect": "pods end", "refused": None} for change in told if change["name"] in ("redis", "haproxy")
    ]
    said = unsaid(Section("9.9.9", ""), [*told, *gone])
    for words in ("StatefulSet redis holds data", "Deployment haproxy is no longer", "StatefulSet loki is refused", "synapse: its pods"):
        assert any(line.startswith(words) for line in said), words


@pytest.fixture(scope="module")
def plane(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane on which the last release has been applied."""
    folder = tmp_path_factory.mktemp("control-plane")
    with control_plane(folder) as found:
        kinds = {(o["apiVersion"], o["kind"]) for overlay in (release.before, release.after) for o in build(overlay)}
        custom = [definition(*kind) for kind in sorted(kinds) if kind[0] not in BUILT_IN]
        found.apply([*custom, NODE], folder)
        found.wait_for_definitions()
        found.kubectl("apply", "--server-side", "--kustomize", release.before)
        yield found


def test_a_real_api_server_refuses_what_diff_says_and_takes_the_rest_after_the_commands_of_the_changelog(
    plane: ControlPlane, release: Release, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    refused = {change["name"] for change in told if change["refused"]}
    with pytest.raises(AssertionError) as said:
        plane.kubectl("apply", "--server-side", "--kustomize", release.after)
    assert set(re.findall(r'StatefulSet(?:\.apps)? "([^"]+)" is invalid', str(said.value))) == refused
    for command in sections()[0].commands:
        plane.kubectl(*command.split()[1:])
    plane.kubectl("apply", "--server-side", "--kustomize", release.after)
    ended = release.diff("--cluster")
    left = {line.split()[2] for line in ended.output.splitlines() if line.startswith("GONE")}
    assert (ended.exit_code, left) == (0, set()), ended.output
