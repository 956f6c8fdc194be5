"""Synapse with the antivirus module, scan workers and clamd: what is refused leaves nothing, what is clean passes."""

import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.antivirus import (
    EICAR,
    MAX_BYTES,
    NEW,
    OWN,
    TOKEN,
    Antivirus,
    Worker,
    load,
    ndb,
    publish,
    reload,
    running_antivirus,
    running_clamd,
    running_redis,
    running_worker,
    write_bundle,
    zipped,
)
from tests.live.homeservers import Homeserver, ObjectStorage, running_homeserver, running_storage, write_certificates
from tests.live.processes import LOOPBACK, free_ports, wait_for

pytestmark = pytest.mark.live


def module(folder: Path, port: int, **more: Any) -> list[Mapping[str, Any]]:
    """The module's entry in homeserver.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scan-token").write_text(TOKEN)
    config = {"url": f"http://{LOOPBACK}:{port}", "token_file": str(folder / "scan-token"), "max_bytes": MAX_BYTES, **more}
    return [{"module": "services.synapse_antivirus.module.Antivirus", "config": config}]


@pytest.fixture(scope="module")
def antivirus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Antivirus]:
    with running_antivirus(tmp_path_factory.mktemp("antivirus")) as started:
        yield started


@pytest.fixture(scope="module")
def worker(antivirus: Antivirus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    settings = antivirus.settings(concurrency={"scans": 10, "queue": 200, "queue_seconds": 80})
    with running_worker(tmp_path_factory.mktemp("worker"), settings) as started:
        yield started


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with running_storage() as started:
        yield started


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def homeserver(
    worker: Worker, storage: ObjectStorage, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Homeserver]:
    folder = tmp_path_factory.mktemp("synapse")
    with running_homeserver(folder, modules=module(folder, worker.port), storage=storage, certificates=certificates) as started:
        yield started


def traces(homeserver: Homeserver, storage: ObjectStorage) -> tuple[set[str], set[str], set[str]]:
    return homeserver.rows(), homeserver.files(), storage.objects()


def test_a_clean_upload_is_stored_and_comes_back(homeserver: Homeserver, storage: ObjectStorage) -> None:
    before = traces(homeserver, storage)
    content = os.urandom(10_000)
    status, answer = homeserver.upload(content)
    assert status == 200, answer
    assert homeserver.download(answer["content_uri"]) == (200, content)
    assert [len(now - then) for now, then in zip(traces(homeserver, storage), before, strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("content", [EICAR, zipped({"a/eicar.com": EICAR}), b"x" * 1_000_000 + OWN], ids=["eicar", "zip", "string"])
def test_refused_uploads_leave_neither_file_nor_row_nor_object(homeserver: Homeserver, storage: ObjectStorage, content: bytes) -> None:
    before = traces(homeserver, storage)
    status, answer = homeserver.upload(content)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert "refused by the antivirus: Test." in answer["error"]
    assert traces(homeserver, storage) == before


def test_a_zip_whose_last_of_10500_files_is_malware_is_refused(homeserver: Homeserver, storage: ObjectStorage) -> None:
    before = traces(homeserver, storage)
    many = zipped({**{f"{number}.txt": b"x%d" % number for number in range(10_499)}, "last.com": EICAR})
    status, answer = homeserver.upload(many)
    assert (status, "Heuristics.Limits.Exceeded.MaxFiles" in answer["error"]) == (403, True)
    assert traces(homeserver, storage) == before


def test_a_clean_upload_of_45_mib_passes(homeserver: Homeserver) -> None:
    content = os.urandom(45 * 1024 * 1024)
    status, answer = homeserver.upload(content)
    assert status == 200, answer
    assert homeserver.download(answer["content_uri"]) == (200, content)


def test_an_upload_to_an_address_made_before_is_scanned_too(homeserver: Homeserver, storage: ObjectStorage) -> None:
    uri = json.loads(homeserver.request("POST", "/_matrix/media/v1/create", b"{}", content_type="application/json")[1])["content_uri"]
    path = f"/_matrix/media/v3/upload/{uri.removeprefix('mxc://')}"
    before = homeserver.files(), storage.objects()
    assert homeserver.request("PUT", path, EICAR)[0] == 403
    assert (homeserver.files(), storage.objects()) == before
    assert homeserver.request("PUT", path, b"harmless")[0] == 200


def test_remote_media_is_scanned_before_it_is_stored(
    homeserver: Homeserver, storage: ObjectStorage, certificates: Path, tmp_path: Path
) -> None:
    with running_homeserver(tmp_path / "other", certificates=certificates) as other:
        malware, clean = other.upload(EICAR)[1]["content_uri"], other.upload(b"harmless")[1]["content_uri"]
        before = traces(homeserver, storage)
        status, body = homeserver.download(malware)
        assert (status, b"Test.Eicar" in body) == (403, True)
        assert traces(homeserver, storage) == before
        assert homeserver.download(clean) == (200, b"harmless")
        assert homeserver.metric('synapse_antivirus_files_total{origin="remote",verdict="infected"}') == 1


def png(width: int, height: int) -> bytes:
    """A picture that Synapse makes thumbnails of."""

    def part(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = b"".join(b"\0" + os.urandom(3 * width) for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def test_thumbnails_are_not_scanned_again(homeserver: Homeserver) -> None:
    before, files = homeserver.metric('synapse_antivirus_files_total{origin="local",verdict="clean"}'), homeserver.files()
    status, text, _ = homeserver.request("POST", "/_matrix/media/v3/upload", png(800, 600), content_type="image/png")
    assert status == 200, text
    assert len(homeserver.files() - files) > 1
    assert homeserver.metric('synapse_antivirus_files_total{origin="local",verdict="clean"}') == before + 1


def test_a_detection_is_logged_with_media_user_and_signature_and_no_content(homeserver: Homeserver) -> None:
    content = b"private words and " + OWN
    assert homeserver.upload(content)[0] == 403
    log = homeserver.program.output()
    lines = [line for line in log.splitlines() if "Malware found" in line and hashlib.sha256(content).hexdigest() in line]
    assert len(lines) == 1
    assert f"uploaded by @alice:{homeserver.name}" in lines[0]
    assert "signature Test.Own.UNOFFICIAL, media " in lines[0]
    assert "private words" not in log
    assert TOKEN not in log


def test_the_reactor_goes_on_while_files_are_scanned(homeserver: Homeserver) -> None:
    slowest, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal slowest
        while not done.is_set():
            begun = time.monotonic()
            homeserver.request("GET", "/_matrix/client/versions")
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.05)

    many = zipped({f"{number}.txt": b"x%d" % number for number in range(9_000)})
    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        begun = time.monotonic()
        assert {status for status, _ in pool.map(lambda n: homeserver.upload(many + b"%d" % n), range(4))} == {200}
        seconds = time.monotonic() - begun
    done.set()
    watcher.join()
    assert slowest < max(1.0, seconds / 2)


def test_without_the_right_token_nothing_passes(worker: Worker, tmp_path: Path) -> None:
    modules = module(tmp_path, worker.port)
    (tmp_path / "scan-token").write_text("another-token-than-the-workers")
    with running_homeserver(tmp_path / "synapse", modules=modules) as homeserver:
        assert homeserver.upload(b"harmless")[0] == 503
        (tmp_path / "scan-token").write_text(TOKEN)
        assert homeserver.upload(b"harmless")[0] == 200


def test_without_clamd_fail_closed_refuses_and_says_so_and_fail_open_lets_through_and_counts(antivirus: Antivirus, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"], "connect_seconds": 1}}
    with (
        running_clamd(tmp_path / "clamd", antivirus.databases, port) as clamd,
        running_worker(tmp_path / "worker", settings) as worker,
        running_homeserver(tmp_path / "closed", modules=module(tmp_path / "m", worker.port, timeout_seconds=3)) as closed,
        running_homeserver(
            tmp_path / "open", modules=module(tmp_path / "m", worker.port, timeout_seconds=3, when_unavailable="fail_open")
        ) as lenient,
    ):
        assert [server.upload(EICAR)[0] for server in (closed, lenient)] == [403, 403]
        clamd.kill()
        status, text, headers = closed.request("POST", "/_matrix/media/v3/upload", EICAR)
        assert (status, "could not be scanned" in json.loads(text)["error"], headers.get("Retry-After")) == (503, True, "10")
        assert (closed.rows(), closed.files()) == (set(), set())
        assert lenient.upload(EICAR)[0] == 200
        assert lenient.metric('synapse_antivirus_failed_total{let_through="yes",reason="unavailable"}') == 1
        assert closed.metric('synapse_antivirus_failed_total{let_through="no",reason="unavailable"}') == 1


def test_a_second_upload_is_answered_without_clamd(antivirus: Antivirus, tmp_path: Path) -> None:
    port, redis_port = free_ports(2)
    settings = {
        "clamd": {"addresses": [f"{LOOPBACK}:{port}"]},
        "cache": {"host": LOOPBACK, "port": redis_port},
        "check_seconds": 600,
    }
    with (
        running_redis(redis_port, ""),
        running_clamd(tmp_path / "clamd", antivirus.databases, port) as clamd,
        running_worker(tmp_path / "worker", settings) as worker,
        running_homeserver(tmp_path / "synapse", modules=module(tmp_path / "m", worker.port, timeout_seconds=3)) as homeserver,
    ):
        content = os.urandom(1_000_000)
        assert (homeserver.upload(content)[0], homeserver.upload(EICAR)[0]) == (200, 403)
        clamd.kill()
        assert (homeserver.upload(content)[0], homeserver.upload(EICAR)[0]) == (200, 403)
        assert homeserver.upload(os.urandom(1000))[0] == 503


def test_new_signatures_refuse_what_was_clean_without_any_restart(tmp_path: Path) -> None:
    with (
        running_antivirus(tmp_path / "av") as own,
        running_worker(tmp_path / "worker", own.settings()) as worker,
        running_homeserver(tmp_path / "synapse", modules=module(tmp_path / "m", worker.port)) as homeserver,
    ):
        assert homeserver.upload(NEW)[0] == 200
        publish(own.mirror, write_bundle(tmp_path / "newer", ndb("Test.New", NEW)))
        load(own.mirror, own.databases)
        reload(own.clamd_port)
        wait_for(lambda: homeserver.upload(NEW)[0] == 403, 20, "the new signature to be used")


def test_in_quarantine_mode_uploads_do_not_wait_and_what_is_found_is_quarantined(worker: Worker, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    quarantine = {"admin_url": f"http://{LOOPBACK}:{port}", "token_file": str(tmp_path / "admin-token")}
    modules = module(tmp_path / "m", worker.port, mode="quarantine", quarantine=quarantine)
    listeners = [
        {"type": "http", "port": port, "bind_addresses": [LOOPBACK], "resources": [{"names": ["client", "media"]}]},
    ]
    with running_homeserver(tmp_path / "synapse", modules=modules, more_listeners=listeners) as homeserver:
        (tmp_path / "admin-token").write_text(homeserver.tokens["admin"])
        malware, clean = homeserver.upload(EICAR)[1]["content_uri"], homeserver.upload(b"harmless")[1]["content_uri"]
        wait_for(lambda: homeserver.download(malware)[0] == 404, 30, "the file to be quarantined")
        assert homeserver.download(clean) == (200, b"harmless")
        wait_for(lambda: homeserver.metric('synapse_antivirus_quarantined_total{done="yes"}') == 1, 10, "the quarantine to be counted")


def test_a_mistake_in_the_settings_keeps_synapse_from_starting_and_says_what_to_write(worker: Worker, tmp_path: Path) -> None:
    modules = module(tmp_path, worker.port, moed="block")
    with pytest.raises(RuntimeError, match=r"moed is unknown; did you mean mode\?"), running_homeserver(tmp_path / "s", modules=modules):
        pass


def test_200_uploads_at_once_are_all_scanned(homeserver: Homeserver, worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    contents = [os.urandom(500_000) + (OWN if number % 10 == 0 else b"") for number in range(200)]

    def upload(content: bytes) -> tuple[float, int]:
        begun = time.monotonic()
        status, _ = homeserver.upload(content)
        return time.monotonic() - begun, status

    begun = time.monotonic()
    with ThreadPoolExecutor(200) as pool:
        results = list(pool.map(upload, contents))
    seconds = time.monotonic() - begun
    p95 = sorted(taken for taken, _ in results)[189]
    with capsys.disabled():
        print(
            f"\n200 uploads of 0.5 MB at once: {200 / seconds:.0f} a second, p95 {p95:.1f} s,"
            f" scan worker at most {worker.memory_mib():.0f} MiB"
        )
    assert [status for _, status in results] == [403 if number % 10 == 0 else 200 for number in range(200)]
    assert worker.memory_mib() < 150
