"""docs/reference/dashboards.md: what each dashboard answers, and every query that it asks."""

from tabulate import tabulate

from monitoring.grafana.board import Board, Panel, Row, Source
from monitoring.grafana.dashboards import BOARDS
from monitoring.grafana.upstream import LEFT_OUT, ROWS


def dashboards_page() -> str:
    """The dashboards, from the first look to the details, and what of Synapse's own dashboard is where."""
    overview = [(f"[{board.title}](#{board.name})", f"`{board.name}`", board.question, len(list(board.panels))) for board in BOARDS]
    return (
        "# Dashboards\n\n"
        "Each is a file of its own below `dist/base/monitoring/02-grafana/dashboards/`, written by Grafana's own library from the values in "
        "`constructs/monitoring/grafana/dashboards/`, and provisioned so that nobody changes it in Grafana. Each query here is run by a test "
        "against a real Prometheus that has measured the real programs (`tests/live/test_dashboards.py`). Grafana itself is in no package "
        "registry: nobody has seen these pictures drawn in a test.\n\n"
        + tabulate(overview, ["Dashboard", "Address", "Question", "Panels"], tablefmt="pipe")
        + "\n\n"
        + "\n".join(map(_board, BOARDS))
        + "\n"
        + _upstream()
    )


def _board(board: Board) -> str:
    variables = [f"`{variable.name}`: {variable.label}, of `{variable.series}`" for variable in board.variables]
    chosen = f"Can be narrowed by {'; '.join(variables)}.\n\n" if variables else ""
    return f'<a id="{board.name}"></a>\n\n## {board.title}\n\n{board.question}\n\n{chosen}' + "\n".join(map(_row, board.rows))


def _row(row: Row) -> str:
    lines = [(panel.title, panel.text, _bounds(panel), _queries(panel)) for panel in row.panels]
    return f"### {row.title}\n\n" + tabulate(lines, ["Panel", "What it says", "Yellow, red", "Queries"], tablefmt="pipe") + "\n"


def _bounds(panel: Panel) -> str:
    return ", ".join(f"{bound:g}" for bound in panel.bounds) if panel.bounds else ""


def _queries(panel: Panel) -> str:
    """A bar would end the cell, also within a quotation of code."""
    language = "LogQL: " if panel.source is Source.LOGS else ""
    expressions = dict.fromkeys(query.expression.replace("|", "\\|") for query in panel.queries)
    return language + "<br>".join(f"`{expression}`" for expression in expressions)


def _upstream() -> str:
    places: dict[str, list[str]] = {name: [] for name in ROWS}
    for board in BOARDS:
        for row in board.rows:
            for name in row.upstream:
                places[name].append(f"{board.title}: {row.title}")
    table = [(name, "<br>".join(found)) for name, found in places.items()]
    left_out = [(row, panel, why) for (row, panel), why in LEFT_OUT.items()]
    return (
        "## Synapse's own dashboard\n\n"
        "Synapse comes with a dashboard of 118 panels in 22 rows (`contrib/grafana/synapse.json`). Where they are here:\n\n"
        + tabulate(table, ["Its row", "Here"], tablefmt="pipe")
        + "\n\nWhat is not here:\n\n"
        + tabulate(left_out, ["Its row", "Panel", "Why not"], tablefmt="pipe")
        + "\n"
    )
