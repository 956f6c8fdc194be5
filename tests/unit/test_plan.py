"""`plan --since`: what it says of another version is the difference of two trees that were rendered and committed."""

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from app.commands.versions import changelog_tasks
from app.compiler import compile_site
from app.dist import write_tree
from app.gitops.operators import installed, operator_files, wanted
from app.releases import sections
from app.settings import parse_site
from infrastructure.operators import CERT_MANAGER, CLOUDNATIVE_PG, OPERATORS, Chart
from kit import images
from kit.images import image_lock
from overlays import profiles
from tests.kustomize import ROOT, build, kubectl
from tests.unit.test_commands import git, run
from tests.unit.test_tasks import assert_there

PROFILE = "100-ccu"
SITE = "server_name: example.com\nimages: {registry: registry.example.com/matrix, mirror: registry.example.com/mirror}\n"
RUN_PODS = {"StatefulSet", "Deployment", "DaemonSet", "Cluster", "Tenant"}
OLD = {
    "synapse": "v1.150.0-1",
    "postgresql": "18.3-standard-trixie",
    "minio": "RELEASE.2026-08-01T00-00-00Z",
    "element-web": "v1.12.0",
}
"""The tags of before, of images that the site has."""


@frozen
class Upgraded:
    """A repository, and dist/ of its tag v0.1.0.

    Tags: `bare` has no dist/, `v0.1.0` an earlier release with other images and operators, for one profile, `v16` another PostgreSQL, `now` what
    dist/ is.
    """

    folder: Path
    applied: Path

    @property
    def dist(self) -> Path:
        """What is to be applied."""
        return self.folder / "dist"


def compiled(lock: Path, site: str, tags: dict[str, str], count: int) -> dict[str, str]:
    """What a site compiles to with images of other tags, for some profiles."""
    text = (ROOT / "images.toml").read_text()
    for name, tag in tags.items():
        present = f'tag = "{image_lock()[name].tag}"'
        assert text.count(present) == 1, name
        text = text.replace(present, f'tag = "{tag}"')
    lock.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "LOCK_FILE", lock)
        image_lock.cache_clear()
        try:
            return dict(compile_site(parse_site(site), profiles()[:count]))
        finally:
            image_lock.cache_clear()


def older_operators() -> dict[str, str]:
    """dist/operators/ with another chart of CloudNativePG, other settings of cert-manager, and one that is no longer there."""
    older = {
        CLOUDNATIVE_PG.name: evolve(CLOUDNATIVE_PG, chart=Chart("https://cloudnative-pg.github.io/charts", "cloudnative-pg", "0.28.0")),
        CERT_MANAGER.name: evolve(CERT_MANAGER, settings=("crds.enabled=true", "replicaCount=2")),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.gitops.operators.OPERATORS", [older.get(one.name, one) for one in OPERATORS])
        files = dict(operator_files(parse_site(SITE)))
    gone = "helm upgrade --install gone gone --repo https://example.com --version 1.0.0 --namespace gone --create-namespace --wait\n"
    return {**files, "install.sh": files["install.sh"] + gone}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    top = tmp_path_factory.mktemp("upgraded")
    folder, project = top / "repository", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder.mkdir()
    git(folder, "init", "--quiet")

    def commit(tag: str, version: str) -> None:
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{project["name"]}"\nversion = "{version}"\n')
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", tag)
        git(folder, "tag", tag)

    (folder / "site.yaml").write_text(SITE)
    commit("bare", "0.0.1")
    old = compiled(top / "images.toml", SITE + "element: {brand: Earlier}\n", OLD, 1)
    old |= {f"operators/{path}": text for path, text in older_operators().items()}
    write_tree(folder / "dist", old)
    shutil.copytree(folder / "dist", top / "applied")
    commit("v0.1.0", "0.1.0")
    now = compiled(top / "images.toml", SITE, {}, 2)
    write_tree(folder / "dist", {path: text.replace("postgresql:18.4-", "postgresql:16.9-") for path, text in now.items()})
    commit("v16", project["version"])
    write_tree(folder / "dist", now)
    commit("now", project["version"])
    return Upgraded(folder, top / "applied")


@pytest.fixture(scope="module")
def here(upgraded: Upgraded) -> Iterator[Upgraded]:
    """With that repository for the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(upgraded.folder)
        patch.setenv("PATH", f"{Path(kubectl()).parent}{os.pathsep}{os.environ['PATH']}")
        yield upgraded


@pytest.fixture(scope="module")
def told(here: Upgraded) -> dict[str, Any]:
    """What is said of the way from v0.1.0."""
    result = run("plan", PROFILE, "--since", "v0.1.0", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert here.dist.is_dir()
    return found


def placed(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [change for step in told["steps"] for group in step["groups"] for change in group["changes"]]


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}


def runs(o: dict[str, Any]) -> Any:
    """What its pods are made of."""
    return o["spec"].get("template") or o["spec"].get("imageName") or o["spec"]["image"]


def test_pods_that_it_says_are_replaced_are_those_whose_templates_differ_in_the_two_trees(here: Upgraded, told: dict[str, Any]) -> None:
    before, after = (by_name(build(dist / "overlays" / PROFILE)) for dist in (here.applied, here.dist))
    differ = {key for key in before.keys() & after.keys() if key[0] in RUN_PODS and runs(before[key]) != runs(after[key])}
    said = {(c["kind"], c["namespace"], c["name"]) for c in placed(told) if "replaced" in c["effect"]}
    assert said == differ
    assert {("StatefulSet", "matrix", "synchrotron"), ("Cluster", "matrix", "postgresql-main"), ("Tenant", "matrix", "minio-main")} < said
    assert ("StatefulSet", "matrix", "redis") not in said


def test_its_steps_are_in_the_order_of_the_waves_and_have_what_diff_says_and_nothing_else(told: dict[str, Any]) -> None:
    changes = json.loads(run("diff", PROFILE, "--since", "v0.1.0", "--json").stdout)["changes"]
    known = {(c["kind"], c["namespace"], c["name"]): (c["action"], c["effect"], c["wave"]) for c in changes}
    assert {(c["kind"], c["namespace"], c["name"]): (c["action"], c["effect"], c["wave"]) for c in [*placed(told), *told["left"]]} == known
    waves = [step["wave"] for step in told["steps"]]
    assert waves == sorted(set(waves))
    assert all(change["wave"] == step["wave"] for step in told["steps"] for group in step["groups"] for change in group["changes"])


def test_what_works_with_none_of_another_release_stops_together_with_the_command_that_stops_it(told: dict[str, Any]) -> None:
    groups = [group for step in told["steps"] for group in step["groups"]]
    assert {group["component"]: group["command"] for group in groups if group["together"]} == {
        "minio-main": "kubectl -n matrix delete pods -l v1.min.io/tenant=minio-main"
    }
    notices = {group["component"]: group["notice"] for group in groups if group["notice"]}
    assert notices["minio-main"] == "media and archiving pause for a minute"
    assert "until main has brought the tables to its version" in notices["synapse"]
    assert "the primary hands over to a standby" in notices["postgresql-main"]


def test_before_it_come_the_changelog_images_operators_and_a_backup(here: Upgraded, told: dict[str, Any]) -> None:
    before = {task["what"].split(" (")[0]: task for task in told["before"]}
    newest = sections()[0]
    assert list(before) == [
        f"read {newest.version} in CHANGELOG.md; as far as your site has what they name, it says to run",
        "build these images and push them",
        next(what for what in before if what.startswith("bring these images into your registry: ")),
        "operator cert-manager: it is told something else",
        next(
            what
            for what in before
            if what.startswith("operator cloudnative-pg: 0.28.0 becomes 0.29.0; people notice: the pods of every database")
        ),
        "take a backup by hand",
        next(what for what in before if what.startswith("Synapse v1.150.0 becomes v1.163.2: ")),
        "postgresql-main: PostgreSQL 18.3-standard-trixie becomes 18.4-standard-trixie",
    ]
    first, build_images, bring, *_ = before.values()
    assert first["commands"] == newest.commands
    assert [command.split()[3] for command in build_images["commands"]] == [
        image_lock()["synapse"].reference("registry.example.com/matrix")
    ]
    theirs = {image_lock()[name].reference("", "registry.example.com/mirror") for name in OLD if name != "synapse"}
    assert set(bring["what"].partition(": ")[2].split(", ")) == theirs
    lines = [set((dist / "operators/install.sh").read_text().splitlines()) for dist in (here.dist, here.applied)]
    (chart,) = lines[0] - lines[1]
    commands = [command for task in told["before"] if task["what"].startswith("operator") for command in task["commands"]]
    assert commands[1] == f"(cd dist/operators && {chart})"


def test_what_it_says_to_take_away_is_what_the_new_tree_has_no_more(here: Upgraded, told: dict[str, Any]) -> None:
    before, after = (by_name(build(dist / "overlays" / PROFILE)) for dist in (here.applied, here.dist))
    gone = {(namespace, f"{kind.lower()}/{name}") for kind, namespace, name in before.keys() - after.keys()}
    words = [command.split() for task in told["after"] for command in task["commands"]]
    assert {(command[3], name) for command in words for name in command[4:]} == gone
    assert {name.partition("/")[0] for _, name in gone} == {"configmap", "job"}
    assert all(command[:3] == ["kubectl", "delete", "-n"] for command in words)
    assert any(task["what"] == "operator gone: it is no longer installed from here, and stays" for task in told["after"])


def test_every_page_that_it_names_is_there(told: dict[str, Any]) -> None:
    pages = {task["page"] for task in (*told["before"], *told["after"]) if task["page"]}
    assert len(pages) >= 5
    for page in pages:
        assert_there(page)


@pytest.mark.usefixtures("here")
def test_to_a_person_it_says_so_in_the_order_in_which_it_is_done() -> None:
    result = run("plan", PROFILE, "--since", "v0.1.0")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"From {PROFILE} of v0.1.0 to {PROFILE} of dist: ")
    starts = (
        "Before:",
        "   operator cloudnative-pg:",
        f"Apply dist/overlays/{PROFILE};",
        "1. ",
        "2. ",
        "3. ",
        "After:",
        "   operator gone:",
    )
    found = [next(number for number, line in enumerate(lines) if line.startswith(start)) for start in starts]
    assert found == sorted(found)
    assert "   minio-main: pods stop all together, and are replaced: minio-main" in lines


@pytest.mark.usefixtures("here")
def test_where_nothing_has_changed_there_is_nothing_to_do() -> None:
    result = run("plan", PROFILE, "--since", "now", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["steps"], found["before"], found["after"], found["left"]) == (0, [], [], [], [])


@pytest.mark.usefixtures("here")
def test_what_must_not_be_applied_is_said_and_is_no_success() -> None:
    result = run("plan", PROFILE, "--since", "v16")
    assert result.exit_code == 1, result.output
    assert "   NOT SO  postgresql-main would archive over what 16.9-standard-trixie has archived: raise backups.generation" in result.output
    assert "people notice: nothing can be sent or read while pg_upgrade runs" in result.output


@pytest.mark.usefixtures("here")
def test_another_size_and_another_version_may_come_at_once() -> None:
    found = json.loads(run("plan", PROFILE, "1000-ccu", "--since", "v0.1.0", "--json").stdout)
    assert (found["from"], found["to"], found["since"]) == (PROFILE, "1000-ccu", "v0.1.0")
    together = {group["component"] for step in found["steps"] for group in step["groups"] if group["together"]}
    assert together == {"minio-main", "synapse"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("100-ccu", "--since", "no-such-tag"), "there is no revision 'no-such-tag' of "),
        (("100-ccu", "--since", "no-such-tag"), "name a commit, tag or branch that `git log` knows; `git fetch --tags` may bring it"),
        (("100-ccu", "--since", "bare"), "bare has no dist: name a revision at which it was committed; `git log -- dist` lists them"),
        (("1000-ccu", "--since", "v0.1.0"), "v0.1.0 has no dist/overlays/1000-ccu; it has 100-ccu: name one of these"),
        (("5000-ccu", "--since", "v0.1.0"), "is this the folder that synth wrote"),
        (
            ("100-ccu", "--since", "v0.1.0", "--dist", "none"),
            "none/overlays/100-ccu has no kustomization.yaml: is this the folder that synth wrote",
        ),
        (("100ccu", "--since", "v0.1.0"), "did you mean 100-ccu?"),
        (("100-ccu",), "name the profile TO too, or with --since the revision of Git whose dist/ was applied last"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_is_not_there_is_one_error_that_says_what_to_do(arguments: tuple[str, ...], reason: str) -> None:
    result = run("plan", *arguments)
    assert (result.exit_code, reason in result.output) == (2, True), result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.usefixtures("here")
def test_a_dist_that_stands_in_no_repository_is_an_error_that_names_the_folder(here: Upgraded, tmp_path: Path) -> None:
    shutil.copytree(here.dist, tmp_path / "dist")
    result = run("plan", PROFILE, "--since", "HEAD", "--dist", str(tmp_path / "dist"))
    assert (result.exit_code, result.output) == (2, f"{tmp_path} is in no repository of Git\n")


def test_a_release_that_is_not_known_or_newer_is_said() -> None:
    (unknown,), (back,) = (changelog_tasks("v1", version).before for version in (None, "999.0.0"))
    assert unknown.what == "no pyproject.toml of v1 says which release its dist/ is of: read CHANGELOG.md from the one that you have"
    assert back.what.startswith(f"back from 999.0.0 to {sections()[0].version}: ")
    assert_there(back.page)


@pytest.mark.parametrize(
    "more", ["", "object_storage: {backend: silo}\n", "ingress: {type: gateway, gateway: {name: a, namespace: b}}\n", "MIRROR"]
)
def test_what_installs_operators_is_read_as_it_was_written(more: str) -> None:
    site = parse_site(SITE + more if more != "MIRROR" else SITE.replace(", mirror: registry.example.com/mirror", ""))
    found = installed(operator_files(site))
    assert list(found) == [operator.name for operator in wanted(site)]
    for operator in wanted(site):
        assert found[operator.name].version.removeprefix("v") == (operator.chart or operator).version.removeprefix("v")
