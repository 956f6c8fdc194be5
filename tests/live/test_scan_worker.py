"""The scan worker with a real clamd and a real Redis."""

import hashlib
import http.client
import os
import socket
import socketserver
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.live.antivirus import (
    EICAR,
    MAX_BYTES,
    NEW,
    OWN,
    TOKEN,
    Antivirus,
    Worker,
    encrypted_zip,
    load,
    ndb,
    publish,
    reload,
    running_antivirus,
    running_clamd,
    running_redis,
    running_worker,
    state_of,
    write_bundle,
    zipped,
)
from tests.live.processes import LOOPBACK, free_ports, wait_for
from tests.live.servers import serving

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def antivirus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Antivirus]:
    with running_antivirus(tmp_path_factory.mktemp("antivirus")) as started:
        yield started


@pytest.fixture(scope="module")
def worker(antivirus: Antivirus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with running_worker(tmp_path_factory.mktemp("worker"), antivirus.settings()) as started:
        yield started


def test_a_clean_file_is_clean_and_the_answer_names_it(worker: Worker) -> None:
    content = os.urandom(1000)
    digest = hashlib.sha256(content).hexdigest()
    assert worker.scan(content) == (200, {"verdict": "clean", "sha256": digest, "source": "scan", "bytes": 1000})


def test_an_empty_file_is_clean(worker: Worker) -> None:
    assert worker.scan(b"")[1]["verdict"] == "clean"


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        (EICAR, "Test.Eicar.UNOFFICIAL"),
        (b"x" * 3_000_000 + OWN + b"x" * 500_000, "Test.Own.UNOFFICIAL"),
        (zipped({"a": b"a", "b/eicar.com": EICAR}), "Test.Eicar.UNOFFICIAL"),
        (zipped({"inner.zip": zipped({"eicar.com": EICAR})}), "Test.Eicar.UNOFFICIAL"),
    ],
)
def test_malware_is_found_and_named(worker: Worker, content: bytes, signature: str) -> None:
    status, answer = worker.scan(content)
    assert (status, answer["verdict"], answer["signature"], answer["engine"]) == (200, "infected", signature, "clamav")


def test_what_lies_behind_the_limits_of_clamd_is_refused_too(worker: Worker) -> None:
    many = zipped({**{f"{number}.txt": b"x%d" % number for number in range(10_499)}, "last.com": EICAR})
    assert worker.scan(many)[1]["signature"] == "Heuristics.Limits.Exceeded.MaxFiles"
    large = zipped({"large": bytes(5 * MAX_BYTES) + OWN}, zipfile.ZIP_DEFLATED)
    assert worker.scan(large)[1]["signature"] == "Heuristics.Limits.Exceeded.MaxScanSize"
    within = zipped({"large": bytes(MAX_BYTES) + OWN}, zipfile.ZIP_DEFLATED)
    assert worker.scan(within)[1]["signature"] == "Test.Own.UNOFFICIAL"


def test_with_a_smaller_limit_for_files_clamd_would_let_the_end_of_a_large_one_in_a_zip_through(
    antivirus: Antivirus, tmp_path: Path
) -> None:
    """Why `MaxFileSize` is as large as `MaxScanSize`."""
    (port,) = free_ports(1)
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
    within = zipped({"large": bytes(MAX_BYTES) + OWN}, zipfile.ZIP_DEFLATED)
    with (
        running_clamd(tmp_path / "clamd", antivirus.databases, port, MaxFileSize=MAX_BYTES),
        running_worker(tmp_path / "w", settings) as worker,
    ):
        assert worker.scan(within)[1]["verdict"] == "clean"


def test_what_is_encrypted_is_refused_or_not_as_the_site_decides(antivirus: Antivirus, worker: Worker, tmp_path: Path) -> None:
    assert worker.scan(encrypted_zip())[1]["signature"] == "Heuristics.Encrypted.Zip"
    (port,) = free_ports(1)
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
    with (
        running_clamd(tmp_path / "clamd", antivirus.databases, port, AlertEncrypted="no"),
        running_worker(tmp_path / "w", settings) as lenient,
    ):
        assert lenient.scan(encrypted_zip())[1]["verdict"] == "clean"


def test_without_the_alert_clamd_lets_the_last_file_of_many_through(antivirus: Antivirus, tmp_path: Path) -> None:
    """Why `AlertExceedsMax` is set."""
    (port,) = free_ports(1)
    many = zipped({**{f"{number}.txt": b"x%d" % number for number in range(10_499)}, "last.com": EICAR})
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
    with (
        running_clamd(tmp_path / "clamd", antivirus.databases, port, AlertExceedsMax="no"),
        running_worker(tmp_path / "w", settings) as worker,
    ):
        assert worker.scan(many)[1]["verdict"] == "clean"


def test_a_clean_file_of_45_mib_passes(worker: Worker) -> None:
    content = os.urandom(45 * 1024 * 1024)
    status, answer = worker.scan(content)
    assert (status, answer["verdict"], answer["bytes"]) == (200, "clean", len(content))
    assert worker.memory_mib() < 150


@pytest.mark.parametrize("token", [None, "", "wrong-token-of-the-live-tests", TOKEN[:-1], f"{TOKEN} "[:-1] + "x"])
def test_without_the_token_nothing_is_scanned(worker: Worker, token: str | None) -> None:
    before = worker.metric("scan_worker_bytes_total")
    status, answer, headers = worker.request("POST", "/v1/scan", EICAR, token)
    assert (status, answer["code"], "WWW-Authenticate" in headers) == (401, "unauthorized", True)
    assert worker.request("GET", f"/v1/verdicts/{'0' * 64}", None, token)[0] == 401
    assert worker.metric("scan_worker_bytes_total") == before


def test_health_readiness_metrics_and_description_need_no_token(worker: Worker) -> None:
    assert [worker.request("GET", path, None, None)[0] for path in ("/health", "/ready", "/metrics", "/openapi.json")] == [200] * 4


def test_files_over_the_limit_are_refused_with_or_without_their_length(worker: Worker) -> None:
    with closing(http.client.HTTPConnection(LOOPBACK, worker.port, timeout=60)) as connection:
        connection.putrequest("POST", "/v1/scan")
        connection.putheader("Authorization", f"Bearer {TOKEN}")
        connection.putheader("Content-Length", str(MAX_BYTES + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413
    with closing(http.client.HTTPConnection(LOOPBACK, worker.port, timeout=60)) as connection:
        pieces = (bytes(1024 * 1024) for _ in range(51))
        connection.request("POST", "/v1/scan", pieces, {"Authorization": f"Bearer {TOKEN}"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert worker.scan(EICAR)[1]["verdict"] == "infected"


def test_encoded_bodies_are_refused(worker: Worker) -> None:
    status, answer, _ = worker.request("POST", "/v1/scan", zlib.compress(bytes(10_000_000)), headers={"Content-Encoding": "deflate"})
    assert (status, answer["code"]) == (415, "encoded")


def raw(worker: Worker, *pieces: bytes, pause: float = 0.0, hang_up: bool = False) -> bytes:
    """What comes back for bytes that are sent as they are."""
    with socket.create_connection((LOOPBACK, worker.port), 30) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
            answer += data
        return answer.split(b"\r\n")[0]


HEAD = f"POST /v1/scan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


NO_VERDICT = (b"", b"HTTP/1.1 400 Bad Request", b"HTTP/1.0 400 Bad Request")


def test_slow_senders_are_told_so_and_hold_no_place(antivirus: Antivirus, tmp_path: Path) -> None:
    settings = antivirus.settings(receive={"idle_seconds": 0.5, "total_seconds": 1.0}, concurrency={"scans": 1, "queue": 0})
    with running_worker(tmp_path, settings) as worker:
        assert raw(worker, HEAD + b"Content-Length: 10\r\n\r\nabc") == b"HTTP/1.1 408 Request Timeout"
        begun = time.monotonic()
        dripping = raw(worker, HEAD + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 6, pause=0.2)
        assert dripping == b"HTTP/1.1 408 Request Timeout"
        assert time.monotonic() - begun < 5
        assert worker.scan(EICAR)[1]["verdict"] == "infected"


def test_bodies_that_end_early_or_are_malformed_have_no_verdict(worker: Worker) -> None:
    before = worker.metric('scan_worker_files_total{source="scan",verdict="clean"}')
    assert raw(worker, HEAD + b"Content-Length: 10\r\n\r\nabc", hang_up=True) in NO_VERDICT
    assert raw(worker, HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n") in NO_VERDICT
    assert worker.metric('scan_worker_files_total{source="scan",verdict="clean"}') == before
    assert worker.scan(b"still here")[1]["verdict"] == "clean"


def test_beyond_its_queue_the_worker_says_when_to_come_back(antivirus: Antivirus, tmp_path: Path) -> None:
    settings = antivirus.settings(concurrency={"scans": 1, "queue": 1, "queue_seconds": 20, "retry_after_seconds": 7})
    with running_worker(tmp_path, settings) as worker, socket.create_connection((LOOPBACK, worker.port), 30) as holder:
        holder.sendall(HEAD + b"Content-Length: 3\r\n\r\na")
        wait_for(lambda: worker.metric("scan_worker_scans_in_progress") == 1, 5, "the first file to be scanned")
        with ThreadPoolExecutor(1) as second:
            waiting = second.submit(worker.scan, EICAR)
            wait_for(lambda: worker.metric("scan_worker_queue") == 1, 5, "the second file to wait")
            status, answer, headers = worker.request("POST", "/v1/scan", EICAR)
            assert (status, answer["code"], headers["Retry-After"]) == (503, "busy", "7")
            holder.sendall(b"bc")
            assert waiting.result(30)[1]["verdict"] == "infected"


def test_a_dead_clamd_gives_no_verdict_and_one_that_is_back_does(antivirus: Antivirus, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"], "connect_seconds": 1}}
    with running_worker(tmp_path / "worker", settings, ready=False) as worker:
        assert worker.request("GET", "/health")[0] == 200
        assert worker.request("GET", "/ready")[0] == 503
        status, answer, headers = worker.request("POST", "/v1/scan", b"nobody looks at this")
        assert (status, answer["code"], int(headers["Retry-After"]) > 0) == (503, "no_verdict", True)
        with running_clamd(tmp_path / "clamd", antivirus.databases, port):
            wait_for(worker.is_ready, 10, "the worker to find clamd")
            assert worker.scan(EICAR)[1]["verdict"] == "infected"
        wait_for(lambda: not worker.is_ready(), 10, "the worker to miss clamd")
        assert worker.scan(b"nobody looks at this")[0] == 503


def test_when_one_of_two_clamd_dies_every_file_is_still_scanned(antivirus: Antivirus, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {
        "clamd": {"addresses": [f"{LOOPBACK}:{antivirus.clamd_port}", f"{LOOPBACK}:{port}"], "connect_seconds": 1},
        "check_seconds": 60,
    }
    with running_clamd(tmp_path / "clamd", antivirus.databases, port) as second, running_worker(tmp_path / "worker", settings) as worker:
        assert {worker.scan(EICAR)[1]["verdict"] for _ in range(4)} == {"infected"}
        second.kill()
        assert [worker.scan(EICAR)[0] for _ in range(20)] == [200] * 20
        assert worker.metric(f'scan_worker_engine_up{{address="{LOOPBACK}:{port}",engine="clamav"}}') == 0


@contextmanager
def garbage_clamd(answer: bytes, probe: bytes | None = None) -> Iterator[int]:
    """A server that answers the probe with `probe`, and all else with `answer`."""

    class Garbage(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.rfile.read(len(b"zIDSESSION\0"))
                for text in (answer if probe is None else probe, answer):
                    self.rfile.read(len(b"zINSTREAM\0"))
                    while length := int.from_bytes(self.rfile.read(4), "big"):
                        self.rfile.read(length)
                    self.wfile.write(text)

    with serving(Garbage) as port:
        yield port


PROBE_FOUND = b"1: stream: MatrixPlatform.Signatures.0." + b"0" * 32 + b".UNOFFICIAL FOUND\0"


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"2: stream: perhaps\0", "garbage"),
        (b"\xff\xfe\0", "garbage"),
        (b"x" * 100_000, "garbage"),
        (b"2: stream: INSTREAM size limit exceeded. ERROR\0", "refused"),
        (b"2: stream: Can't allocate memory ERROR\0", "refused"),
        (b"", "unreachable"),
        (b"2: stream: OK", "unreachable"),
        (b"HTTP/1.1 200 OK\r\n\r\n\0", "garbage"),
    ],
)
def test_what_is_no_answer_of_clamd_is_no_verdict(tmp_path: Path, answer: bytes, trouble: str) -> None:
    with garbage_clamd(answer, PROBE_FOUND) as port:
        settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}, "check_seconds": 60}
        with running_worker(tmp_path, settings) as worker:
            status, reply = worker.scan(b"a file")
            assert (status, reply["code"]) == (503, "no_verdict")
            assert worker.metric(f'scan_worker_engine_errors_total{{engine="clamav",trouble="{trouble}"}}') == 1


def test_verdicts_are_kept_in_redis_and_answered_without_clamd(antivirus: Antivirus, tmp_path: Path) -> None:
    port, redis_port = free_ports(2)
    (tmp_path / "password").write_text("not-so-secret")
    settings = {
        "clamd": {"addresses": [f"{LOOPBACK}:{port}"], "connect_seconds": 1},
        "check_seconds": 600,
        "cache": {"host": LOOPBACK, "port": redis_port, "password_file": str(tmp_path / "password")},
    }
    clean = os.urandom(100_000)
    with (
        running_redis(redis_port, "not-so-secret"),
        running_clamd(tmp_path / "clamd", antivirus.databases, port) as clamd,
        running_worker(tmp_path / "worker", settings) as worker,
    ):
        digests = {hashlib.sha256(content).hexdigest(): content for content in (clean, EICAR)}
        assert {worker.request("GET", f"/v1/verdicts/{digest}")[0] for digest in digests} == {404}
        verdicts = {digest: worker.scan(content)[1]["verdict"] for digest, content in digests.items()}
        clamd.kill()
        for digest, verdict in verdicts.items():
            status, answer, _ = worker.request("GET", f"/v1/verdicts/{digest}")
            assert (status, answer["verdict"], answer["source"]) == (200, verdict, "cache")
        assert sorted(verdicts.values()) == ["clean", "infected"]


def test_without_redis_files_are_scanned_all_the_same(antivirus: Antivirus, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    with running_worker(tmp_path, antivirus.settings(cache={"host": LOOPBACK, "port": nobody, "timeout_seconds": 0.2})) as worker:
        begun = time.monotonic()
        assert worker.scan(EICAR)[1]["verdict"] == "infected"
        assert worker.request("GET", f"/v1/verdicts/{'0' * 64}")[0] == 404
        assert time.monotonic() - begun < 5
        assert worker.metric("scan_worker_cache_errors_total") == 2


def test_new_signatures_count_without_a_restart_and_end_old_verdicts(tmp_path: Path) -> None:
    (redis_port,) = free_ports(1)
    (tmp_path / "password").write_text("not-so-secret")
    cache = {"host": LOOPBACK, "port": redis_port, "password_file": str(tmp_path / "password")}
    content = b"before" + NEW
    digest = hashlib.sha256(content).hexdigest()
    with (
        running_redis(redis_port, "not-so-secret"),
        running_antivirus(tmp_path / "av") as antivirus,
        running_worker(tmp_path / "worker", antivirus.settings(cache=cache)) as worker,
    ):
        assert worker.scan(content)[1]["verdict"] == "clean"
        assert worker.request("GET", f"/v1/verdicts/{digest}")[1]["verdict"] == "clean"
        before = state_of(antivirus.mirror)
        publish(antivirus.mirror, write_bundle(tmp_path / "newer", ndb("Test.New", NEW)))
        assert state_of(antivirus.mirror) != before
        load(antivirus.mirror, antivirus.databases)
        reload(antivirus.clamd_port)
        wait_for(lambda: worker.request("GET", f"/v1/verdicts/{digest}")[0] == 404, 20, "the old verdict to count no more")
        assert worker.scan(content)[1]["signature"] == "Test.New.UNOFFICIAL"
        assert worker.request("GET", f"/v1/verdicts/{digest}")[1]["signature"] == "Test.New.UNOFFICIAL"


def test_while_clamd_differ_in_their_signatures_no_kept_verdict_is_used(antivirus: Antivirus, tmp_path: Path) -> None:
    port, redis_port = free_ports(2)
    mirror, other = tmp_path / "mirror", tmp_path / "databases"
    publish(mirror, write_bundle(tmp_path / "bundle", ndb("Test.New", NEW)))
    load(mirror, other)
    settings = {
        "clamd": {"addresses": [f"{LOOPBACK}:{antivirus.clamd_port}", f"{LOOPBACK}:{port}"]},
        "cache": {"host": LOOPBACK, "port": redis_port},
    }
    with running_redis(redis_port, ""), running_clamd(tmp_path / "clamd", other, port), running_worker(tmp_path / "w", settings) as worker:
        wait_for(lambda: worker.metric(f'scan_worker_engine_up{{address="{LOOPBACK}:{port}",engine="clamav"}}') == 1, 10, "both clamd")
        assert worker.scan(b"known to one")[1]["verdict"] == "clean"
        assert worker.request("GET", f"/v1/verdicts/{hashlib.sha256(b'known to one').hexdigest()}")[0] == 404
        assert worker.metric('scan_worker_signatures_known{engine="clamav"}') == 0


def test_people_may_allow_a_file_by_its_hash_without_a_restart(antivirus: Antivirus, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("# none so far\n")
    with running_worker(tmp_path / "worker", antivirus.settings(allow_list_file=str(allowed))) as worker:
        assert worker.scan(EICAR)[1]["verdict"] == "infected"
        allowed.write_text(f"{hashlib.sha256(EICAR).hexdigest()}  # a test file\n")
        status, answer = worker.scan(EICAR)
        assert (status, answer["verdict"], answer["source"]) == (200, "clean", "allowed")
        assert worker.request("GET", f"/v1/verdicts/{hashlib.sha256(EICAR).hexdigest()}")[1]["source"] == "allowed"
        assert worker.scan(OWN)[1]["verdict"] == "infected"


def test_the_log_names_files_and_holds_neither_content_nor_tokens(worker: Worker) -> None:
    worker.scan(OWN + b" with something private")
    raw(worker, HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nprivate\r\n")
    found = [line for line in worker.log() if line.get("sha256") == hashlib.sha256(OWN + b" with something private").hexdigest()]
    assert [(line["verdict"], line["signature"], line["level"]) for line in found] == [("infected", "Test.Own.UNOFFICIAL", "warning")]
    assert "private" not in worker.program.output()
    assert TOKEN not in worker.program.output()


def test_200_files_at_once_are_all_scanned_in_little_memory(
    antivirus: Antivirus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = antivirus.settings(concurrency={"scans": 10, "queue": 200, "queue_seconds": 120})
    size = 2 * 1024 * 1024
    with running_worker(tmp_path, settings) as worker:
        idle = worker.memory_mib()
        contents = [os.urandom(size) + (OWN if number % 10 == 0 else b"") for number in range(200)]

        def scan(content: bytes) -> tuple[float, str]:
            begun = time.monotonic()
            status, answer = worker.scan(content)
            assert status == 200, answer
            return time.monotonic() - begun, answer["verdict"]

        begun = time.monotonic()
        with ThreadPoolExecutor(200) as pool:
            results = list(pool.map(scan, contents))
        seconds = time.monotonic() - begun
        assert [verdict for _, verdict in results] == ["infected" if number % 10 == 0 else "clean" for number in range(200)]
        p95 = sorted(taken for taken, _ in results)[189]
        with capsys.disabled():
            print(
                f"\n200 files of 2 MiB at once: {200 / seconds:.0f} files/s, {400 / seconds:.0f} MiB/s, p95 {p95:.1f} s,"
                f" scan worker at most {worker.memory_mib():.0f} MiB, idle {idle:.0f} MiB"
            )
        assert worker.memory_mib() < 150
