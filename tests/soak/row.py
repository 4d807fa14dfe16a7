"""The table at the end of a soak: what must hold, row by row, with examples where it does not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 4
"""Examples of what is wrong with one row."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `wrong` holds what contradicts it; `None` is a mere statement."""

    what: str
    found: str
    wrong: Sequence[str] | None = ()


def row_of(what: str, found: str, wrong: Iterable[str]) -> Row:
    """A row with at most some of its examples."""
    every = list(wrong)
    return Row(what, found, [*every[:SHOWN], *([f"... {len(every)} in all"] if len(every) > SHOWN else [])])


def differences(expected: Mapping[Any, float], found: Mapping[Any, float]) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys(), key=str):
        wanted, got = expected.get(key, 0), found.get(key, 0)
        if wanted != got:
            yield f"{key}: {got:g}, expected {wanted:g} ({got - wanted:+g})"


def show(rows: Sequence[Row]) -> bool:
    """Print the table; whether all of it holds."""
    for row in rows:
        mark = "    " if row.wrong is None else "FAIL" if row.wrong else "ok  "
        print(f"{mark}  {row.what:58}  {row.found}")
        for text in row.wrong or ():
            print(f"        {text}")
    return not any(row.wrong for row in rows)
