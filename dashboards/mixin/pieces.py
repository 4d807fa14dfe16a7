"""What all dashboards share: selectors, queries, panels with our habits, variables, links, annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

PROCESS = 'job=~"$job", instance=~"$instance"'
"""Matchers of what a process shows about itself."""
ACCOUNT = f'{PROCESS}, account=~"$account"'
"""Matchers of what an account has."""
MODEL = f'{ACCOUNT}, model=~"$model"'
"""Matchers of what is counted by model."""

OF_ACCOUNT = 'job=~"$job", account=~"$account"'
"""Matchers of what is recorded for an account, whichever instance shows it."""
OF_MODEL = f'{OF_ACCOUNT}, model=~"$model"'
"""Matchers of what is recorded by model."""

SOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "vivix"
EMPTY = "Empty when nothing is wrong."
"""Ends the description of a panel that shows nothing while there is nothing wrong; the checks read it."""

_Mapping = model.ValueMap | model.RangeMap | model.RegexMap | model.SpecialValueMap
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
STATUSES: Mapping[str, str] = {"completed": GREEN, "failed": RED, "pending": YELLOW, "processing": BLUE}
"""A status has the same colour everywhere."""

COUNT = "locale"
"""All digits: `short` shows 1,673 as 2 K."""
CREDITS = "count:credits"
CREDITS_PER_HOUR = "count:credits/h"
PER_MINUTE = "suffix:/min"
TIMES = "suffix:×"

Panel = Builder[model.Panel]
Part = Panel | dashboard.Row
Steps = Sequence[tuple[float, str]]
_Any = TypeVar("_Any", stat.Panel, timeseries.Panel, table.Panel, bargauge.Panel, heatmap.Panel)


def over_time(expr: str, legend: str = "", *, exemplars: bool = False) -> prometheus.Dataquery:
    """A query for a line over the dashboard's time range."""
    query = prometheus.Dataquery().expr(expr).range().legend_format(legend or "__auto")
    return query.exemplar(True) if exemplars else query


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query for the value at the end of the time range."""
    return prometheus.Dataquery().expr(expr).instant().legend_format(legend or "__auto")


def rows(expr: str) -> prometheus.Dataquery:
    """A query for a column of a table: one row for each set of labels, at the end of the time range."""
    return prometheus.Dataquery().expr(expr).instant().format(prometheus_model.PromQueryFormat.TABLE)


def buckets(expr: str) -> prometheus.Dataquery:
    """A query for a heatmap: one row for each bucket of a histogram."""
    heat = prometheus_model.PromQueryFormat.HEATMAP
    return prometheus.Dataquery().expr(expr).range().format(heat).legend_format("{{le}}")


def ratio(part: str, whole: str) -> str:
    """A division that is no data, rather than NaN, where there is nothing to divide by."""
    return f"{part}\n/\n({whole} > 0)"


def _thresholds(steps: Steps, base: str) -> dashboard.ThresholdsConfig:
    every = [model.Threshold(None, base), *(model.Threshold(value, colour) for value, colour in steps)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(every)


def _panel(
    panel: _Any, title: str, description: str, unit: str, queries: Sequence[prometheus.Dataquery], width: int
) -> _Any:
    for index, query in enumerate(queries):
        panel.with_target(query.ref_id(chr(ord("A") + index)).datasource(SOURCE))
    panel.title(title).description(description).unit(unit).datasource(SOURCE).span(width)
    return panel.no_value("none") if description.endswith(EMPTY) else panel


def figure(
    title: str,
    description: str,
    unit: str,
    query: prometheus.Dataquery,
    *,
    steps: Steps = (),
    base: str = GREEN,
    width: int = 3,
    height: int = 4,
    decimals: int | None = None,
    none: str | None = None,
    mappings: Mapping[str, tuple[str, str]] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> stat.Panel:
    """One number, coloured by `steps` from `base` on; without steps it is neither good nor bad. `none` stands
    where there is no value; `mappings` show text and colour instead of a value."""
    panel = _panel(stat.Panel(), title, description, unit, [query], width).height(height)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.color_mode(common_model.BigValueColorMode.VALUE).graph_mode(common_model.BigValueGraphMode.NONE)
    panel.text_mode(common_model.BigValueTextMode.VALUE)
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds(steps, base if steps else GREY))
    if decimals is not None:
        panel.decimals(decimals)
    if none is not None:
        panel.no_value(none)
    shown: list[_Mapping] = [*_mapped(mappings or {}), *_without_a_value(none)]
    if shown:
        panel.mappings(shown)
    if links:
        panel.data_links([_data_link(*link) for link in links])
    return panel


def _mapped(mappings: Mapping[str, tuple[str, str]]) -> Sequence[model.ValueMap]:
    results = {
        value: model.ValueMappingResult(text=text, color=colour) for value, (text, colour) in mappings.items()
    }
    return [model.ValueMap(options=results)] if results else []


def _without_a_value(text: str | None) -> Sequence[model.SpecialValueMap]:
    """Grey: the colour of the first step would make it good or bad news."""
    if text is None:
        return []
    result = model.ValueMappingResult(text=text, color=GREY)
    return [
        model.SpecialValueMap(
            options=model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch.NULL, result=result)
        )
    ]


def lines(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[prometheus.Dataquery],
    *,
    steps: Steps = (),
    stacked: bool = False,
    width: int = 8,
    height: int = 8,
    least: float | None = 0,
    most: float | None = None,
    legend: Literal["list", "table"] = "list",
    links: Sequence[tuple[str, str]] = (),
    colours: Mapping[str, str] | None = None,
    dashed: Mapping[str, str] | None = None,
    counts: bool = False,
) -> timeseries.Panel:
    """Lines over time, areas on one another, or bars of `counts`; `steps` are drawn as dashed lines.
    `colours` are those of series by name; so are those of `dashed` ones, which are limits."""
    panel = _panel(timeseries.Panel(), title, description, unit, queries, width).height(height)
    panel.line_width(1).fill_opacity(30 if stacked else 0).show_points(common_model.VisibilityMode.AUTO)
    panel.span_nulls(False)
    if counts:
        panel.draw_style(common_model.GraphDrawStyle.BARS).fill_opacity(80).interval("1m")
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(common_model.TooltipDisplayMode.MULTI)
        .sort(common_model.SortOrder.DESCENDING)
    )
    shown = common.VizLegendOptions().placement(common_model.LegendPlacement.BOTTOM).show_legend(True)
    if legend == "table":
        shown.display_mode(common_model.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])
        shown.placement(common_model.LegendPlacement.RIGHT)
    else:
        shown.display_mode(common_model.LegendDisplayMode.LIST).calcs([])
    panel.legend(shown)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    if steps:
        panel.thresholds(_thresholds(steps, "transparent"))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    for name, colour in (dashed or {}).items():
        panel.override_by_name(
            name,
            [
                model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
                model.DynamicConfigValue("custom.fillOpacity", 0),
                model.DynamicConfigValue("custom.stacking", {"mode": "none", "group": "A"}),
                _fixed(colour),
            ],
        )
    if links:
        panel.data_links([_data_link(*link) for link in links])
    return panel


_NARROW = 12
"""A table of at most so many of the 24 columns of the grid has no room to share out evenly ..."""
_NUMBER_WIDTH = 105
"""... so its columns of numbers get so many pixels."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers: its heading, what fills it, its unit, and colours from `steps` on."""

    name: str
    expr: str
    unit: str
    steps: Steps = ()
    base: str = GREEN
    decimals: int | None = None


def listing(
    title: str,
    description: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    *,
    sort: str,
    ascending: bool = False,
    width: int = 8,
    height: int = 8,
    links: Mapping[str, tuple[str, str]] | None = None,
) -> table.Panel:
    """A table with a row for each set of `labels` (label and heading), and `columns` of numbers. `links` are
    (title, url) by heading."""
    panel = _panel(
        table.Panel(), title, description, "short", [rows(column.expr) for column in columns], width
    ).height(height)
    panel.cell_options(common_model.TableAutoCellOptions()).min_width(60)
    panel.show_header(True).cell_height(common_model.TableCellHeight.SM).frame_index(0)
    names = {
        "Value" if len(columns) == 1 else f"Value #{chr(ord('A') + index)}": column.name
        for index, column in enumerate(columns)
    }
    order = [*labels, *names]
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "includeByName": {},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": {**labels, **names},
            },
        )
    )
    for column in columns:
        properties = [model.DynamicConfigValue("unit", column.unit)]
        if width <= _NARROW:
            # What is left is for names, which are longer.
            properties.append(model.DynamicConfigValue("custom.width", _NUMBER_WIDTH))
        if column.decimals is not None:
            properties.append(model.DynamicConfigValue("decimals", column.decimals))
        if column.steps:
            properties += [
                model.DynamicConfigValue(
                    "thresholds", _thresholds(column.steps, column.base).build().to_json()
                ),
                model.DynamicConfigValue("color", {"mode": "thresholds"}),
                model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(column.name, properties)
    for heading, link in (links or {}).items():
        shown = {"title": link[0], "url": link[1], "targetBlank": False}
        panel.override_by_name(heading, [model.DynamicConfigValue("links", [shown])])
    return panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(not ascending)])


def bars(
    title: str,
    description: str,
    unit: str,
    query: prometheus.Dataquery,
    *,
    steps: Steps = (),
    base: str = GREEN,
    width: int = 8,
    height: int = 8,
    most: float | None = None,
    decimals: int | None = None,
) -> bargauge.Panel:
    """A bar for each series, to compare them now."""
    panel = _panel(bargauge.Panel(), title, description, unit, [query], width).height(height)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.orientation(common_model.VizOrientation.HORIZONTAL)
    panel.display_mode(common_model.BarGaugeDisplayMode.BASIC)
    panel.thresholds(_thresholds(steps, base if steps else BLUE)).min(0)
    panel.color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if most is not None:
        panel.max(most)
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def heat(
    title: str, description: str, unit: str, query: prometheus.Dataquery, *, width: int = 8, height: int = 8
) -> heatmap.Panel:
    """Where the values of a histogram lie over time."""
    panel = _panel(heatmap.Panel(), title, description, unit, [query], width).height(height)
    panel.calculate(False).show_value(common_model.VisibilityMode.NEVER).hide_legend()
    panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common_model.AxisPlacement.LEFT))
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heatmap_model.HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .steps(32)
        .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .reverse(False)
        .fill("blue")
    )
    return panel.cell_gap(1)


def section(title: str) -> dashboard.Row:
    """A heading between panels."""
    return dashboard.Row(title)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _data_link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).target_blank(False)


def to(uid: str) -> str:
    """The address of another of our dashboards, with the same time and variables."""
    return f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


ANNOTATIONS = (
    (
        "Reloads",
        BLUE,
        f"changes(vivix_exporter_config_last_reload_success_timestamp_seconds{{{PROCESS}}}[1m]) > 0",
        "Configuration loaded",
        "{{instance}} took up a configuration",
    ),
    (
        "Failed reloads",
        RED,
        f"vivix_exporter_config_last_reload_successful{{{PROCESS}}} == 0",
        "Reload failed",
        "{{instance}} keeps its former configuration",
    ),
    (
        "Lock-outs",
        ORANGE,
        f"vivix_account_key_valid{{{ACCOUNT}}} == 0",
        "Key refused",
        "account {{account}} is locked out",
    ),
)
"""Name, colour, query, title and text of what is marked on every graph over time."""


def start(uid: str, title: str, description: str, time: str) -> dashboard.Dashboard:
    """A dashboard without panels, over the last `time`, with what makes it one of ours."""
    board = (
        dashboard.Dashboard(f"Vivix / {title}")
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(f"now-{time}", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("job", "label_values(vivix_exporter_build_info, job)"))
        .with_variable(
            _variable("instance", 'label_values(vivix_exporter_build_info{job=~"$job"}, instance)')
        )
        .with_variable(_variable("account", f"label_values(vivix_account_up{{{PROCESS}}}, account)"))
        .with_variable(_variable("model", f"label_values(vivix_generations_total{{{ACCOUNT}}}, model)"))
        .link(
            dashboard.DashboardLink("Vivix")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for name, colour, expr, titles, texts in ANNOTATIONS:
        board.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(SOURCE)
            .enable(True)
            .icon_color(colour)
            .expr(expr)
            .step("1m")
            .title_format(titles)
            .text_format(texts)
        )
    return board


def board(start: dashboard.Dashboard, parts: Sequence[Part]) -> dashboard.Dashboard:
    """The dashboard with its panels, in reading order."""
    for part in parts:
        if isinstance(part, dashboard.Row):
            start.with_row(part)
        else:
            start.with_panel(part)
    return start
