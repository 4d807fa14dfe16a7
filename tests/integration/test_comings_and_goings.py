"""Ids that leave the lists and come back, and processes that stop and start again."""

import asyncio
from pathlib import Path

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import exporter, until, write_config
from support.scrape import Scrape
from support.states import rows, state_section

STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate", granted=10_000_000)
DAY_US = 86_400 * MICROS
BUDGET = "vivix_exporter_poll_budget_calls_per_minute"


def simulated(clock: ScaledClock) -> SimulatedApi:
    return SimulatedApi(World(7, [STUDIO], failure_ratio=0.0), clock)


def account(url: str, **more: object) -> dict[str, object]:
    return {"name": "studio", "base_url": url, "api_key": STUDIO.key, **more}


class Later(SystemClock):
    """The machine's time, some days later."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now_us(self) -> int:
        return super().now_us() + round(self.days * DAY_US)


async def test_a_file_of_ids_that_is_absent_during_a_prune_is_not_counted_again(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    clock = ScaledClock(1.0, SystemClock().now_us())
    api, now_us = simulated(clock), clock.now_us()
    ids = [f"ended-{number}" for number in range(5)]
    for id in ids:
        api.world.add_ended("studio", MODELS[0], id, now_us - 60 * MICROS, 10 * MICROS, now_us, None)
    listed = "".join(f"{id}\n" for id in ids)
    (tmp_path / "ids.txt").write_text(listed)
    async with serve(create_app(api)) as address:
        listing = account(address.url, generation_files=["ids.txt"])
        path = write_config(tmp_path, [listing], state=state_section(state_at))

        async def run(days: float) -> Scrape:
            async with exporter(path, Later(days)) as running:
                await until(lambda: not any(running.app.followed().values()), "nothing is followed")
                return await running.scrape()

        await run(0)
        # More than the retention later, the file is absent for a moment, in which a start prunes.
        (tmp_path / "ids.txt").unlink()
        await run(40)
        await run(40.1)
        (tmp_path / "ids.txt").write_text(listed)
        page = await run(40.2)
    assert page.sum("vivix_generations_total") == len(ids)
    assert page.sum("vivix_generations_discovered_total") == len(ids)


async def test_a_clean_stop_returns_the_calls_that_it_reserved_and_did_not_make(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    clock = ScaledClock(1.0, SystemClock().now_us())
    api = simulated(clock)
    id = api.world.submit("studio", MODELS[0], 1, clock.now_us()).id
    async with serve(create_app(api)) as address:
        listing = account(address.url, generations=[id])
        path = write_config(tmp_path, [listing], state=state_section(state_at))
        async with exporter(path, clock):
            await until(lambda: api.requests >= 3, "calls are made")
    [(reserved,)] = rows(state_at, "SELECT sum(calls) FROM reservations")
    # One that was under way at the stop may not have arrived.
    assert api.requests <= reserved <= api.requests + 1


async def test_a_next_process_calls_by_the_plan_that_is_known_before_it_is_reported_again(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    clock = ScaledClock(1.0, SystemClock().now_us())
    budgets = []
    async with serve(create_app(simulated(clock))) as address:
        path = write_config(tmp_path, [account(address.url)], state=state_section(state_at))
        async with exporter(path, clock) as running:
            while not rows(state_at, "SELECT 1 FROM meta WHERE key = 'calls_per_minute of studio'"):
                await asyncio.sleep(0.01)
            budgets.append((await running.scrape()).sum(BUDGET))
    async with exporter(path, clock) as running:
        # The API is gone: nothing is reported.
        budgets.append((await running.scrape()).sum(BUDGET))
    assert budgets == [300, 300], "half the plan"


async def test_models_keep_their_series_after_a_restart(tmp_path: Path, state_at: Path | Secret) -> None:
    clock = ScaledClock(1.0, SystemClock().now_us())
    api = simulated(clock)
    # Slow ones, so that nothing ends and a model has its place from the answers that name it alone.
    slow = sorted(MODELS, key=lambda model: model.median_s)[-4:]
    ids = [api.world.submit("studio", model, 1, clock.now_us()).id for model in slow]
    shown = []
    async with serve(create_app(api)) as address:
        for order in (ids, ids[::-1]):
            listed = account(address.url, generations=order)
            path = write_config(tmp_path, [listed], metrics={"max_models": 2}, state=state_section(state_at))
            async with exporter(path, clock) as running:
                while (page := await running.scrape()).sum("vivix_generations_unseen"):
                    await asyncio.sleep(0.01)
            in_flight = page.of("vivix_generations_in_flight", account="studio")
            shown.append({model for model, _ in in_flight})
    assert shown[0] == shown[1]
    assert len(shown[0]) == 3
    assert "other" in shown[0]
