"""What state and collector hold of each generation, collected before the state forgets it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from exporter.clock import Clock
from exporter.config import Secret
from exporter.domain.values import DropReason, Generation
from exporter.errors import ExporterError
from exporter.simulator.generation import canonical_id
from exporter.store import open_database
from exporter.store.lists import Filter, Place
from exporter.store.reading import Reading
from soak.telling import Key
from support.collector import Collector

CHUNK = 1_000
EVERY_S = 300.0
"""Simulated seconds between two collections: far less than the retention."""


@dataclass
class Records:
    """`last` is the last state of each generation, by account and id. `doubles` are ids that have more than
    one row; `drops` holds reason and time of each drop, also of one that a later registration has undone."""

    state: Path | Secret
    collector: Collector
    traces: set[str] = field(default_factory=set)
    last: dict[Key, Generation] = field(default_factory=dict)
    doubles: set[Key] = field(default_factory=set)
    drops: dict[Key, set[tuple[DropReason, int]]] = field(default_factory=dict)

    async def keep(self, clock: Clock, up: asyncio.Event) -> None:
        """Collect every few minutes while the exporter is up, until cancelled."""
        while True:
            await clock.sleep(EVERY_S)
            await up.wait()
            with suppress(ExporterError):
                await self.collect()

    async def collect(self) -> None:
        """Take in what the state and the collector hold now, and empty the collector."""
        self.traces |= self.collector.traces()
        for heap in (self.collector.requests, self.collector.spans, self.collector.order):
            heap.clear()
        found = await asyncio.to_thread(_read, self.state)
        rows = Counter((one.account, canonical_id(one.id)) for one in found)
        self.doubles.update(key for key, count in rows.items() if count > 1)
        for one in found:
            key = (one.account, canonical_id(one.id))
            if one.drop is not None:
                self.drops.setdefault(key, set()).add((one.drop.reason, one.drop.at_us))
            known = self.last.get(key)
            if known is None or known.end is None or one.end is not None:
                self.last[key] = one


def _read(state: Path | Secret) -> list[Generation]:
    database = open_database(state, owner=False)
    try:
        with database.read() as connection:
            return list(_all(Reading(connection)))
    finally:
        database.close()


def _all(reading: Reading) -> Iterator[Generation]:
    place: Place | None = None
    while page := reading.lists.page(Filter(), place, CHUNK):
        yield from page
        last = page[-1]
        place = Place(last.discovered_us, last.account, last.id)
