"""A real MinIO on 127.0.0.1, built once with Go."""

import contextlib
import http.client
import shutil
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from tests.live.processes import LOOPBACK, Program, free_ports, running
from tests.live.programs import chosen

ROOT_USER, ROOT_PASSWORD = "root", "root-password-of-the-test"

_REPOSITORY = Path(__file__).parents[2]
_BUILD_SECONDS = 900


@frozen
class Minio:
    """A running server: its process, and where it listens."""

    program: Program
    port: int
    scheme: str = "http"

    @property
    def endpoint(self) -> str:
        """As an S3 client wants it."""
        return f"{self.scheme}://{LOOPBACK}:{self.port}"

    def health(self) -> Mapping[str, str] | None:
        """The headers of the answer when enough drives are online to write, else None."""
        context = ssl._create_unverified_context() if self.scheme == "https" else None
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=5, context=context) if context else None
        with contextlib.closing(connection or http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)) as asked:
            asked.request("GET", "/minio/health/cluster")
            answer = asked.getresponse()
            return dict(answer.getheaders()) if answer.status == 200 else None


def minio_program() -> Path:
    """The server: `$MINIO`, `.tools/minio/minio` or `minio` on the path. Skips the test, saying how to get it, where there is none."""
    others = [_REPOSITORY / ".tools" / "minio" / "minio", shutil.which("minio")]
    return Path(chosen("MINIO", others, "MinIO, which Go builds in about ten minutes: make minio"))


@contextlib.contextmanager
def minio_process(
    program: Path,
    folder: Path,
    *,
    drives: int = 4,
    port: int | None = None,
    certificates: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Minio]:
    """Run a server with `drives` folders as its drives. It is not waited for. `certificates`: a folder with public.crt and private.key."""
    port = port or free_ports(1)[0]
    command: list[str | Path] = [program, "server", "--quiet", "--address", f"{LOOPBACK}:{port}"]
    command += ["--certs-dir", certificates] if certificates else []
    settings = {"MINIO_ROOT_USER": ROOT_USER, "MINIO_ROOT_PASSWORD": ROOT_PASSWORD, "MINIO_BROWSER": "off"}
    # Without this MinIO refuses drives on the file system of the machine itself (cmd/xl-storage.go).
    settings |= {"MINIO_CI_CD": "1", **(environment or {})}
    with running([*command, f"{folder}/drive{{1...{drives}}}"], name="minio", environment=settings) as process:
        yield Minio(process, port, "https" if certificates else "http")


@contextlib.contextmanager
def running_minio(
    program: Path, folder: Path, *, drives: int = 4, certificates: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Minio]:
    """Run a server and wait until it can write."""
    with minio_process(program, folder, drives=drives, certificates=certificates, environment=environment) as minio:
        minio.program.ready(minio.health, 60)
        yield minio
