"""The command that starts a Synapse process, and what keeps the cache beside it small."""

import itertools
import os
import subprocess
import time
from pathlib import Path

import pytest

from kit.quantities import mib
from main_instance.synapse import process
from main_instance.synapse.process import start


def words(*, worker: bool, listed: bool = False, extra: bool = False) -> list[str]:
    started = start(worker=worker, listed=listed, extra=extra)
    assert started.command == ("python", "-m", "services.synapse_start")
    return list(started.args)


def files(arguments: list[str]) -> list[str]:
    return [word for option, word in itertools.pairwise(arguments) if option == "-c"]


@pytest.mark.parametrize(("worker", "module"), [(True, "synapse.app.generic_worker"), (False, "synapse.app.homeserver")])
def test_what_waits_becomes_synapse_with_its_files(worker: bool, module: str) -> None:
    arguments = words(worker=worker)
    assert arguments[arguments.index(module) + 1] == "--no-secrets-in-config"
    assert all(option.startswith("--") for option in arguments[: arguments.index(module)])


def test_main_alone_puts_its_list_of_writers_into_force_and_all_read_the_one_in_force() -> None:
    assert f"--publish={process.SHARDS_FOLDER}/shards.yaml" in words(worker=False)
    assert [word for word in words(worker=True) if word.startswith("--publish")] == []
    assert (
        files(words(worker=True))[:2]
        == files(words(worker=False))[:2]
        == ["/etc/synapse/homeserver/homeserver.yaml", "/run/synapse/shards.yaml"]
    )


def test_a_worker_reads_its_own_name_last_and_main_reads_none() -> None:
    assert files(words(worker=True, extra=True))[-2:] == ["/secrets/extra/extra.yaml", "/run/synapse/name.yaml"]
    assert "/run/synapse/name.yaml" not in words(worker=False)


def test_what_a_site_gives_in_a_secret_may_hold_secrets() -> None:
    assert "--no-secrets-in-config" in words(worker=True)
    assert "--no-secrets-in-config" not in words(worker=True, extra=True)


@pytest.mark.parametrize("worker", [True, False])
def test_a_start_may_take_ten_minutes_and_no_longer(worker: bool) -> None:
    assert "--start-seconds=600" in words(worker=worker)


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
