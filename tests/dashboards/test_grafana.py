"""The dashboards against Grafana's own types and registries, of the version that package.json pins."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.boards import FOLDER, Json, boards
from support.prometheus import tool

TOOLS = Path(__file__).parent / "grafana"
COMMITTED = sorted((FOLDER / "json").glob("*.json"))


def node(script: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts; `make test` installs what it needs."""
    assert (TOOLS / "node_modules").is_dir(), "run make tests/dashboards/grafana/node_modules/.installed"
    return subprocess.run(
        [tool("node"), str(TOOLS / script), *map(str, paths)], capture_output=True, text=True, check=False
    )


def test_keys_and_values_are_those_of_grafanas_types() -> None:
    done = node("typecheck.mjs", *COMMITTED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_units_reducers_matchers_colours_and_transformations_exist_and_tables_come_out_as_named() -> None:
    done = node("registries.cjs", *COMMITTED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def of_type(board: Json, kind: str) -> Json:
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def _misspelt_option(board: Json) -> None:
    options = of_type(board, "stat")["options"]
    options["graphMod"] = options.pop("graphMode")


def _unknown_option_value(board: Json) -> None:
    of_type(board, "timeseries")["options"]["legend"]["displayMode"] = "tabel"


def _option_of_another_kind(board: Json) -> None:
    of_type(board, "table")["options"]["legend"] = {"showLegend": True}


def _misspelt_field_option(board: Json) -> None:
    of_type(board, "timeseries")["fieldConfig"]["defaults"]["custom"]["lineWith"] = 2


def _misspelt_override(board: Json) -> None:
    first_override(board)["id"] = "custom.fillOpacty"


def _misspelt_variable_key(board: Json) -> None:
    board["templating"]["list"][1]["inclueAll"] = True


def _misspelt_query_key(board: Json) -> None:
    of_type(board, "stat")["targets"][0]["instnat"] = True


def _unknown_time_mode(board: Json) -> None:
    board["graphTooltip"] = 7


def first_override(board: Json) -> Json:
    [*_, last] = of_type(board, "timeseries")["fieldConfig"]["overrides"]
    found: Json = last["properties"][0]
    return found


def _unknown_unit(board: Json) -> None:
    of_type(board, "stat")["fieldConfig"]["defaults"]["unit"] = "secs"


def _unknown_unit_of_a_column(board: Json) -> None:
    table = of_type(board, "table")
    [unit] = [one for one in table["fieldConfig"]["overrides"][0]["properties"] if one["id"] == "unit"]
    unit["value"] = "percentunitt"


def _unknown_reducer(board: Json) -> None:
    of_type(board, "stat")["options"]["reduceOptions"]["calcs"] = ["lastNotNul"]


def _unknown_matcher(board: Json) -> None:
    of_type(board, "table")["fieldConfig"]["overrides"][0]["matcher"]["id"] = "byNam"


def _unknown_transformation(board: Json) -> None:
    of_type(board, "table")["transformations"][0]["id"] = "marge"


def _unknown_colour(board: Json) -> None:
    of_type(board, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = "gren"


def _unknown_colour_mode(board: Json) -> None:
    of_type(board, "timeseries")["fieldConfig"]["defaults"]["color"]["mode"] = "palette-modern"


def _unknown_variable_in_a_link(board: Json) -> None:
    for panel in board["panels"]:
        for link in panel["fieldConfig"]["defaults"].get("links", []):
            link["url"] += "&${__al_variables}"


def _column_renamed_from_nothing(board: Json) -> None:
    organize = of_type(board, "table")["transformations"][1]["options"]
    organize["renameByName"]["Value #Z"] = organize["renameByName"].pop("Value #A")


PLANTED = {
    "typecheck.mjs": (
        _misspelt_option,
        _unknown_option_value,
        _option_of_another_kind,
        _misspelt_field_option,
        _misspelt_override,
        _misspelt_variable_key,
        _misspelt_query_key,
        _unknown_time_mode,
    ),
    "registries.cjs": (
        _unknown_unit,
        _unknown_unit_of_a_column,
        _unknown_reducer,
        _unknown_matcher,
        _unknown_transformation,
        _unknown_colour,
        _unknown_colour_mode,
        _unknown_variable_in_a_link,
        _column_renamed_from_nothing,
    ),
}


@pytest.mark.parametrize("script", PLANTED)
def test_a_planted_mistake_is_found(script: str, tmp_path: Path) -> None:
    """All at once, since a start of the compiler takes seconds: one dashboard for each mistake."""
    planted: dict[str, Callable[[Json], None]] = {plant.__name__: plant for plant in PLANTED[script]}
    for name, plant in planted.items():
        board = boards()["vivix-overview"]
        plant(board)
        (tmp_path / f"{name}.json").write_text(json.dumps(board, indent=2))
    done = node(script, *sorted(tmp_path.iterdir()))
    assert done.returncode == 1
    assert {line.split(".json:")[0] for line in done.stdout.splitlines()} == set(planted)
