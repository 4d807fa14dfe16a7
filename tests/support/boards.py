"""The committed dashboards, taken apart for checks."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "dashboards"
EMPTY = "Empty when nothing is wrong."
"""What the description of a panel says that may show nothing."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard, rows left out."""

    board: str
    json: Json

    @property
    def title(self) -> str:
        return str(self.json["title"])

    @property
    def id(self) -> str:
        """For a test's name."""
        return f"{self.board}: {self.title}"

    @property
    def queries(self) -> list[str]:
        return [str(target["expr"]) for target in self.json["targets"]]

    @property
    def may_be_empty(self) -> bool:
        """Whether it says of itself that nothing is shown when all is well."""
        return str(self.json["description"]).endswith(EMPTY)


def boards() -> Mapping[str, Json]:
    """Every dashboard by uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "json").glob("*.json"))}


def panels() -> list[Panel]:
    """Every panel of every dashboard."""
    return [
        Panel(uid, panel)
        for uid, board in boards().items()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def annotations() -> Iterator[tuple[str, str]]:
    """Dashboard and query of every annotation."""
    for uid, board in boards().items():
        for annotation in board["annotations"]["list"]:
            yield uid, annotation["expr"]
