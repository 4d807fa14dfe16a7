"""What the exporter's state says of each generation, collected before it is forgotten."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exporter.domain.values import DropReason, Generation
from exporter.simulator.generation import canonical_id
from exporter.store import Database
from exporter.store.reading import Filter, Place, Reading
from soak.telling import Key

CHUNK = 1_000


@dataclass
class Records:
    """The last state of each generation, by account and id. `doubles` are ids that have more than one row;
    `drops` holds reason and time of each drop, also of one that a later registration has undone."""

    last: dict[Key, Generation] = field(default_factory=dict)
    doubles: set[Key] = field(default_factory=set)
    drops: dict[Key, set[tuple[DropReason, int]]] = field(default_factory=dict)

    async def collect(self, state: Path) -> None:
        """Take in everything that the state holds now."""
        found = await asyncio.to_thread(_read, state)
        rows = Counter((one.account, canonical_id(one.id)) for one in found)
        self.doubles.update(key for key, count in rows.items() if count > 1)
        for one in found:
            key = (one.account, canonical_id(one.id))
            if one.drop is not None:
                self.drops.setdefault(key, set()).add((one.drop.reason, one.drop.at_us))
            known = self.last.get(key)
            if known is None or known.end is None or one.end is not None:
                self.last[key] = one


def _read(state: Path) -> list[Generation]:
    database = Database(state, owner=False)
    try:
        with database.read() as connection:
            return list(_all(Reading(connection)))
    finally:
        database.close()


def _all(reading: Reading) -> Iterator[Generation]:
    place: Place | None = None
    while page := reading.page(Filter(), place, CHUNK):
        yield from page
        last = page[-1]
        place = Place(last.discovered_us, last.account, last.id)
