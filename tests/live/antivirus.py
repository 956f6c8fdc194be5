"""The antivirus programs on loopback: clamd and c-icap of Debian, the signature mirror, the scan worker, and a database for tests."""

import hashlib
import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running
from tests.live.programs import installed, made, redis_program

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-live-tests"
MAX_BYTES = 50 * 1024 * 1024

# Not in one piece, so that no scanner takes this file for what it is.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
OWN = b"a string that only the signature of these tests knows: 8d1f60c2"
"""Matched wherever it stands."""
NEW = b"a string that no signature knows at first: 27ab9e11"


def services_python() -> str:
    """The Python with what the image of the scan worker has; without it, skip the test and say why."""
    return made(ROOT / ".venv-scan-worker" / "bin" / "python")


def ndb(name: str, text: bytes) -> str:
    """A signature in ClamAV's .ndb format: any file that has the text anywhere."""
    return f"{name}:0:*:{text.hex()}\n"


def hdb(name: str, content: bytes) -> str:
    """A signature in ClamAV's .hdb format: a file of exactly this content."""
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}:{len(content)}:{name}\n"


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def encrypted_zip() -> bytes:
    """An archive whose only file says that it is encrypted (APPNOTE.TXT 4.4.4, bit 0 of the flags), in both of its headers."""
    archive = bytearray(zipped({"secret.txt": b"what nobody can look into"}))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(archive)


def write_bundle(folder: Path, *extra: str) -> Path:
    """A folder with the tests' databases: EICAR by hash, a string of our own, and more lines of .ndb."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.hdb").write_text(hdb("Test.Eicar", EICAR))
    (folder / "test.ndb").write_text(ndb("Test.Own", OWN) + "".join(extra))
    return folder


def publish(mirror: Path, bundle: Path) -> str:
    """Publish a bundle by the mirror's program, and return what it has said."""
    command: list[str | Path] = [
        services_python(),
        "-m",
        "services.signature_mirror",
        "update",
        str(mirror),
        "--from",
        str(bundle),
        "--settle",
        "0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


CLAMD = {
    "Foreground": "yes",
    "LogTime": "yes",
    "StreamMaxLength": MAX_BYTES,
    # As large as MaxScanSize: of a file in a zip archive that is larger, clamd scans the beginning and says nothing of the rest.
    "MaxFileSize": 4 * MAX_BYTES,
    "MaxScanSize": 4 * MAX_BYTES,
    "MaxScanTime": 60000,
    "MaxThreads": 10,
    "MaxQueue": 200,
    "AlertExceedsMax": "yes",
    "AlertEncrypted": "yes",
    "ConcurrentDatabaseReload": "yes",
    "SelfCheck": 600,
    "IdleTimeout": 60,
    "ReadTimeout": 30,
    "CommandReadTimeout": 30,
}


@contextmanager
def running_clamd(folder: Path, databases: Path, port: int, **settings: object) -> Iterator[Program]:
    """A clamd that answers on a port, with the settings that the platform renders and others."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    own = {"TCPSocket": port, "TCPAddr": LOOPBACK, "DatabaseDirectory": databases, "TemporaryDirectory": folder / "tmp"}
    text = "".join(f"{key} {value}\n" for key, value in {**CLAMD, **own, **settings}.items())
    (folder / "clamd.conf").write_text(text)
    with running([installed("clamd"), "--config-file", folder / "clamd.conf"], name="clamd") as clamd:
        clamd.ready(lambda: accepts_connections(port) or True, 30)
        yield clamd


@contextmanager
def running_redis(port: int, password: str) -> Iterator[Program]:
    """A Redis with a password."""
    server = redis_program()
    command = [server, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--requirepass", password]
    with running(command, name="redis") as redis:
        redis.ready(lambda: accepts_connections(port) or True, 20)
        yield redis


@frozen
class Worker:
    """A scan worker."""

    program: Program
    port: int

    def request(
        self, method: str, path: str, body: bytes | None = None, token: str | None = TOKEN, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON or text, and headers of an answer."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=120)) as connection:
            given = {"Authorization": f"Bearer {token}"} if token is not None else {}
            connection.request(method, path, body, {**given, **(headers or {})})
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(text) if is_json else text.decode(), dict(response.headers)

    def scan(self, content: bytes) -> tuple[int, Any]:
        """Have a file scanned."""
        status, answer, _ = self.request("POST", "/v1/scan", content)
        return status, answer

    def metric(self, line: str) -> float:
        """The value of one line of /metrics, e.g. `scan_worker_queue`. Raises LookupError if there is none."""
        text = str(self.request("GET", "/metrics")[1])
        match = re.search(rf"^{re.escape(line)} (\S+)$", text, flags=re.MULTILINE)
        if match is None:
            raise LookupError(line)
        return float(match[1])

    def is_ready(self) -> bool:
        """Whether it says so."""
        return self.request("GET", "/ready")[0] == 200

    def memory_mib(self, name: str = "VmHWM") -> float:
        """The most memory that it has had resident, in MiB."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def log(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.program.output().splitlines() if line.startswith("{")]


@contextmanager
def running_worker(folder: Path, settings: Mapping[str, Any], ready: bool = True) -> Iterator[Worker]:
    """A scan worker with settings, the token's file and the port added."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(TOKEN + "\n")
    (port,) = free_ports(1)
    own = {"token_file": str(folder / "token"), "max_bytes": MAX_BYTES, "listen": {"host": LOOPBACK, "port": port}, "check_seconds": 0.2}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**own, **settings}))
    command: list[str | Path] = [services_python(), "-m", "services.scan_worker", folder / "settings.yaml"]
    with running(command, name="scan-worker", folder=ROOT) as started:
        worker = Worker(started, port)
        started.ready(lambda: accepts_connections(port) or True, 20)
        if ready:
            started.ready(worker.is_ready, 20)
        yield worker


@contextmanager
def running_mirror(folder: Path) -> Iterator[str]:
    """The mirror's server; its address."""
    (port,) = free_ports(1)
    command: list[str | Path] = [
        services_python(), "-m", "services.signature_mirror", "serve", folder, "--host", LOOPBACK, "--port", str(port),
    ]  # fmt: skip
    with running(command, name="signature-mirror", folder=ROOT) as server:
        server.ready(lambda: accepts_connections(port) or True, 20)
        yield f"http://{LOOPBACK}:{port}"


def state_of(mirror: Path) -> str:
    """The digest of what a mirror has published."""
    return str(json.loads((mirror / "public" / "databases.json").read_text())["digest"])


def load(mirror: Path, databases: Path) -> None:
    """Copy what a mirror serves to where a clamd takes its databases from, as freshclam would."""
    databases.mkdir(parents=True, exist_ok=True)
    for path in (mirror / "public").iterdir():
        if path.suffix != ".json":
            shutil.copy(path, databases / path.name)


def reload(port: int) -> None:
    """Tell a clamd to load its databases again."""
    with socket.create_connection((LOOPBACK, port), 10) as connection:
        connection.sendall(b"zRELOAD\0")
        assert connection.recv(100) == b"RELOADING\0"


@frozen
class Antivirus:
    """A mirror's folder, a clamd with what it has published, and the port of clamd."""

    mirror: Path
    databases: Path
    clamd_port: int
    folder: Path
    clamd: Program

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of a scan worker that uses this clamd."""
        return {"clamd": {"addresses": [f"{LOOPBACK}:{self.clamd_port}"], "connect_seconds": 1}, **more}


@contextmanager
def running_antivirus(folder: Path, **clamd_settings: object) -> Iterator[Antivirus]:
    """Clamd with the tests' databases, as the mirror publishes them."""
    mirror, databases = folder / "mirror", folder / "databases"
    publish(mirror, write_bundle(folder / "bundle"))
    load(mirror, databases)
    (port,) = free_ports(1)
    with running_clamd(folder / "clamd", databases, port, **clamd_settings) as clamd:
        yield Antivirus(mirror, databases, port, folder, clamd)
