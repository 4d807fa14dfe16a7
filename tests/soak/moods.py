"""The moods of the collector of traces: half of the time in one kind of trouble after the other."""

from collections import Counter

from starlette.responses import Response

from exporter.clock import Clock
from support.collector import Behaviour, Collector, Received, garbage, slow, status

LASTING_S = 660.0
"""Simulated seconds of each kind of trouble, and of the peace after it."""
REFUSED = 7
"""One trace in so many is refused while the collector is picky."""


async def picky(received: Received) -> Response | None:
    """Refuse a request that holds a trace of the refused kind."""
    refused = any(span.trace_id[0] % REFUSED == 0 for span in received.spans)
    return await status(400)(received) if refused else None


MOODS: tuple[Behaviour, ...] = (status(503), garbage(), slow(1.0), status(429, Retry_After="5"), picky)


async def change(collector: Collector, clock: Clock, done: Counter[str]) -> None:
    """Go through all moods until cancelled."""
    while True:
        for mood in MOODS:
            await clock.sleep(LASTING_S)
            collector.behaviour = mood
            await clock.sleep(LASTING_S)
            collector.behaviour = None
            done["collector in trouble"] += 1
