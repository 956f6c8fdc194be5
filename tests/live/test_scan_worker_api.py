"""The scan worker's HTTP API against its own description, with requests that schemathesis makes up."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from services.scan_worker.server import openapi_document
from tests.live.antivirus import OWN, TOKEN, Worker, running_antivirus, running_redis, running_worker
from tests.live.processes import LOOPBACK, free_ports
from tests.live.synapse_site import synapse_python

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder, (redis_port,) = tmp_path_factory.mktemp("worker"), free_ports(1)
    cache = {"host": LOOPBACK, "port": redis_port}
    with (
        running_redis(redis_port, ""),
        running_antivirus(folder / "antivirus") as antivirus,
        running_worker(folder / "worker", antivirus.settings(cache=cache)) as started,
    ):
        yield started


def schemathesis(worker: Worker, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "openapi.yaml").write_text(yaml.safe_dump(openapi_document()))
    program = Path(synapse_python()).parent / "schemathesis"
    command = [str(program), "run", str(folder / "openapi.yaml"), "--url", f"http://{LOOPBACK}:{worker.port}", "--seed", "1", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)


def test_no_made_up_request_gets_an_answer_that_the_description_does_not_know(worker: Worker, tmp_path: Path) -> None:
    done = schemathesis(worker, tmp_path, "--header", f"Authorization: Bearer {TOKEN}", "--max-examples", "40", "--checks", "all")
    assert done.returncode == 0, done.stdout[-6000:]
    assert worker.metric("scan_worker_bytes_total") > 0
    assert worker.scan(OWN)[1]["verdict"] == "infected"
    assert [line for line in worker.log() if line["level"] == "error"] == []


def test_without_a_token_every_made_up_request_is_refused(worker: Worker, tmp_path: Path) -> None:
    before = worker.metric("scan_worker_bytes_total")
    done = schemathesis(worker, tmp_path, "--include-path-regex", "^/v1/", "--max-examples", "20", "--checks", "not_a_server_error")
    assert done.returncode == 0, done.stdout[-6000:]
    assert worker.metric("scan_worker_bytes_total") == before
    assert worker.metric('scan_worker_refused_total{reason="unauthorized"}') > 20


def test_every_route_is_described_and_every_description_is_a_route(worker: Worker) -> None:
    described = {(path, method.upper()) for path, methods in openapi_document()["paths"].items() for method in methods}
    for path, method in described:
        assert worker.request(method, path.replace("{sha256}", "0" * 64), b"" if method == "POST" else None)[0] in (200, 404)
    assert worker.request("GET", "/openapi.json")[1] == openapi_document()
    assert worker.request("DELETE", "/v1/scan")[0] == 405
    assert worker.request("GET", "/v2/scan", token=None)[0] == 404
