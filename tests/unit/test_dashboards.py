"""The dashboards: what they ask can be understood, they fit the screen and each other, and nothing of Synapse's own is left out in silence."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from app.documents.dashboards import dashboards_page
from monitoring.grafana.board import Board, Look, Panel, Source
from monitoring.grafana.dashboards import BOARDS
from monitoring.grafana.promql import INTERVAL
from monitoring.grafana.rendering import dashboard_json
from monitoring.grafana.upstream import LEFT_OUT, ROWS

ROOT = Path(__file__).parents[2]
NAMES = {
    "system-overview",
    "synapse-performance",
    "postgresql-health",
    "redis-health",
    "minio-health",
    "livekit-health",
    "federation-health",
}
CONFIG_MAP_LIMIT = 2**20


def queries() -> Iterator[tuple[Board, Panel, str]]:
    return ((board, panel, query.expression) for board in BOARDS for panel in board.panels for query in panel.queries)


def panels_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in document["panels"]:
        yield panel
        yield from panel.get("panels") or []


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return {board.name: json.loads(dashboard_json(board)) for board in BOARDS}


def test_there_are_the_seven_dashboards_that_are_promised() -> None:
    assert Counter(board.name for board in BOARDS) == Counter(NAMES)


def test_prometheus_s_own_grammar_reads_every_query() -> None:
    for board, panel, expression in queries():
        if panel.source is Source.METRICS:
            plain = re.sub(r"\$\w+", "x", expression.replace(INTERVAL, "5m"))
            try:
                promql_parser.parse(plain)
            except ValueError as error:
                pytest.fail(f"{board.name}, {panel.title}: {expression}: {error}")


def test_a_query_names_only_variables_of_its_dashboard() -> None:
    for board, panel, expression in queries():
        named = set(re.findall(r"\$(\w+)", expression)) - {INTERVAL.removeprefix("$")}
        assert named <= {variable.name for variable in board.variables}, panel.title


def test_a_query_looks_back_as_far_as_grafana_says() -> None:
    """A fixed range has too few measurements where a site measures less often. Longer ranges are a choice of the panel."""
    for _, panel, expression in queries():
        ranges = set(re.findall(r"\[([^\]]+)\]", expression))
        assert ranges <= {INTERVAL, "1h", "1d"}, panel.title


def test_all_panels_of_a_dashboard_say_what_they_show() -> None:
    for board in BOARDS:
        for row in board.rows:
            titles = [panel.title for panel in row.panels]
            assert len(set(titles)) == len(titles), f"{board.name}, {row.title}"
        for panel in board.panels:
            assert panel.title
            assert panel.text.endswith(".") or not panel.text, panel.title


def test_a_link_leads_to_a_dashboard() -> None:
    assert {panel.details for board in BOARDS for panel in board.panels if panel.details} <= NAMES
    overview = next(board for board in BOARDS if board.name == "system-overview")
    linked = {panel.details for panel in overview.panels if panel.details}
    assert linked == NAMES - {"system-overview", "federation-health"}, "the overview leads to every detail that every site has"


def test_every_row_of_synapse_s_own_dashboard_is_covered() -> None:
    covered = {name for board in BOARDS for row in board.rows for name in row.upstream}
    assert covered == set(ROWS)
    assert len(ROWS) == 22
    assert {row for row, _ in LEFT_OUT} <= set(ROWS)


def test_the_json_is_a_dashboard_that_grafana_can_load(documents: dict[str, dict[str, Any]]) -> None:
    for name, document in documents.items():
        assert document["uid"] == name
        assert len(name) <= 40
        assert document["editable"] is False
        assert document["tags"] == ["matrix"]
        numbers = [panel["id"] for panel in panels_of(document)]
        assert len(set(numbers)) == len(numbers)
        for panel in panels_of(document):
            place = panel["gridPos"]
            assert 0 <= place.get("x", 0) <= 24 - place["w"], panel["title"]
            if panel["type"] != "row":
                assert {target["refId"] for target in panel["targets"]} == set("ABCDEFGHIJ"[: len(panel["targets"])])
                assert panel["datasource"]["uid"] in {"prometheus", "loki"}


def test_no_panel_lies_on_another(documents: dict[str, dict[str, Any]]) -> None:
    for name, document in documents.items():
        rows = [document["panels"], *(panel["panels"] for panel in document["panels"] if panel.get("panels"))]
        for together in rows:
            taken: dict[tuple[int, int], str] = {}
            for panel in together:
                place = panel["gridPos"]
                cells = [
                    (x, y)
                    for x in range(place.get("x", 0), place.get("x", 0) + place["w"])
                    for y in range(place.get("y", 0), place.get("y", 0) + place["h"])
                ]
                for cell in cells:
                    assert taken.setdefault(cell, panel["title"]) == panel["title"], f"{name}: {panel['title']} lies on {taken[cell]}"


def test_all_dashboards_fit_into_one_config_map() -> None:
    assert sum(len(dashboard_json(board).encode()) for board in BOARDS) < CONFIG_MAP_LIMIT * 3 // 4


def test_a_heat_map_asks_for_buckets() -> None:
    for _, panel, expression in queries():
        if panel.look is Look.HEAT:
            assert expression.startswith("sum by (le)"), panel.title


def test_the_reference_has_every_query() -> None:
    page = dashboards_page()
    for _, panel, expression in queries():
        assert f"`{expression.replace('|', chr(92) + '|')}`" in page, panel.title


def test_a_site_that_is_not_watched_does_not_load_grafana_s_library() -> None:
    """It takes a fifth of a second, in each compilation."""
    loaded = "import sys, app.cli, app.platform; print([name for name in sys.modules if name.startswith('grafana_foundation_sdk')])"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}"}
    assert subprocess.run([sys.executable, "-c", loaded], env=environment, capture_output=True, text=True, check=True).stdout == "[]\n"
