"""How few calls webhooks leave to be made, and how soon an end is known: 2,000 generations over 3 accounts,
half of them registered, delivered by the simulated vendor over HTTP within 20 to 200 ms of their end."""

import asyncio
import logging
import tempfile
from pathlib import Path

import structlog

from exporter.simulator.deliveries import Mishaps
from support.pushing import scene

SPEED = 4.0
"""Simulated seconds in one real one: the delays measured are this many times as long as the machine's own."""


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with scene(Path(folder), SPEED, Mishaps.none()) as at:
            await at.submit_steadily()
            await at.all_ended()
            page, known = await at.running.scrape(), await at.known()
            at.assert_counted(page, known)
    polls = sum(at.api.shown.of(id).answers for id in at.registered)
    others = sum(at.api.shown.of(id).answers for id in known if id not in at.registered)
    lags = "vivix_exporter_detection_lag_seconds"
    within = page.sum(f"{lags}_bucket", le="1.0") / page.sum(f"{lags}_count")
    mean = page.sum(f"{lags}_sum") / page.sum(f"{lags}_count")
    print(f"Webhooks: {len(known)} generations at {SPEED:g} times real time, every sum exact")
    print(f"  calls per registered id   {polls / len(at.registered):.3f}")
    print(f"  calls for all other ids   {others}")
    print(f"  detected within 1 s       {within:.2%}")
    print(f"  mean delay                {mean:.3f} s")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main())
