"""The commands that say what a change does, run as a person runs them: in a folder under Git, piped, and in a terminal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pexpect
import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.check import _beyond
from app.compiler import compile_site
from app.dist import write_tree
from app.inspection.budget import budget
from app.settings import parse_site
from kit.quantities import cores, gib, tib
from overlays import profiles
from tests.kustomize import ROOT, kubectl

SITE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with site.yaml and the dist/ that was applied; then Element Web has got another brand."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "site.yaml").write_text(SITE)
    write_tree(folder / "dist", compile_site(parse_site(SITE), profiles()[:2]))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "applied")
    changed = SITE + "element: {brand: Other}\n"
    (folder / "site.yaml").write_text(changed)
    write_tree(folder / "dist", compile_site(parse_site(changed), profiles()[:2]))
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(kubectl()).parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.usefixtures("here")
def test_diff_says_what_an_apply_changes_and_whom_it_restarts() -> None:
    result = run("diff", "100-ccu", "--fields")
    assert result.exit_code == 1, result.output
    lines = result.output.splitlines()
    assert lines[0] == "100-ccu against HEAD: 2 objects differ"
    assert "   element-web: pods are replaced, one after another: element-web" in lines
    assert "   element-web: people notice: nothing: a new one is ready before an old one goes" in lines
    assert any(line.startswith("  data.config.json: ") and "Other" in line for line in lines)


@pytest.mark.usefixtures("here")
def test_diff_is_json_for_a_program() -> None:
    result = run("diff", "100-ccu", "--json")
    found = json.loads(result.output)
    assert (found["profile"], found["against"]) == ("100-ccu", "HEAD")
    effects = {(change["kind"], change["name"]): change["effect"] for change in found["changes"]}
    assert effects == {("ConfigMap", "element-web"): "in place", ("Deployment", "element-web"): "pods are replaced, one after another"}


@pytest.mark.usefixtures("here")
def test_diff_ends_with_0_where_nothing_changes(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", ".", str(tmp_path / "clone")], check=True, capture_output=True)
    result = run("diff", "100-ccu", "--dist", str(tmp_path / "clone" / "dist"))
    assert (result.exit_code, result.output) == (0, "100-ccu: nothing changes against HEAD\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("100-ccu", "--since", "no-such-tag"), "there is no revision 'no-such-tag'"),
        (("5000-ccu",), "is this the folder that synth wrote"),
        (("100ccu",), "did you mean 100-ccu?"),
    ],
)
@pytest.mark.usefixtures("here")
def test_diff_says_what_is_not_there(arguments: tuple[str, ...], reason: str) -> None:
    result = run("diff", *arguments)
    assert (result.exit_code, reason in result.output) == (2, True), result.output


@pytest.mark.usefixtures("here")
def test_diff_with_a_cluster_sees_what_kubectl_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubectl that has one Deployment less, and one more that is left of before: what a dry run would merge is what is sent."""
    (tmp_path / "kubectl").write_text(
        f"""#!{sys.executable}
import json, subprocess, sys
words = sys.argv[1:]
if words[0] == "kustomize":
    sys.exit(subprocess.run([{kubectl()!r}, *words]).returncode)
def told(items):
    print(json.dumps({{"items": items}}))
if "--selector" in words:
    labels = {{"app.kubernetes.io/name": "old", "app.kubernetes.io/part-of": "matrix-platform"}}
    old = {{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "old", "namespace": "matrix", "labels": labels}}}}
    # What an earlier apply has generated stays beside what is read now, and is no difference.
    earlier = {{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{**old["metadata"], "name": "haproxy-bb6m7ktd2f"}}, "data": {{"a": "b"}}}}
    told([old, earlier])
else:
    sent = json.load(sys.stdin)["items"]
    if words[0] == "get":
        told([o for o in sent if (o["kind"], o["metadata"]["name"]) != ("Deployment", "element-web")])
    else:
        assert "--dry-run=server" in words and "--server-side" in words
        told(sent)
"""
    )
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    lines = run("diff", "100-ccu", "--cluster").output.splitlines()
    assert lines[0] == "100-ccu against the cluster: 2 objects differ"
    assert "   element-web: pods start: element-web" in lines
    assert "GONE  Deployment matrix/old: kubectl apply leaves it, a tool that prunes takes it away" in lines


@pytest.mark.usefixtures("here")
def test_synth_check_writes_nothing_and_names_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overlays.profiles", lambda: profiles()[:2])
    assert run("synth", "--check").exit_code == 0
    write_tree(tmp_path / "dist", {"base/kustomization.yaml": "", "base/old.yaml": ""})
    result = run("synth", "--check", "--out", str(tmp_path / "dist"))
    assert result.exit_code == 1
    assert f"{tmp_path}/dist/base/kustomization.yaml: differs" in result.output
    assert f"{tmp_path}/dist/base/old.yaml: has no source any more" in result.output
    assert f"{tmp_path}/dist/base/namespace.yaml: is not there" in result.output
    assert (tmp_path / "dist/base/old.yaml").read_text() == ""


@pytest.mark.usefixtures("here")
def test_plan_lists_the_steps_and_what_stops_together() -> None:
    result = run("plan", "100-ccu", "1000-ccu")
    assert result.exit_code == 0, result.output
    assert "all of Synapse stops and starts with another list of writers" in result.output
    steps = [line[0] for line in result.output.splitlines() if line[:2] in {f"{number}." for number in range(1, 7)}]
    assert steps == ["1", "2", "3"]


@pytest.mark.usefixtures("here")
def test_plan_says_what_no_apply_can_do_and_what_to_do_instead() -> None:
    result = run("plan", "1000-ccu", "5000-ccu")
    assert result.exit_code == 1
    assert "REFUSED  Tenant matrix/minio-main: servers of pool-0 is 4 for good, not 6" in result.output
    found = json.loads(run("plan", "1000-ccu", "5000-ccu", "--json").output)
    assert [(change["kind"], change["name"]) for change in found["refused"]] == [("Tenant", "minio-main")]
    assert found["keep"] == {"storage_sizes": {"pools": {"main": [{"servers": 4, "drives": 2, "drive": "60Gi"}]}}}


SHOWN = re.findall(r"<!-- plan: (\S+) (\S+) -->\n *```\S*\n(.*?)\n *```", (ROOT / "docs/02-SCALING-GUIDE.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("source", "target", "shown"), SHOWN, ids=[f"{source}-{target}" for source, target, _ in SHOWN])
def test_what_the_guide_shows_of_a_plan_is_what_it_says_and_with_it_nothing_is_refused(
    source: str, target: str, shown: str, tmp_path: Path
) -> None:
    text = dedent(shown)
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    result = run("plan", source, target, "--site", str(file))
    assert result.exit_code == 1
    assert text in result.output
    _, _, options = text.rpartition("plan again:\n")
    file.write_text(SITE + options + "\n")
    result = run("plan", source, target, "--site", str(file))
    assert result.exit_code == 0, result.output
    assert ("take shrinking_from out of site.yaml" in result.output) == ("shrinking_from" in options)


def test_a_guide_shows_a_step_up_and_a_step_down() -> None:
    assert [(source, target) for source, target, _ in SHOWN] == [("1000-ccu", "5000-ccu"), ("5000-ccu", "1000-ccu")]


def test_volumes_that_a_site_has_listed_are_not_beyond_an_envelope() -> None:
    profile = profiles()[0]
    total = evolve(budget([]).total, cpu=cores(99), memory=gib(999), storage=tib(99))
    assert list(_beyond(profile, total, own_volumes=True)) == ["99 of CPU", "999Gi of memory"]
    assert list(_beyond(profile, total, own_volumes=False))[-1] == "99Ti of storage"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["synchrotron", "statefulset/synchrotron", "matrix/synchrotron", "StatefulSet/matrix/synchrotron"])
def test_explain_says_where_an_object_comes_from(name: str) -> None:
    (found,) = json.loads(run("explain", name, "--json").output)
    assert found["object"] == "StatefulSet matrix/synchrotron"
    assert found["made_by"] == "Synapse, constructs/main_instance/synapse/component.py"
    assert found["stands_in"] == ["dist/base/main-instance/01-synapse/workers/synchrotron.yaml"]
    assert "matrix/haproxy on 8008" in found["called_by"]
    assert "matrix/redis-proxy:6379" in found["calls"]
    assert (Path(ROOT) / found["made_by"].split(", ")[1]).is_file()


@pytest.mark.usefixtures("here")
def test_explain_says_what_a_database_keeps_and_what_brings_it_back() -> None:
    result = run("explain", "cluster/postgresql-main")
    assert result.exit_code == 0
    assert "05-BACKUP-RESTORE.md" in result.output
    assert "2 to 3 pods, each" in result.output


@pytest.mark.usefixtures("here")
def test_explain_suggests_the_nearest_name() -> None:
    result = run("explain", "synchroton")
    assert (result.exit_code, "did you mean synchrotron" in result.output) == (2, True)
    assert run("explain", "pod/synchrotron").output.startswith("'pod' is no kind and no namespace of this site")


def test_the_version_is_that_of_the_project() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run("--version").output == f"matrix-platform {version}\n"


def test_nothing_is_loaded_before_it_is_needed() -> None:
    """Help answers at once: what takes time to load is for the commands that need it."""
    said = (
        "import sys; from app.cli import main; print(*sorted({'cdk8s', 'rich', 'cryptography', 'tabulate', 'attrs'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["attrs"]


def test_on_a_terminal_a_command_shows_that_it_works_and_piped_it_does_not(here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}", "TERM": "xterm", "COLUMNS": "100"}
    arguments = ["-m", "app", "plan", "100-ccu", "1000-ccu"]
    terminal = pexpect.spawn(sys.executable, arguments, cwd=str(here), env=environment, encoding="utf-8", timeout=120)
    terminal.expect("compiling 100-ccu and 1000-ccu")
    terminal.expect("From 100-ccu to 1000-ccu")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    done = subprocess.run([sys.executable, *arguments], cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
