"""Every durable metric equals the truth exactly, whatever happens on the way."""

import random
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from exporter.clock import ScaledClock, SystemClock
from exporter.config import Secret, load_config
from exporter.domain.values import AccountName, GenerationId
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.truth import truth
from exporter.simulator.world import World
from exporter.store import open_database
from exporter.store.reading import Reading
from support.running import exporter, start_process, until, write_config
from support.states import state_section
from support.truth import assert_true

GENERATIONS = 2_000
SPEED = 30.0
SHARE = 0.5
KILLS = (20, 8)
"""On SQLite, and on PostgreSQL, where accounts of a process that was killed wait for its leases to end."""

ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10_000_000)
    for name in ("studio", "shop", "lab")
)


class Scene:
    """A simulated API with generations submitted to it, and a configuration that lists them."""

    def __init__(
        self, folder: Path, at: Path | Secret, faults: Faults, generations: int = GENERATIONS
    ) -> None:
        self.clock = ScaledClock(SPEED, SystemClock().now_us())
        world = World(7, ACCOUNTS)
        self.api = SimulatedApi(world, self.clock, faults)
        self.folder = folder
        self.at = at
        self.ids: dict[str, list[str]] = {account.name: [] for account in ACCOUNTS}
        rng = random.Random(7)
        now_us = self.clock.now_us()
        for number in range(generations):
            account = ACCOUNTS[number % len(ACCOUNTS)].name
            model = rng.choice(MODELS)
            self.ids[account].append(
                world.submit(account, model, rng.randint(1, model.most_results), now_us).id
            )

    def configure(self, url: str) -> Path:
        accounts: Sequence[dict[str, object]] = [
            {
                "name": account.name,
                "base_url": url,
                "api_key": account.key,
                "rate_limit_share": SHARE,
                "generations": self.ids[account.name],
            }
            for account in ACCOUNTS
        ]
        # An answer that a slow machine delivers too late is one that the simulator believes was received.
        patience = "150s" if self.api.faults.rates else "1h"
        return write_config(
            self.folder, accounts, polling={"request_timeout": patience}, state=state_section(self.at)
        )

    def assert_gentle(self) -> None:
        """No account was called more often than its share in any minute, nor ran into the limit."""
        for account in ACCOUNTS:
            allowed = account.plan.calls_per_minute * SHARE
            assert self.api.calls.max_calls_in_any_window(account.name, Caller.READ) <= allowed
            assert self.api.calls.limited[account.name, Caller.READ] == 0


@pytest.mark.long(80)
@pytest.mark.parametrize("faults", [Faults.none(), Faults.everything(seed=3)], ids=["well", "all faults"])
async def test_after_all_have_ended_every_durable_metric_is_true(
    tmp_path: Path, state_at: Path | Secret, faults: Faults
) -> None:
    scene = Scene(tmp_path, state_at, faults)
    async with (
        serve(create_app(scene.api)) as address,
        exporter(scene.configure(address.url), scene.clock) as running,
    ):
        await until(lambda: not any(running.app.followed().values()), "every end is seen")
        page = await running.scrape()
    assert page.sum("vivix_generations_discovered_total", source="config") == GENERATIONS
    assert page.sum("vivix_generations_dropped_total") == 0
    assert page.sum("vivix_generations_in_flight") == 0
    struck = sum(scene.api.faults.struck.values())
    assert bool(struck) == bool(faults.rates)
    assert_true(page, truth(scene.api.world, scene.clock.now_us(), scene.api.shown), queues=not struck)
    scene.assert_gentle()


def recorded_without_model(path: Path) -> set[GenerationId]:
    """The ids whose model the exporter of this configuration does not know."""
    config = load_config(path)
    database = open_database(config.state_at, owner=False)
    with database.begin() as connection:
        reading = Reading(connection)
        listed = [(AccountName(account.name), id) for account in config.accounts for id in account.ids]
        found = [reading.find(name, id) for name, id in listed]
    database.close()
    return {one.id for one in found if one is not None and one.model is None}


@pytest.mark.long(100)
async def test_killed_and_restarted_at_random_moments_every_durable_metric_is_true(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    scene = Scene(tmp_path, state_at, Faults.everything(seed=5))
    rng = random.Random(11)
    async with serve(create_app(scene.api)) as address, httpx.AsyncClient(timeout=60) as http:
        path = scene.configure(address.url)
        for _ in range(KILLS[type(state_at) is Secret]):
            running = await start_process(path, http, SPEED, scene.clock.origin_us)
            enough = scene.api.requests + rng.randint(1, 400)
            await until(lambda enough=enough: scene.api.requests >= enough, "calls go on")  # type: ignore[misc]
            await running.kill()
            scene.api.shown.new_reader()
        running = await start_process(path, http, SPEED, scene.clock.origin_us)
        try:
            await running.ready()
            while True:
                page = await running.scrape()
                if page.sum("vivix_generations_total") == GENERATIONS:
                    break
                calls = scene.api.requests
                await until(lambda calls=calls: scene.api.requests > calls + 10, "calls go on")  # type: ignore[misc]
        finally:
            await running.kill()
    assert page.sum("vivix_generations_discovered_total", source="config") == GENERATIONS
    # A failure does not say its model. Where the answer that did may have met a dead exporter, its own word
    # is taken for it; every other one must have the model that was reported to it.
    unnamed = recorded_without_model(path)
    true = truth(scene.api.world, scene.clock.now_us(), scene.api.shown, unnamed=unnamed)
    assert_true(page, true, queues=False)
    scene.assert_gentle()
