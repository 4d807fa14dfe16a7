"""A vendor that delivers webhooks to an exporter, while an application registers some of its ids."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import Deliverer, delivering
from exporter.simulator.deliveries import Mishaps
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS, Category
from exporter.simulator.server import serve
from exporter.simulator.truth import truth
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.world import World
from support.pausable import PausableClock
from support.running import Running, exporter, until, write_config
from support.scrape import Scrape
from support.states import state_section
from support.truth import assert_true

SECRET = "whsec_of_the_tests"
GENERATIONS = 2_000
DELIVERY_TIMEOUT = 300.0
"""Real seconds: a busy machine is not an exporter that does not answer."""
PER_SECOND = 4.0
"""Simulated: less than the plans render, so that no queue builds up."""
ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10_000_000)
    for name in ("studio", "shop", "lab")
)
IMAGES = [model for model in MODELS if model.category is Category.IMAGE]


def configure(folder: Path, url: str, state_at: Path | Secret | None = None, **account: object) -> Path:
    """A configuration whose state is a file in the folder, unless it is said to be elsewhere."""
    (folder / "webhook.secret").write_text(SECRET)
    accounts: list[dict[str, object]] = [
        {
            "name": one.name,
            "api_key": one.key,
            "base_url": url,
            "webhook_secret_file": "webhook.secret",
            **account,
        }
        for one in ACCOUNTS
    ]
    sections: dict[str, object] = {} if state_at is None else {"state": state_section(state_at)}
    # How fast the machine is shall not matter, in whatever time the exporter lives.
    return write_config(folder, accounts, polling={"request_timeout": "1h"}, **sections)


@dataclass
class Scene:
    """A vendor that delivers webhooks to an exporter, which half of the generations are registered with."""

    api: SimulatedApi
    running: Running
    deliverer: Deliverer
    registered: set[str]
    clock: PausableClock

    async def submit_steadily(self) -> None:
        rng = random.Random(3)
        for number in range(GENERATIONS):
            name, model = ACCOUNTS[number % len(ACCOUNTS)].name, rng.choice(IMAGES)
            with self.clock.still():
                id = self.api.world.submit(name, model, 1, self.clock.now_us()).id
                if number % 2:
                    self.registered.add(id)
                    await self.running.register(name, id)
            await self.clock.sleep(1 / PER_SECOND)

    async def all_ended(self) -> None:
        def over() -> bool:
            world = self.api.world
            open_ones = world.in_flight(self.clock.now_us())
            return not (open_ones or self.deliverer.outstanding or any(self.running.app.followed().values()))

        await until(over, "everything has ended, been delivered and been seen")

    async def known(self) -> dict[str, dict[str, object]]:
        """Everything that the exporter knows, by id."""
        found: dict[str, dict[str, object]] = {}
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
            answer = await self.running.http.get(f"{self.running.url}/api/v1/generations", params=params)
            body = answer.json()
            found |= {one["id"]: one for one in body["generations"]}
            cursor = body["next_cursor"]
        return found

    def assert_counted(self, page: Scrape, known: dict[str, dict[str, object]]) -> None:
        """Every durable metric is the truth, given by which way each end was seen first."""
        by_webhook = {id for id, one in known.items() if one["observed_via"] == "webhook"}
        assert by_webhook <= set(self.api.delivered.acknowledged())
        now_us = self.clock.now_us()
        assert_true(page, truth(self.api.world, now_us, self.api.shown, by_webhook=by_webhook))
        assert page.sum("vivix_generations_discovered_total") == GENERATIONS
        assert page.sum("vivix_generations_dropped_total") == 0


@asynccontextmanager
async def scene(
    folder: Path, speed: float, mishaps: Mishaps, state_at: Path | Secret | None = None
) -> AsyncIterator[Scene]:
    clock = PausableClock(speed)
    api = SimulatedApi(World(11, ACCOUNTS), clock, mishaps=mishaps)
    async with (
        serve(create_app(api)) as address,
        exporter(configure(folder, address.url, state_at), clock) as running,
        delivering(api, timeout_s=DELIVERY_TIMEOUT) as deliverer,
    ):
        await until(lambda: len(running.app.followed()) == len(ACCOUNTS), "every account is followed")
        for account in ACCOUNTS:
            api.endpoints.set(account.name, [Endpoint(f"{running.url}/webhooks/{account.name}", SECRET)])
        yield Scene(api, running, deliverer, set(), clock)
