"""The real Loki with its rendered files: it takes what Alloy sends, keeps tenants apart, finds lines again, and puts them into the bucket.

Nothing but where it listens, its folder, the bucket's address and its peers are the test's own.
"""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from app.compiler import render
from app.settings import parse_site
from monitoring.grafana.board import Source
from monitoring.grafana.dashboards import BOARDS
from monitoring.loki.configuration import AUDIT, PLATFORM, TENANT_HEADER
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.homeservers import BUCKET, ObjectStorage, running_storage
from tests.live.processes import LOOPBACK, free_ports, running, wait_for
from tests.live.programs import chosen

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(300)]

SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {monitoring: true, li: true}
li:
  country_code: DE
  owner: example-operator
  officers: {anna@authority.example: Anna Adler (investigator), clara@authority.example: Clara Cohn (approver)}
"""
LINE = json.dumps({"log": "Processed request", "level": "ERROR", "request": "GET-17", "namespace": "synapse.access"})


def loki_program() -> str:
    """Loki; where it is not built, the test is skipped and says how to build it."""
    return chosen("LOKI", [ROOT / ".tools" / "loki" / "loki"], "Loki, which Go builds: make loki")


@pytest.fixture(scope="module")
def program() -> str:
    return loki_program()


def rendered(profile: int = 0) -> tuple[str, str]:
    """loki.yaml and overrides.yaml of a size."""
    files = render(parse_site(SITE), profiles()[profile]).files
    return files["config/loki/loki.yaml"], files["config/loki/overrides.yaml"]


@frozen
class Loki:
    """A running server, and its bucket."""

    port: int
    storage: ObjectStorage

    def ask(self, path: str, tenant: str | None, body: object = None, **form: str) -> tuple[int, bytes]:
        """One request of a tenant: status and body of the answer."""
        query = f"?{urllib.parse.urlencode(form)}" if form else ""
        headers = {"Content-Type": "application/json"} | ({TENANT_HEADER: tenant} if tenant else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}{query}", data, headers), timeout=30
            ) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def push(self, tenant: str | None, labels: Mapping[str, str], line: str) -> int:
        """Hand in one line of now, as Alloy does."""
        stream = {"stream": labels, "values": [[str(time.time_ns()), line]]}
        return self.ask("/loki/api/v1/push", tenant, {"streams": [stream]})[0]

    def find(self, tenant: str, expression: str) -> list[Any]:
        """What a query of LogQL finds within the last hour."""
        status, body = self.ask("/loki/api/v1/query_range", tenant, query=expression, since="1h", step="60")
        assert status == 200, body.decode()
        result: list[Any] = json.loads(body)["data"]["result"]
        return result


@contextlib.contextmanager
def running_loki(program: str, folder: Path) -> Iterator[Loki]:
    """One server, with all its parts and a bucket."""
    http, grpc, gossip = free_ports(3)
    text, overrides = rendered()
    config = yaml.safe_load(text)
    (folder / "overrides.yaml").write_text(overrides)
    (folder / "credentials").write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    config["server"] |= {
        "http_listen_address": LOOPBACK,
        "grpc_listen_address": LOOPBACK,
        "http_listen_port": http,
        "grpc_listen_port": grpc,
    }
    config["common"] |= {"path_prefix": str(folder), "instance_addr": LOOPBACK}
    config["memberlist"] |= {"bind_addr": [LOOPBACK], "bind_port": gossip, "join_members": [f"{LOOPBACK}:{gossip}"]}
    config["runtime_config"]["file"] = str(folder / "overrides.yaml")
    with running_storage() as storage:
        config["common"]["storage"]["s3"] |= {"endpoint": storage.endpoint, "bucketnames": BUCKET, "insecure": True}
        (folder / "loki.yaml").write_text(yaml.safe_dump(config))
        command = [program, f"-config.file={folder}/loki.yaml", "-target=all"]
        environment = {
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
        with running(command, name="loki", environment=environment) as process:
            server = Loki(http, storage)
            process.ready(lambda: server.ask("/ready", None)[0] == 200, 120)
            yield server


@pytest.fixture(scope="module")
def loki(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    with running_loki(program, tmp_path_factory.mktemp("loki")) as server:
        yield server


def verified(program: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "loki.yaml").write_text(text)
    command = [program, f"-config.file={folder}/loki.yaml", "-verify-config"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("profile", [0, -1])
def test_loki_accepts_its_configuration_as_it_is_rendered(profile: int, program: str, tmp_path: Path) -> None:
    checked = verified(program, rendered(profile)[0], tmp_path)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(("there", "mistake"), [("retention_enabled", "retention_on"), ("schema: v13", "schema: v99"), ("30d", "soon")])
def test_a_mistake_in_the_configuration_is_noticed(there: str, mistake: str, program: str, tmp_path: Path) -> None:
    text = rendered()[0]
    assert there in text
    assert verified(program, text.replace(there, mistake), tmp_path).returncode != 0


def test_a_line_is_found_by_its_tenant_alone_and_nobody_without_a_name_is_heard(loki: Loki) -> None:
    for tenant in (PLATFORM, AUDIT):
        assert loki.push(tenant, {"job": "tenants"}, f"a line of {tenant}") == 204
    for tenant in (PLATFORM, AUDIT):
        found = wait_for(lambda: loki.find(tenant, '{job="tenants"}'), 30, f"the line of {tenant}")  # noqa: B023
        assert [line for stream in found for _, line in stream["values"]] == [f"a line of {tenant}"]
    assert loki.push(None, {"job": "tenants"}, "a line") == 401
    assert loki.ask("/loki/api/v1/query_range", None, query='{job="tenants"}')[0] == 401


def test_every_query_of_logs_of_every_dashboard_finds_what_synapse_has_said(loki: Loki) -> None:
    labels = {"job": "pusher", "pod": "pusher-0", "namespace": "matrix", "node": "a", "container": "synapse", "level": "ERROR"}
    assert loki.push(PLATFORM, labels, LINE) == 204
    panels = [panel for board in BOARDS for panel in board.panels if panel.source is Source.LOGS]
    queries = [query.expression.replace("$worker", "(synapse|pusher)") for panel in panels for query in panel.queries]
    assert len(queries) >= 2
    wait_for(lambda: loki.find(PLATFORM, '{job="pusher"}'), 30, "the line")
    assert [query for query in queries if not loki.find(PLATFORM, query.replace("$__auto", "5m").replace("$__interval", "5m"))] == []


def test_a_query_that_means_nothing_is_refused(loki: Loki) -> None:
    status, said = loki.ask("/loki/api/v1/query_range", PLATFORM, query="{job=synapse}")
    assert (status, b"parse error" in said) == (400, True)


def test_a_line_that_is_too_long_is_cut_and_one_of_another_day_is_refused(loki: Loki) -> None:
    assert loki.push(PLATFORM, {"job": "long"}, "x" * 100_000) == 204
    (found,) = wait_for(lambda: loki.find(PLATFORM, '{job="long"}'), 30, "the long line")
    assert len(found["values"][0][1]) == 64 * 2**10
    old = {"streams": [{"stream": {"job": "old"}, "values": [[str(time.time_ns() - 30 * 86_400 * 10**9), "x"]]}]}
    assert loki.ask("/loki/api/v1/push", PLATFORM, old)[0] == 400


@pytest.mark.parametrize(("tenant", "days"), [(PLATFORM, 30), (AUDIT, 365)])
def test_each_tenant_keeps_its_lines_as_long_as_the_site_says(tenant: str, days: int, loki: Loki) -> None:
    status, said = loki.ask("/config/tenant/v1/limits", tenant)
    assert status == 200, said
    kept = yaml.safe_load(said)["retention_period"]
    assert kept in {f"{days * 24}h0m0s", f"{days}d", {30: "4w2d", 365: "1y"}[days]}


def test_what_it_has_taken_is_in_the_bucket_when_it_is_flushed(loki: Loki) -> None:
    assert loki.push(PLATFORM, {"job": "kept"}, "a line to keep") == 204
    assert loki.ask("/flush", None, {})[0] == 204
    wait_for(lambda: any(key.startswith(f"{PLATFORM}/") for key in loki.storage.objects()), 60, "a chunk in the bucket")
    assert loki.find(PLATFORM, '{job="kept"}')
