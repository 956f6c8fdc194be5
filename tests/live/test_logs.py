"""Logs: Grafana's grammar reads every query of them."""

import json
import subprocess
from pathlib import Path

import pytest

from monitoring.grafana.board import Source
from monitoring.grafana.dashboards import BOARDS
from tests.live.programs import made

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


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
