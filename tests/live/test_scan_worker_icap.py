"""Other engines by ICAP: a real c-icap with its antivirus service, alone and beside clamd."""

import hashlib
import os
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.live.antivirus import (
    EICAR,
    NEW,
    OWN,
    Antivirus,
    load,
    ndb,
    publish,
    reload,
    running_antivirus,
    running_clamd,
    running_redis,
    running_worker,
    write_bundle,
)
from tests.live.processes import LOOPBACK, accepts_connections, free_ports, running, wait_for
from tests.live.programs import installed
from tests.live.servers import serving

pytestmark = pytest.mark.live

C_ICAP = """
PidFile {folder}/pid
CommandsSocket {folder}/commands
Timeout 30
MaxKeepAliveRequests 100
KeepAliveTimeout 60
StartServers 1
MaxServers 2
MinSpareThreads 5
MaxSpareThreads 10
ThreadsPerChild 10
MaxRequestsPerChild 0
Port {port}
User root
Group root
ServerAdmin nobody@example.org
ServerName {host}
TmpDir {folder}
MaxMemObject 131072
DebugLevel 1
ModulesDir /usr/lib/x86_64-linux-gnu/c_icap
ServicesDir /usr/lib/x86_64-linux-gnu/c_icap
TemplateDir /usr/share/c_icap/templates/
TemplateDefaultLanguage en
LoadMagicFile /etc/c-icap/c-icap.magic
RemoteProxyUsers off
ServerLog {folder}/server.log
AccessLog {folder}/access.log
Service antivirus_module virus_scan.so
ServiceAlias srv_clamav virus_scan
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.SendPercentData 5
virus_scan.StartSendPercentDataAfter {after}
virus_scan.MaxObjectSize 60M
virus_scan.PassOnError off
virus_scan.DefaultEngine clamd
Module common clamd_mod.so
clamd_mod.ClamdHost {host}
clamd_mod.ClamdPort {clamd}
"""


@contextmanager
def running_c_icap(folder: Path, clamd_port: int, after: str = "60M") -> Iterator[str]:
    """c-icap's antivirus service, which asks a clamd of its own; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    (folder / "c-icap.conf").write_text(C_ICAP.format(folder=folder, host=LOOPBACK, port=port, clamd=clamd_port, after=after))
    with running([installed("c-icap"), "-N", "-f", folder / "c-icap.conf"], name="c-icap") as server:
        server.ready(lambda: accepts_connections(port) or True, 30)
        yield f"icap://{LOOPBACK}:{port}/srv_clamav"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Antivirus]:
    """The clamd behind c-icap."""
    with running_antivirus(tmp_path_factory.mktemp("other")) as started:
        yield started


def icap(url: str) -> dict[str, object]:
    return {"name": "other", "url": url, "reply_seconds": 20}


@pytest.mark.parametrize("size", [0, 10, 100_000, 20_000_000])
def test_an_icap_server_alone_finds_malware_and_passes_what_is_clean(other: Antivirus, tmp_path: Path, size: int) -> None:
    with running_c_icap(tmp_path / "icap", other.clamd_port) as url, running_worker(tmp_path / "worker", {"icap": [icap(url)]}) as worker:
        status, answer = worker.scan(os.urandom(size))
        assert (status, answer["verdict"]) == (200, "clean"), answer
        status, answer = worker.scan(os.urandom(size) + OWN)
        assert (answer["verdict"], answer["signature"], answer["engine"]) == ("infected", "Test.Own.UNOFFICIAL", "other")


def test_what_only_one_of_two_engines_finds_is_refused(other: Antivirus, tmp_path: Path) -> None:
    mirror, databases, (port,) = tmp_path / "mirror", tmp_path / "databases", free_ports(1)
    publish(mirror, write_bundle(tmp_path / "bundle", ndb("Test.New", NEW)))
    load(mirror, databases)
    settings = {"clamd": {"addresses": [f"{LOOPBACK}:{port}"]}}
    with (
        running_clamd(tmp_path / "clamd", databases, port),
        running_c_icap(tmp_path / "icap", other.clamd_port) as url,
        running_worker(tmp_path / "worker", {**settings, "icap": [icap(url)]}) as worker,
        running_worker(tmp_path / "reverse", {**other.settings(), "icap": [icap(url)]}) as both_old,
    ):
        assert worker.scan(NEW)[1]["engine"] == "clamav"
        assert both_old.scan(NEW)[1]["verdict"] == "clean"
        assert worker.scan(EICAR)[1]["verdict"] == "infected"
        assert worker.scan(b"harmless")[1]["verdict"] == "clean"


def test_with_one_engine_dead_clean_files_have_no_verdict_and_malware_is_still_found(other: Antivirus, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    settings = {**other.settings(), "icap": [icap(f"icap://{LOOPBACK}:{nobody}/srv_clamav")]}
    with running_worker(tmp_path, settings, ready=False) as worker:
        wait_for(lambda: worker.scan(EICAR)[0] == 200, 10, "clamd to be found")
        assert worker.scan(EICAR)[1]["engine"] == "clamav"
        assert worker.scan(b"harmless")[0] == 503
        assert not worker.is_ready()


def test_a_server_that_sends_on_before_it_has_looked_gives_no_verdict(other: Antivirus, tmp_path: Path) -> None:
    """c-icap with SendPercentData answers 200 and passes on data of large files while it still waits for clamd."""
    with (
        running_c_icap(tmp_path / "icap", other.clamd_port, after="2M") as url,
        running_worker(tmp_path / "w", {"icap": [icap(url)]}) as worker,
    ):
        status, answer = worker.scan(os.urandom(20_000_000))
        assert (status, answer.get("code")) == (503, "no_verdict"), answer


def test_verdicts_are_kept_under_the_servers_istag(other: Antivirus, tmp_path: Path) -> None:
    (redis_port,) = free_ports(1)
    digest = hashlib.sha256(b"harmless").hexdigest()
    with (
        running_redis(redis_port, ""),
        running_c_icap(tmp_path / "icap", other.clamd_port) as url,
        running_worker(tmp_path / "worker", {"icap": [icap(url)], "cache": {"host": LOOPBACK, "port": redis_port}}) as worker,
    ):
        assert worker.scan(b"harmless")[1]["source"] == "scan"
        assert worker.request("GET", f"/v1/verdicts/{digest}")[1]["source"] == "cache"


@contextmanager
def stub_icap(answer: bytes) -> Iterator[str]:
    """A server with good options that answers every file with `answer`."""

    class Icap(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                method = self.rfile.readline().partition(b" ")[0]
                while self.rfile.readline().strip():
                    pass
                if method == b"OPTIONS":
                    self.wfile.write(b'ICAP/1.0 200 OK\r\nISTag: "one"\r\nMethods: RESPMOD\r\nEncapsulated: null-body=0\r\n\r\n')
                    return
                while self.rfile.readline() not in (b"0\r\n", b""):
                    pass
                self.wfile.write(answer)

    with serving(Icap) as port:
        yield f"icap://{LOOPBACK}:{port}/av"


PAGE = b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=45\r\n%s\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "signature"),
    [
        (PAGE % b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar Test;\r\n", "Eicar Test"),
        (PAGE % b"X-Virus-ID: EICAR-AV-Test\r\n", "EICAR-AV-Test"),
        (PAGE % b"X-Violations-Found: 1\r\n\t-\r\n\tEICAR\r\n\t0\r\n\t0\r\n", "policy violation"),
        (PAGE % b"", "blocked"),
        (b"ICAP/1.0 204 No Content\r\n\r\n", None),
    ],
)
def test_each_way_in_which_servers_tell_of_malware_is_understood(tmp_path: Path, answer: bytes, signature: str | None) -> None:
    with stub_icap(answer) as url, running_worker(tmp_path, {"icap": [icap(url)]}) as worker:
        assert worker.scan(b"a file")[1].get("signature") == signature


@pytest.mark.parametrize(
    "answer",
    [
        b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n6\r\na file\r\n0\r\n\r\n",
        b"ICAP/1.0 500 Server Error\r\n\r\n",
        b"ICAP/1.0 404 Service not found\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"\x00" * 100_000,
        b"",
    ],
)
def test_any_other_answer_is_no_verdict(tmp_path: Path, answer: bytes) -> None:
    with stub_icap(answer) as url, running_worker(tmp_path, {"icap": [icap(url)]}) as worker:
        status, reply = worker.scan(b"a file")
        assert (status, reply["code"]) == (503, "no_verdict")


def test_new_signatures_behind_an_icap_server_count_at_once(tmp_path: Path) -> None:
    with (
        running_antivirus(tmp_path / "av") as own,
        running_c_icap(tmp_path / "icap", own.clamd_port) as url,
        running_worker(tmp_path / "worker", {"icap": [icap(url)]}) as worker,
    ):
        assert worker.scan(NEW)[1]["verdict"] == "clean"
        publish(own.mirror, write_bundle(tmp_path / "newer", ndb("Test.New", NEW)))
        load(own.mirror, own.databases)
        reload(own.clamd_port)
        wait_for(lambda: worker.scan(NEW)[1]["verdict"] == "infected", 20, "the new signature to be used")
