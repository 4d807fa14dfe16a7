"""Writes the dashboards' JSON and the rule file: `python -m mixin.render`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from mixin import cost, exporter, failures, overview
from mixin.corrections import Json, correct
from mixin.rules import GRAFANA, RUNBOOKS, rule_file

FOLDER = Path(__file__).parents[1]
"""Where `json/` and `rules/` are."""
RULES = "rules/vivix.yaml"


def dashboards() -> Mapping[str, Json]:
    """Every dashboard by its uid, as Grafana imports it."""
    boards = (module.build().build() for module in (overview, failures, cost, exporter))
    corrected = [correct(json.loads(JSONEncoder().encode(board))) for board in boards]
    return {board["uid"]: board for board in corrected}


def files(runbooks: str = RUNBOOKS, grafana: str = GRAFANA) -> Mapping[str, str]:
    """What is committed, by its path in the folder."""
    boards = {
        f"json/{uid}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for uid, board in dashboards().items()
    }
    return {**boards, RULES: rule_file(runbooks, grafana)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runbooks", default=RUNBOOKS, help="address of runbooks.md")
    parser.add_argument("--grafana", default=GRAFANA, help="address of Grafana")
    arguments = parser.parse_args()
    for path, text in files(arguments.runbooks.rstrip("/"), arguments.grafana.rstrip("/")).items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(text)


if __name__ == "__main__":
    main()
