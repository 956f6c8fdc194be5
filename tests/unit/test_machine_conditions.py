"""The command line on a machine that is not as it should be: one line that says what to do, and nothing half done."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.dist import write_tree
from tests.kustomize import ROOT

SITE = "server_name: example.com\nimages: {registry: registry.example.com}\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    return file


def run(*arguments: str, stdout: int | None = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m app` in a process of its own."""
    command = [sys.executable, "-O", "-m", "app", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("home", ["/nonexistent", "/proc"])
def test_a_home_that_cannot_be_written_is_not_needed(home: str, site: Path) -> None:
    done = run("images", "--site", str(site), HOME=home, XDG_CACHE_HOME=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "docker.io/library/haproxy" in done.stdout


def test_output_that_cannot_be_written_is_one_line(site: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = run("images", "--site", str(site), stdout=full)
    finally:
        os.close(full)
    assert (done.returncode, done.stderr) == (2, "the output cannot be written: No space left on device\n")


def test_another_clones_environment_is_refused(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "app").mkdir(parents=True)
    (clone / "app" / "__main__.py").write_text((ROOT / "app" / "__main__.py").read_text())
    done = subprocess.run(
        [sys.executable, str(clone / "app" / "__main__.py"), "images"], capture_output=True, text=True, check=False, timeout=60, cwd=clone
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"this environment is that of {ROOT}, whose components would be compiled here; run make setup in {clone}")


def test_a_linked_dist_stays_a_link_and_what_it_leads_to_changes(tmp_path: Path) -> None:
    real, link = tmp_path / "elsewhere" / "dist", tmp_path / "dist"
    write_tree(real, {"base/kustomization.yaml": "old\n"})
    link.symlink_to(real)
    write_tree(link, {"base/kustomization.yaml": "new\n"})
    assert link.is_symlink()
    assert (real / "base" / "kustomization.yaml").read_text() == "new\n"


def test_the_tree_of_a_run_that_was_killed_between_two_renames_comes_back(tmp_path: Path) -> None:
    target, staging = tmp_path / "dist", tmp_path / ".dist-abcdefgh"
    write_tree(staging / "old", {"base/kustomization.yaml": "old\n", "mine": "kept\n"})
    with pytest.raises(RuntimeError, match="no more"):
        write_tree(target, _Failing())
    assert (target / "mine").read_text() == "kept\n"


class _Failing(dict[str, str]):
    """Files that end before they begin."""

    def items(self) -> object:  # type: ignore[override]
        raise RuntimeError("no more")


def test_folders_of_runs_that_were_killed_go_when_they_are_old(tmp_path: Path) -> None:
    old, recent = tmp_path / ".dist-aaaaaaaa", tmp_path / ".dist-bbbbbbbb"
    for folder in (old, recent):
        (folder / "new").mkdir(parents=True)
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    write_tree(tmp_path / "dist", {"base/kustomization.yaml": "new\n"})
    assert (old.exists(), recent.exists()) == (False, True)
