"""Logs: Alloy's own parser reads its configuration, its libraries do what is meant, and Grafana's grammar reads every query of logs."""

import json
import subprocess
from pathlib import Path

import pytest

from app.compiler import render
from app.settings import parse_site
from kit.rendering import Rendering
from monitoring.grafana.board import Source
from monitoring.grafana.dashboards import BOARDS
from overlays import profiles
from tests.live.programs import chosen, made
from tests.unit.test_alloy_configuration import PLAIN, SAID

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {monitoring: true, li: true}
li:
  country_code: DE
  owner: example-operator
  officers: {anna@authority.example: Anna Adler (investigator), clara@authority.example: Clara Cohn (approver)}
"""


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return render(parse_site(SITE), profiles()[0])


@pytest.fixture(scope="module")
def parser() -> str:
    return chosen("ALLOY_SYNTAX", [ROOT / ".tools" / "alloy-syntax" / "alloy-syntax"], "Alloy's parser, which Go builds: make alloy-syntax")


def through(parser: str, config: str, lines: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "config.alloy").write_text(config)
    given = "".join(f"{line}\n" for line in lines)
    return subprocess.run([parser, folder / "config.alloy"], input=given, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.optional
def test_alloy_reads_its_configuration_and_redacts_every_secret(parser: str, rendering: Rendering, tmp_path: Path) -> None:
    config = rendering.files["config/alloy/config.alloy"]
    read = through(parser, config, [*SAID, *PLAIN], tmp_path)
    assert read.stderr == ""
    found = [json.loads(line)["line"] for line in read.stdout.splitlines()]
    for secret, line in zip(SAID.values(), found, strict=False):
        assert secret not in line
        assert "<redacted>" in line
    assert found[len(SAID) :] == list(PLAIN)


@pytest.mark.optional
def test_levels_are_those_of_synapse_whoever_speaks(parser: str, rendering: Rendering, tmp_path: Path) -> None:
    said = {
        '{"log":"x","level":"WARNING"}': "WARNING",
        '{"level":"info","msg":"an ERROR in the text"}': "INFO",
        '{"level":"warn"}': "WARNING",
        # CloudNativePG passes PostgreSQL's lines on as records.
        '{"level":"info","logger":"postgres","record":{"error_severity":"FATAL","message":"x"}}': "CRITICAL",
        '{"level":"info","logger":"postgres","record":{"error_severity":"LOG","message":"x"}}': "INFO",
        '{"time":"2026-11-26","status":500}': "INFO",
        "2026-11-26 02:22:24 GMT [326] FATAL:  the database system is starting up": "CRITICAL",
        "[WARNING]  (25) : Server primary/redis-0 is UP": "WARNING",
        "1:M 26 Nov 2026 02:20:47.006 * Synchronization succeeded": "INFO",
    }
    read = through(parser, rendering.files["config/alloy/config.alloy"], list(said), tmp_path)
    assert [json.loads(line)["level"] for line in read.stdout.splitlines()] == list(said.values())


@pytest.mark.optional
@pytest.mark.parametrize("mistake", ["stage.replace {", 'url = "unfinished', "expression = `(`"])
def test_a_mistake_in_the_configuration_is_noticed(mistake: str, parser: str, rendering: Rendering, tmp_path: Path) -> None:
    config = rendering.files["config/alloy/config.alloy"]
    broken = config.replace("expression = `\\b(eyJ", f"{mistake}\n", 1)
    assert broken != config
    assert through(parser, broken, ["a line"], tmp_path).returncode != 0


def logql(*queries: str) -> list[str]:
    """What Grafana's grammar of LogQL says of each query: nothing, or where it does not understand it."""
    node = made(ROOT / ".venv" / "node" / "bin" / "node")
    script = Path(__file__).with_name("logql.mjs")
    read = subprocess.run([node, script, ROOT], input=json.dumps(queries), capture_output=True, text=True, check=True, timeout=30)
    answers: list[str] = json.loads(read.stdout)
    return answers


def test_grafana_s_grammar_reads_every_query_of_logs() -> None:
    queries = [
        query.expression.replace("$worker", "(synapse|pusher)")
        for board in BOARDS
        for panel in board.panels
        if panel.source is Source.LOGS
        for query in panel.queries
    ]
    assert len(queries) >= 2
    assert logql(*queries) == [""] * len(queries)


def test_a_mistake_in_a_query_of_logs_is_noticed() -> None:
    assert all(logql('{job="synapse"', "{job=synapse} | json", 'rate({job="x"})'))
