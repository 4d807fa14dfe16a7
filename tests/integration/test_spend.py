"""An account's two spends agree in the simulator, over restarts, top-ups, a cycle's end and a backlog."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS, Category
from exporter.simulator.server import serve
from exporter.simulator.wallet import CYCLE_US
from exporter.simulator.world import World
from support.running import Running, exporter, until, write_config
from support.states import state_section

SPEED = 60.0
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate", granted=10**9)
OBSERVED, FOLLOWED = "vivix_account_spend_observed_credits", "vivix_account_spend_followed_credits"
MINUTE_US = 60 * MICROS
VIDEO = [model for model in MODELS if model.category is Category.VIDEO]
"""In time that runs this fast, pictures end before their first poll, and nobody learns of their estimate."""


def clock_before_the_cycle_ends(minutes: int) -> ScaledClock:
    """Simulated time of which a billing cycle ends in so many minutes."""
    now_us = SystemClock().now_us()
    ahead_us = -now_us % CYCLE_US - minutes * MINUTE_US
    return ScaledClock(SPEED, now_us - round(ahead_us % CYCLE_US / (SPEED - 1)))


@asynccontextmanager
async def submitting(api: SimulatedApi, running: Running) -> AsyncIterator[None]:
    """An application that submits and registers twenty generations a simulated minute."""
    rng, enough = random.Random(5), asyncio.Event()

    async def submit() -> None:
        while not await api.clock.wait(enough, rng.expovariate(1 / 3)):
            model = rng.choice(VIDEO)
            one = api.world.submit("studio", model, rng.randint(1, model.most_results), api.clock.now_us())
            await running.register("studio", one.id)

    task = asyncio.create_task(submit())
    try:
        yield
    finally:
        enough.set()
        await task


async def spends(running: Running) -> tuple[float, float]:
    page = await running.scrape()
    return page.sum(OBSERVED), page.sum(FOLLOWED)


def top_up(api: SimulatedApi) -> None:
    now_us = api.clock.now_us()
    api.world.wallet("studio", now_us).top_up(5_000, now_us)


async def settled(api: SimulatedApi, running: Running) -> tuple[float, float]:
    """The spends as of a time when all had ended: they are those of the read before the last, and one may be
    under way."""
    began = await wallet_reads(running)
    while await wallet_reads(running) < began + 3:
        await passed(api, 0.5)
    return await spends(running)


async def wallet_reads(running: Running) -> float:
    return (await running.scrape()).sum("vivix_api_requests_total", endpoint="credits", code="200")


async def passed(api: SimulatedApi, minutes: float) -> None:
    await api.clock.sleep(minutes * 60)


@pytest.mark.long(45)
@pytest.mark.parametrize("cycle_ends_in", [1_000, 5], ids=["within a cycle", "over a cycle's end"])
async def test_whatever_is_followed_explains_all_that_is_spent(
    tmp_path: Path, state_at: Path | Secret, cycle_ends_in: int
) -> None:
    clock = clock_before_the_cycle_ends(cycle_ends_in)
    api = SimulatedApi(World(7, [STUDIO], failure_ratio=0.2), clock)
    async with serve(create_app(api)) as address:
        path = write_config(
            tmp_path,
            [{"name": "studio", "base_url": address.url, "api_key": STUDIO.key}],
            polling={"request_timeout": "1h"},
            state=state_section(state_at),
        )
        async with exporter(path, clock) as running:
            while OBSERVED not in {name for name, _ in (await running.scrape()).samples}:
                await passed(api, 0.1)
            async with submitting(api, running):
                await passed(api, 3)
        # Meanwhile the vendor goes on with what is in flight.
        top_up(api)
        await passed(api, 1)
        async with exporter(path, clock) as running:
            async with submitting(api, running):
                await passed(api, 2)
                top_up(api)
                await passed(api, 1)
            await until(lambda: not any(running.app.followed().values()), "every end is seen")
            observed, followed = await settled(api, running)
            now_us = clock.now_us()
            long_ago_us = now_us - 36_000 * MICROS
            old = api.world.add_ended(
                "studio", VIDEO[0], "an-old-one", long_ago_us, 10 * MICROS, now_us, credits_used=500
            )
            await running.register("studio", old.id)
            await until(lambda: not any(running.app.followed().values()), "the old one's end is seen")
            await settled(api, running)
            page = await running.scrape()
    assert followed == observed
    assert observed > 0
    assert (page.sum(OBSERVED), page.sum(FOLLOWED)) == (observed, followed)
    assert page.sum("vivix_generations_backfilled_total") == 1
    if cycle_ends_in > 100:
        assert observed == sum(one.fate.credits_used for one in api.world if one.number is not None)
