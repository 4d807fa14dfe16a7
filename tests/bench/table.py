"""What the benches measured, as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path("bench-results")
"""The folder of the JSON, which git ignores."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a bench, and what it must be at most (or at least)."""

    work: str
    figure: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the figure is what it must be; None where nothing is asked of it."""
        if self.at_most is None and self.at_least is None:
            return None
        above = self.at_least is None or self.figure >= self.at_least
        return above and (self.at_most is None or self.figure <= self.at_most)


def report(bench: str, rows: Sequence[Row]) -> None:
    """Print the rows of one bench, and write them to `bench-results/<bench>.json`."""
    width = max(len(row.work) for row in rows)
    print(f"\n{bench}")
    for row in rows:
        asked = ""
        if row.at_most is not None:
            asked = f"at most {row.at_most:g}"
        if row.at_least is not None:
            asked = f"at least {row.at_least:g}"
        held = {None: "", True: "ok", False: "MISSED"}[row.holds]
        print(f"  {row.work:<{width}}  {row.figure:>10.4g} {row.unit:<14} {asked:<16} {held}".rstrip())
    RESULTS.mkdir(exist_ok=True)
    written = [asdict(row) | {"holds": row.holds} for row in rows]
    (RESULTS / f"{bench}.json").write_text(json.dumps(written, indent=2) + "\n")
