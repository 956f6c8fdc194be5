"""The signature mirror with real freshclam and clamd, and cvdupdate with stand-ins for ClamAV's DNS and servers."""

import hashlib
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.antivirus import (
    EICAR,
    NEW,
    OWN,
    ROOT,
    ndb,
    publish,
    running_clamd,
    running_mirror,
    running_worker,
    services_python,
    state_of,
    write_bundle,
)
from tests.live.processes import LOOPBACK, free_ports, wait_for
from tests.live.programs import installed
from tests.live.servers import HttpHandler, serving

pytestmark = pytest.mark.live

FILES = ("test.hdb", "test.ndb", "platform.hsb")
"""In the order in which freshclam fetches them: the platform's own signature last."""


def freshclam(
    folder: Path, databases: Path, mirror: str, clamd: Path | None = None, official: bool = False
) -> subprocess.CompletedProcess[str]:
    """One run of freshclam as the pods do it, but without ClamAV's own databases, which only ClamAV can sign."""
    databases.mkdir(parents=True, exist_ok=True)
    lines = [
        f"DatabaseDirectory {databases}",
        "DatabaseOwner root",
        f"PrivateMirror {mirror}",
        "ConnectTimeout 10",
        "ReceiveTimeout 60",
        "MaxAttempts 1",
        "TestDatabases no",
        *(f"ExcludeDatabase {name}" for name in ("main", "daily", "bytecode") if not official),
        *(f"DatabaseCustomURL {mirror}/{name}" for name in FILES),
        *([f"NotifyClamd {clamd}"] if clamd else []),
    ]
    (folder / "freshclam.conf").write_text("\n".join(lines) + "\n")
    command = [installed("freshclam"), "--config-file", str(folder / "freshclam.conf"), "--stdout"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_before_the_first_signatures_the_mirror_runs_and_freshclam_comes_back_later(tmp_path: Path) -> None:
    mirror, databases = tmp_path / "mirror", tmp_path / "databases"
    with running_mirror(mirror) as url:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/signatures", timeout=10)
        assert freshclam(tmp_path, databases, url).returncode != 0
        assert not [path for path in databases.iterdir() if path.suffix in (".hdb", ".ndb", ".hsb")]
        publish(mirror, write_bundle(tmp_path / "bundle"))
        done = freshclam(tmp_path, databases, url)
        assert done.returncode == 0, done.stdout
        assert {name for name in FILES if (databases / name).exists()} == set(FILES)


def test_without_the_official_databases_freshclam_fails_and_does_not_say_that_it_is_current(tmp_path: Path) -> None:
    mirror, databases = tmp_path / "mirror", tmp_path / "databases"
    publish(mirror, write_bundle(tmp_path / "bundle"))
    with running_mirror(mirror) as url:
        assert freshclam(tmp_path, databases, url, official=True).returncode != 0
        assert not (databases / "platform.hsb").exists()


def test_a_new_signature_goes_from_the_bundle_to_a_running_clamd_without_a_restart(tmp_path: Path) -> None:
    mirror, databases, (port,) = tmp_path / "mirror", tmp_path / "databases", free_ports(1)
    publish(mirror, write_bundle(tmp_path / "bundle"))
    with running_mirror(mirror) as url:
        assert freshclam(tmp_path, databases, url).returncode == 0
        settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
        with running_clamd(tmp_path / "clamd", databases, port) as clamd, running_worker(tmp_path / "worker", settings) as worker:
            assert [worker.scan(content)[1]["verdict"] for content in (EICAR, NEW)] == ["infected", "clean"]
            publish(mirror, write_bundle(tmp_path / "newer", ndb("Test.New", NEW)))
            time.sleep(1.1)  # HTTP's times are whole seconds: freshclam fetches once more what was published in the second of its last run
            done = freshclam(tmp_path, databases, url, tmp_path / "clamd" / "clamd.conf")
            assert "Clamd successfully notified" in done.stdout, done.stdout
            wait_for(lambda: worker.scan(NEW)[1]["verdict"] == "infected", 20, "clamd to use the new signature")
            assert clamd.process.poll() is None
            assert state_of(mirror) in (databases / "platform.hsb").read_text()
            # Nothing new: nothing is fetched.
            assert "notified" not in freshclam(tmp_path, databases, url, tmp_path / "clamd" / "clamd.conf").stdout


def test_a_broken_signature_does_not_end_the_protection(tmp_path: Path) -> None:
    mirror, databases, (port,) = tmp_path / "mirror", tmp_path / "databases", free_ports(1)
    publish(mirror, write_bundle(tmp_path / "bundle"))
    with running_mirror(mirror) as url:
        assert freshclam(tmp_path, databases, url).returncode == 0
        settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
        with running_clamd(tmp_path / "clamd", databases, port) as clamd, running_worker(tmp_path / "worker", settings) as worker:
            publish(mirror, write_bundle(tmp_path / "broken", "this is: no signature\n"))
            freshclam(tmp_path, databases, url, tmp_path / "clamd" / "clamd.conf")
            wait_for(lambda: "reload" in clamd.output().lower(), 20, "clamd to be told")
            assert [worker.scan(content)[1]["verdict"] for content in (EICAR, OWN)] == ["infected", "infected"]
            assert clamd.process.poll() is None


def test_nothing_but_what_is_published_can_be_fetched(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    publish(mirror, write_bundle(tmp_path / "bundle"))
    (mirror / "secret").write_text("not served")
    (mirror / "public" / "link.ndb").symlink_to(mirror / "secret")
    with running_mirror(mirror) as url:
        port = int(url.rsplit(":", 1)[1])
        for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/link.ndb", "/.test.hdb.new", "/", "//etc/passwd"):
            with socket.create_connection((LOOPBACK, port), 10) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                assert connection.recv(100).split()[1] == b"404", path


def cvd(version: int, content: bytes, made: int) -> bytes:
    """A database in ClamAV's format, which only its signature would tell from a real one."""
    header = f"ClamAV-VDB:25 Nov 2026 08-23 -0000:{version}:1:90:{hashlib.md5(content, usedforsecurity=False).hexdigest()}:sig:tests:{made}"
    return header.encode().ljust(512) + content


@contextmanager
def clamav_dns(address: str, text: str) -> Iterator[None]:
    """A DNS server that answers every question with one TXT record."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind((address, 53))
    except PermissionError:
        pytest.skip("only root may answer DNS on its port")

    def serve() -> None:
        while True:
            try:
                question, sender = server.recvfrom(512)
            except OSError:
                return
            end = question.index(b"\0", 12) + 5
            record = b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c" + (len(text) + 1).to_bytes(2, "big") + bytes([len(text)]) + text.encode()
            server.sendto(question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:end] + record, sender)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.close()


@contextmanager
def clamav_servers(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A web server with databases: its address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(HttpHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = files.get(self.path.partition("?")[0])
            self.answer(404 if content is None else 200, content or b"")

    with serving(Handler) as port:
        yield f"http://{LOOPBACK}:{port}", asked


def update(mirror: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [services_python(), "-m", "services.signature_mirror", "update", str(mirror), "--settle", "0", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_mirror_fetches_what_clamavs_dns_announces_and_only_that(tmp_path: Path) -> None:
    mirror, address = tmp_path / "mirror", "127.53.0.7"
    names = {"main.cvd": (1, 62), "daily.cvd": (2, 27500), "bytecode.cvd": (7, 335)}
    files = {f"/{name}": cvd(version, name.encode() * 100, 1_795_000_000 + version) for name, (_, version) in names.items()}
    with clamav_servers(files) as (url, asked):
        unknown = {"retry after": 0, "last modified": 0, "last checked": 0, "local version": 0, "CDIFFs": []}
        databases = {name: {**unknown, "url": f"{url}/{name}", "DNS field": field} for name, (field, _) in names.items()}
        (mirror / "download").mkdir(parents=True)
        (mirror / "download" / "state.json").write_text(json.dumps({"dbs": databases, "uuid": "tests"}))
        with clamav_dns(address, "1.5.2:62:27500:1795000000:1:90:49192:335"):
            done = update(mirror, "--nameserver", address)
            assert done.returncode == 0, done.stdout + done.stderr
            assert {path.name for path in (mirror / "public").glob("*.cvd")} == set(names)
            assert ".1795027500." in (mirror / "public" / "platform.hsb").read_text()
            fetched, before = len(asked), state_of(mirror)
            assert update(mirror, "--nameserver", address).returncode == 0
            assert not [path for path in asked[fetched:] if ".cvd" in path and ".sign" not in path]
            assert state_of(mirror) == before
        # ClamAV cannot be reached: what there is stays, and the run says so.
        done = update(mirror, "--nameserver", "127.53.0.8")
        assert (done.returncode, "FAILED" in done.stderr) == (1, True)
        assert state_of(mirror) == before


def test_a_database_that_came_half_is_not_published(tmp_path: Path) -> None:
    mirror, bundle = tmp_path / "mirror", tmp_path / "bundle"
    bundle.mkdir()
    whole = cvd(1, b"x" * 10_000, 1_795_000_000)
    (bundle / "daily.cvd").write_bytes(whole)
    assert update(mirror, "--from", str(bundle)).returncode == 0
    (bundle / "daily.cvd").write_bytes(cvd(2, b"y" * 10_000, 1_795_000_001)[:-1])
    done = update(mirror, "--from", str(bundle))
    assert (done.returncode, "daily.cvd is not whole" in done.stderr) == (1, True)
    assert (mirror / "public" / "daily.cvd").read_bytes() == whole
