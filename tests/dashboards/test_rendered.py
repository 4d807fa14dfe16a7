"""What is committed is what the source makes, and says nothing that Grafana does not know."""

import json
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from mixin.corrections import correct
from mixin.render import FOLDER, dashboards, files
from support.boards import Json

FILES = files()


@pytest.mark.parametrize("path", FILES)
def test_a_committed_file_is_what_its_source_makes(path: str) -> None:
    assert (FOLDER / path).read_text() == FILES[path], "run `make dashboards` and commit what it writes"


def test_nothing_else_is_committed_beside_them() -> None:
    found = {str(path.relative_to(FOLDER)) for path in Path(FOLDER / "json").iterdir()}
    assert found == {path for path in FILES if path.startswith("json/")}


@pytest.mark.parametrize("board", dashboards().values(), ids=dashboards())
def test_reading_a_dashboard_back_loses_nothing(board: Json) -> None:
    """Reading drops keys that are unknown, so a misspelt one would be missing afterwards."""
    register_default_plugins()
    again = correct(json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(board))))))
    assert again == board


def test_addresses_of_runbooks_and_grafana_can_be_set() -> None:
    made = files("https://example.org/runbooks", "https://grafana.example.org")["rules/vivix.yaml"]
    [group] = yaml.safe_load(made)["groups"]
    for rule in [rule for rule in group["rules"] if "alert" in rule]:
        assert rule["annotations"]["runbook_url"].startswith("https://example.org/runbooks#vivix")
        assert rule["annotations"]["dashboard_url"].startswith("https://grafana.example.org/d/vivix-")
