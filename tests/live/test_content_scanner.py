"""Encrypted files are scanned on download: a real matrix-content-scanner, our script, scan workers and clamd, and Synapse with the module."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.live.antivirus import EICAR, MAX_BYTES, TOKEN, Worker, running_antivirus, running_worker
from tests.live.content_scanner import decrypt, encrypt, running_scanner, scanner_python, sealed
from tests.live.homeservers import Homeserver, running_homeserver
from tests.live.processes import LOOPBACK, Program

pytestmark = [pytest.mark.live, pytest.mark.optional]


@frozen
class Site:
    homeserver: Homeserver
    worker: Worker
    clamd: Program
    scanner: Program
    port: int
    folder: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """An answer of the media proxy to alice."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=90)) as connection:
            headers = {"Authorization": f"Bearer {self.homeserver.tokens['alice']}", "Content-Type": "application/json"}
            connection.request(method, f"/_matrix/media_proxy/unstable/{path}", json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def send(self, content: bytes) -> tuple[dict[str, Any], bytes]:
        """Upload an encrypted file: the `file` of its event, and the ciphertext."""
        ciphertext, file = encrypt(content)
        status, answer = self.homeserver.upload(ciphertext)
        assert status == 200, answer
        return {"file": {**file, "url": answer["content_uri"]}}, ciphertext


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    scanner_python()
    folder = tmp_path_factory.mktemp("site")
    (folder / "scan-token").write_text(TOKEN)
    with running_antivirus(folder / "antivirus") as antivirus, running_worker(folder / "worker", antivirus.settings()) as worker:
        config = {"url": f"http://{LOOPBACK}:{worker.port}", "token_file": str(folder / "scan-token"), "max_bytes": MAX_BYTES}
        modules = [{"module": "services.synapse_antivirus.module.Antivirus", "config": config}]
        with (
            running_homeserver(folder / "synapse", modules=modules) as homeserver,
            running_scanner(folder / "scanner", f"http://{LOOPBACK}:{homeserver.port}", f"http://{LOOPBACK}:{worker.port}") as (
                scanner,
                port,
            ),
        ):
            yield Site(homeserver, worker, antivirus.clamd, scanner, port, folder)


def test_encrypted_malware_passes_the_upload_and_is_refused_on_download(site: Site) -> None:
    event, ciphertext = site.send(EICAR)
    assert site.homeserver.download(event["file"]["url"]) == (200, ciphertext)
    status, answer = site.ask("POST", "download_encrypted", event)
    assert (status, json.loads(answer)["reason"]) == (403, "MCS_MEDIA_NOT_CLEAN")
    status, answer = site.ask("POST", "scan_encrypted", event)
    assert (status, json.loads(answer)["clean"]) == (200, False)


@pytest.mark.parametrize("size", [1, 100_000, 45 * 1024 * 1024])
def test_a_clean_encrypted_file_is_delivered_byte_for_byte(site: Site, size: int) -> None:
    content = os.urandom(size)
    event, ciphertext = site.send(content)
    status, body = site.ask("POST", "download_encrypted", event)
    assert (status, body == ciphertext) == (200, True)
    assert decrypt(body, event["file"]) == content


def test_the_key_of_a_file_may_be_sent_so_that_the_scanner_alone_reads_it(site: Site) -> None:
    public_key = json.loads(site.ask("GET", "public_key")[1])["public_key"]
    for content, expected in ((b"harmless", 200), (EICAR, 403)):
        event, _ = site.send(content)
        assert site.ask("POST", "download_encrypted", sealed(event, public_key))[0] == expected


def test_plain_files_can_be_asked_for_too(site: Site) -> None:
    uri = site.homeserver.upload(b"harmless")[1]["content_uri"].removeprefix("mxc://")
    assert site.ask("GET", f"download/{uri}") == (200, b"harmless")
    assert json.loads(site.ask("GET", f"scan/{uri}")[1])["clean"] is True


def test_nothing_that_was_decrypted_stays_on_disk(site: Site) -> None:
    event, _ = site.send(b"private words")
    assert site.ask("POST", "download_encrypted", event)[0] == 200
    assert [path for path in (site.folder / "scanner" / "tmp").rglob("*") if path.is_file()] == []
    assert "private words" not in site.scanner.output()
    assert TOKEN not in site.scanner.output()


def test_how_much_memory_the_scanner_takes_is_known(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    status = Path(f"/proc/{site.scanner.process.pid}/status").read_text()
    most = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    with capsys.disabled():
        print(f"\nmatrix-content-scanner has taken at most {most:.0f} MiB, for single files of up to 45 MiB")
    assert most < 600


def test_without_clamd_nothing_is_given_out(site: Site) -> None:
    event, _ = site.send(b"harmless")
    assert site.ask("POST", "download_encrypted", event)[0] == 200
    site.clamd.kill()
    assert site.ask("POST", "download_encrypted", event)[0] == 403
