"""The rules of Grafana's dashboard-linter, held for panels of every type, and a few of our own."""

import re
from datetime import timedelta
from typing import Any

import pytest

from mixin.records import records
from support.boards import FOLDER, Json, Panel, annotations, boards, panels
from support.metrics import known
from support.promql import parse, ranges, selectors

BOARDS = boards()
PANELS = panels()
METRICS = known()
COUNTING = ("rate", "irate", "increase")

NOT_OF_AN_INSTANCE = {
    "ALERTS": {"instance"},  # several instances' series make one alert, which then carries none
    "ALERTS_FOR_STATE": {"instance"},
    "vivix:rules:loaded": {"job", "instance"},  # is of Prometheus itself
    # Is the same whatever shows it.
    **{record.name: {"instance"} for record in records() if record.name.startswith("job_account")},
}
"""Selectors that cannot have these labels."""
OF_ALERTS = {"ALERTS", "ALERTS_FOR_STATE", "vivix:rules:loaded"}
SCRAPE_LABELS = {"job", "instance"}

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)


def variable(board: Json, name: str) -> Json:
    [found] = [one for one in board["templating"]["list"] if one["name"] == name]
    return dict(found)


@each_board
def test_the_data_source_can_be_chosen(board: Json) -> None:
    source = variable(board, "datasource")
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")


@each_board
@pytest.mark.parametrize("name", ["job", "instance", "account", "model"])
def test_everything_can_be_narrowed_by(board: Json, name: str) -> None:
    found = variable(board, name)
    assert (found["type"], found["label"]) == ("query", name.capitalize())
    assert found["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert (found["multi"], found["includeAll"], found["allValue"]) == (True, True, ".+")
    assert found["refresh"] == 2, "it is renewed when the time range changes"
    [source] = re.findall(rf"label_values\((.+), {name}\)", found["definition"])
    assert found["query"]["query"] == found["definition"]
    for selector in selectors(source):
        assert {name} - SCRAPE_LABELS <= METRICS[selector.name].labels


@each_board
def test_a_dashboard_is_found_again_and_leads_to_the_others(board: Json) -> None:
    assert board["uid"].startswith("vivix-")
    assert board["title"].startswith("Vivix / ")
    assert board["tags"] == ["vivix"]
    assert board["editable"] is False
    assert board["schemaVersion"] == 42
    assert board["description"]
    [link] = board["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards",
        ["vivix"],
        True,
        True,
    )


@each_board
def test_reloads_and_lock_outs_are_marked(board: Json) -> None:
    names = [annotation["name"] for annotation in board["annotations"]["list"]]
    assert names == ["Reloads", "Failed reloads", "Lock-outs"]
    for annotation in board["annotations"]["list"]:
        assert annotation["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_board
def test_panels_have_ids_of_their_own_and_do_not_overlap(board: Json) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_the_overview_fits_one_screen_of_1080_lines() -> None:
    """A grid unit is 30 px high and 8 px apart; about 260 px go to the browser's and Grafana's own bars."""
    lowest = max(
        panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in BOARDS["vivix-overview"]["panels"]
    )
    assert lowest * 38 <= 1080 - 260


@each_panel
def test_a_panel_says_what_it_is_how_to_read_it_and_where_it_comes_from(panel: Panel) -> None:
    json = panel.json
    assert json["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel.title
    assert len(json["description"].split()) >= 8
    assert json["description"].endswith((".", "?"))
    assert json["fieldConfig"]["defaults"]["unit"]
    assert json["targets"]
    for target in json["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in json["targets"]}) == len(json["targets"])


@each_panel
def test_every_query_parses(panel: Panel) -> None:
    for query in panel.queries:
        parse(query)


@each_panel
def test_every_selector_follows_job_and_instance(panel: Panel) -> None:
    for query in panel.queries:
        for selector in selectors(query):
            for label in SCRAPE_LABELS - NOT_OF_AN_INSTANCE.get(selector.name, set()):
                assert f'{label}=~"${label}"' in selector.matchers, query


@each_panel
def test_every_selector_follows_account_and_model_where_it_has_them(panel: Panel) -> None:
    for query in panel.queries:
        for selector in selectors(query):
            if selector.name in OF_ALERTS:
                continue
            for label in {"account", "model"} & METRICS[selector.name].labels:
                assert f'{label}=~"${label}"' in selector.matchers, query


@each_panel
def test_rates_adapt_to_the_resolution(panel: Panel) -> None:
    for query in panel.queries:
        for function, window in ranges(query):
            if function in ("rate", "irate"):
                assert window == "$__rate_interval", query


@each_panel
def test_counters_are_looked_at_by_their_growth_alone(panel: Panel) -> None:
    for query in panel.queries:
        assert_counts(query)


def assert_counts(query: str) -> None:
    for selector in selectors(query):
        if METRICS[selector.name].kind == "counter":
            assert selector.functions, query
            assert selector.functions[0] in COUNTING, query
            assert selector.range is not None, query
        elif METRICS[selector.name].kind != "recorded":
            assert not set(selector.functions) & set(COUNTING), query


@each_panel
def test_metrics_and_labels_are_those_of_the_exporter(panel: Panel) -> None:
    for query in panel.queries:
        assert_known(query)
    for target in panel.json["targets"]:
        named = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")))
        kept = set().union(*(selector.grouped for selector in selectors(target["expr"])))
        bare = not any(selector.grouped for selector in selectors(target["expr"]))
        assert named <= (kept | SCRAPE_LABELS if bare else kept), target["legendFormat"]


def assert_known(query: str) -> None:
    found = selectors(query)
    has = frozenset().union(*(METRICS[one.name].labels for one in found)) | SCRAPE_LABELS
    for selector in found:
        assert selector.name in METRICS, f"{selector.name} is no metric of the exporter"
        assert selector.labels <= METRICS[selector.name].labels | SCRAPE_LABELS, query
        assert selector.grouped <= has, query
        histogram = "histogram_quantile" in selector.functions and selector.name.endswith("_bucket")
        assert not histogram or "le" in selector.grouped, query


@pytest.mark.parametrize(("board", "query"), list(annotations()))
def test_annotations_ask_for_what_there_is(board: str, query: str) -> None:
    assert_known(query)


@each_panel
def test_a_table_names_its_columns(panel: Panel) -> None:
    if panel.json["type"] != "table":
        return
    [_, organize] = panel.json["transformations"]
    names = organize["options"]["renameByName"]
    labels = {name for name in names if not name.startswith("Value")}
    for target in panel.json["targets"]:
        assert (target["format"], target["instant"]) == ("table", True)
        assert labels <= set().union(*(selector.grouped for selector in selectors(target["expr"])))
    overridden = {one["matcher"]["options"] for one in panel.json["fieldConfig"]["overrides"]}
    assert overridden <= set(names.values())
    assert {one["displayName"] for one in panel.json["options"]["sortBy"]} <= set(names.values())
    many = len(panel.json["targets"]) > 1
    values = {f"Value #{target['refId']}" if many else "Value" for target in panel.json["targets"]}
    assert set(names) - labels == values


@each_panel
def test_links_lead_to_our_dashboards_and_keep_time_and_variables(panel: Panel) -> None:
    for link in links(panel.json):
        if link["url"].startswith("/alerting/list?search="):
            continue
        assert re.fullmatch(r"/d/[\w-]+\?\$\{__url_time_range\}&\$\{__all_variables\}", link["url"])
        assert link["url"].split("?")[0].removeprefix("/d/") in BOARDS


def links(value: Any) -> list[Json]:
    """Every link of data in a panel, wherever it stands."""
    if isinstance(value, dict):
        found = [link for inner in value.values() for link in links(inner)]
        return [*found, value] if "url" in value and "title" in value else found
    if isinstance(value, list):
        return [link for inner in value for link in links(inner)]
    return []


def test_windows_are_no_shorter_than_what_a_usual_scrape_interval_fills() -> None:
    for panel in PANELS:
        for query in panel.queries:
            for selector in selectors(query):
                assert selector.range is None or selector.range >= timedelta(minutes=1)


def test_pictures_in_the_documents_exist() -> None:
    for document in (FOLDER / "README.md", FOLDER.parent / "README.md"):
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text()):
            assert (document.parent / picture).is_file(), picture
