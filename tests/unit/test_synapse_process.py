"""The command that starts a Synapse process, run by a real shell with a stand-in for Python."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from attrs import frozen

from kit.quantities import mib
from main_instance.synapse import process
from main_instance.synapse.process import start

# Says who it is, and what it was asked to do.
PYTHON = """#!/bin/sh
echo "$$"
printf '%s\\n' "$@"
"""


@frozen
class Ran:
    """One run of the command below a folder that stands for the root of the container."""

    root: Path
    code: int
    pid: int
    lines: list[str]


def run(root: Path, *, worker: bool, pod: str = "receipts-1") -> Ran:
    (root / "bin").mkdir()
    python = root / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (root / process.RUN_FOLDER.lstrip("/")).mkdir(parents=True)
    started = start(worker=worker)
    script = started.args[0]
    for folder in ("/etc/", "/run/", "/secrets/"):
        script = script.replace(f" {folder}", f" {root}{folder}")
    command = subprocess.Popen(
        [*started.command, script],
        env={"PATH": f"{root}/bin:{os.environ['PATH']}", "POD_NAME": pod},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    output, _ = command.communicate(timeout=10)
    return Ran(root, command.returncode, command.pid, output.splitlines())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    source = tmp_path / process.PASSWORD_FILE_SOURCE.lstrip("/")
    source.parent.mkdir(parents=True)
    source.write_text("main-rw:5432:synapse:synapse:s3cret\n")
    source.chmod(0o440)
    return tmp_path


@pytest.mark.parametrize("worker", [True, False])
def test_the_password_file_is_the_process_s_alone_or_libpq_would_ignore_it(root: Path, worker: bool) -> None:
    ran = run(root, worker=worker)
    copy = root / process.PASSWORD_FILE.lstrip("/")
    assert ran.code == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copy.read_text() == "main-rw:5432:synapse:synapse:s3cret\n"


def test_a_worker_is_called_like_its_pod(root: Path) -> None:
    ran = run(root, worker=True, pod="event-persister-3")
    name_file = Path(ran.lines[-1])
    assert name_file.read_text() == "worker_name: event-persister-3\n"


@pytest.mark.parametrize(("worker", "module"), [(True, "synapse.app.generic_worker"), (False, "synapse.app.homeserver")])
def test_synapse_takes_the_shell_s_place_so_that_signals_reach_it(root: Path, worker: bool, module: str) -> None:
    ran = run(root, worker=worker)
    assert ran.lines[0] == str(ran.pid)
    assert ran.lines[1:4] == ["-m", module, "--no-secrets-in-config"]


@pytest.mark.parametrize("worker", [True, False])
def test_a_process_does_not_start_without_its_password_file(root: Path, worker: bool) -> None:
    (root / process.PASSWORD_FILE_SOURCE.lstrip("/")).unlink()
    ran = run(root, worker=worker)
    assert ran.code != 0
    assert ran.lines == []


def test_main_has_no_name_of_a_worker(root: Path) -> None:
    assert [Path(line).name for line in run(root, worker=False).lines if line.endswith(".yaml")] == [
        "homeserver.yaml",
        "shards.yaml",
        "kind.yaml",
    ]


def test_the_oldest_files_of_a_full_media_cache_go_and_those_in_use_stay(tmp_path: Path) -> None:
    an_hour_ago = time.time() - 3600
    for number in range(8):
        file = tmp_path / "local_content" / f"{number} with a space"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x" * 2**20)
        os.utime(file, (an_hour_ago + number, an_hour_ago + number))
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"x" * 2**20)
    # Five files of 1 MiB are to stay; their folders take a little more, and `du` rounds up.
    started = process.keep_cache_small(mib(6), folder=str(tmp_path), pause_seconds=60)
    script = started.args[0].replace("-n 500", "-n 2")
    with subprocess.Popen([*started.command, script]) as keeper:
        try:
            deadline = time.monotonic() + 30
            while len(list(tmp_path.rglob("*with*"))) > 4 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            keeper.terminate()
        assert keeper.wait(timeout=10) == 0
    assert sorted(file.name[0] for file in tmp_path.rglob("*with*")) == ["4", "5", "6", "7"]
    assert fresh.exists()
