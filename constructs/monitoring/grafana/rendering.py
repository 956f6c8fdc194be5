"""Dashboards as the JSON that Grafana reads, made by Grafana's own library.

Only this module imports the library, and only what renders a site that is watched imports this module: no other site pays for it.
"""

import json
from collections.abc import Callable, Iterable
from string import ascii_uppercase
from typing import TypeAlias

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, logs, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.grafana.board import Board, Look, Panel, Row, Source, Variable

TAG = "matrix"
"""All dashboards have it: each links to all others by it."""

_Builder: TypeAlias = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | logs.Panel


def dashboard_json(board: Board) -> str:
    """The file of a dashboard, as provisioning and the sidecars of other charts take it."""
    dashboard = (
        build.Dashboard(board.title)
        .uid(board.name)
        .description(board.question)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .links([_to_all_others()])
    )
    for variable in board.variables:
        dashboard.with_variable(_variable(variable))
    for row in board.rows:
        _add(dashboard, row)
    built = dashboard.build()
    for number, panel in enumerate(_flat(built.panels or []), 1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _flat(panels: Iterable[model.Panel | model.RowPanel]) -> Iterable[model.Panel | model.RowPanel]:
    for panel in panels:
        yield panel
        if isinstance(panel, model.RowPanel):
            yield from panel.panels or []


def _add(dashboard: build.Dashboard, row: Row) -> None:
    """A folded row holds its panels; those of an open one follow it."""
    head = build.Row(row.title).collapsed(row.folded)
    if row.folded:
        for panel in row.panels:
            head.with_panel(_panel(panel))
        dashboard.with_row(head)
        return
    dashboard.with_row(head)
    for panel in row.panels:
        dashboard.with_panel(_panel(panel))


def _panel(panel: Panel) -> _Builder:
    builder = _LOOKS[panel.look](panel)
    builder.title(panel.title).datasource(_datasource(panel.source)).span(panel.width).height(panel.height)
    if panel.text:
        builder.description(panel.text)
    if panel.details:
        builder.links([_to(panel.details)])
    for name, query in zip(ascii_uppercase, panel.queries, strict=False):
        if panel.source is Source.LOGS:
            builder.with_target(loki.Dataquery().expr(query.expression).ref_id(name))
            continue
        asked = prometheus.Dataquery().expr(query.expression).ref_id(name).legend_format(query.legend or "__auto")
        if panel.look is Look.TABLE:
            asked = asked.instant().format(PromQueryFormat.TABLE)
        else:
            asked = asked.range()
            if panel.look is Look.HEAT:
                asked = asked.format(PromQueryFormat.HEATMAP)
        builder.with_target(asked)
    return builder


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = parts.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    drawn = timeseries.Panel().unit(panel.unit.value).min(0).legend(legend).tooltip(tooltip).show_points(common.VisibilityMode.NEVER)
    drawn = drawn.fill_opacity(60 if panel.look is Look.STACKED else 8).line_width(1)
    if panel.look is Look.STACKED:
        drawn = drawn.stacking(parts.StackingConfig().mode(common.StackingMode.NORMAL))
    if panel.bounds:
        drawn = drawn.thresholds(_thresholds(panel.bounds))
        drawn = drawn.thresholds_style(parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return drawn


def _number(panel: Panel) -> stat.Panel:
    drawn = (
        stat.Panel()
        .unit(panel.unit.value)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return drawn.thresholds(_thresholds(panel.bounds))


def _table(panel: Panel) -> table.Panel:
    """One line for each series, with a column for each query."""
    values = ["Value"] if len(panel.queries) == 1 else [f"Value #{name}" for name, _ in zip(ascii_uppercase, panel.queries, strict=False)]
    names = dict(zip(values, (query.legend for query in panel.queries), strict=True))
    drawn = table.Panel().unit(panel.unit.value)
    drawn = drawn.with_transformation(model.DataTransformerConfig("merge", options={}))
    return drawn.with_transformation(
        model.DataTransformerConfig("organize", options={"excludeByName": {"Time": True}, "renameByName": names})
    )


def _heat(panel: Panel) -> heatmap.Panel:
    axis = heatmap.YAxisConfig().unit(panel.unit.value)
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Inferno").steps(64)
    return heatmap.Panel().calculate(False).y_axis(axis).color(colour).cell_gap(0)


def _log(_: Panel) -> logs.Panel:
    return logs.Panel().show_time(True).wrap_log_message(True).enable_log_details(True).sort_order(common.LogsSortOrder.DESCENDING)


_LOOKS: dict[Look, Callable[[Panel], _Builder]] = {
    Look.LINES: _lines,
    Look.STACKED: _lines,
    Look.NUMBER: _number,
    Look.TABLE: _table,
    Look.HEAT: _heat,
    Look.LOGS: _log,
}


def _thresholds(bounds: tuple[float, float] | None) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color="green")]
    if bounds:
        steps += [model.Threshold(value=bounds[0], color="yellow"), model.Threshold(value=bounds[1], color="red")]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _variable(variable: Variable) -> build.QueryVariable:
    """Many values, all at first. What `All` stands for is the list of the values, not a pattern that would match everything."""
    asked = f"label_values({variable.series}, {variable.values_of})"
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        build.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_datasource(Source.METRICS))
        .query(asked)
        .definition(asked)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(everything)
    )


def _datasource(source: Source) -> common.DataSourceRef:
    """Datasources are provisioned under the name of their type."""
    return common.DataSourceRef(type_val=source.value, uid=source.value)


def _to_all_others() -> build.DashboardLink:
    return build.DashboardLink("Dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True).keep_time(True)


def _to(board: str) -> build.DashboardLink:
    return build.DashboardLink("Details").type(model.DashboardLinkType.LINK).url(f"/d/{board}").keep_time(True)
