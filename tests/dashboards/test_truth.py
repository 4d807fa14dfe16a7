"""What panels claim to count is true while a real Prometheus scrapes: one exporter or two show the accounts,
and are killed and moved."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from exporter.clock import ScaledClock, SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS, SimulatedModel
from exporter.simulator.server import serve
from exporter.simulator.world import World
from mixin.records import SPENDS, recorded
from mixin.rules import rule_file
from support.asking import Asking, different
from support.claims import OF_RANGE, Told
from support.prometheus import free_port, prometheus, query
from support.running import command_in_simulated_time, write_config
from support.states import state_section
from support.sums import Sums, told

SPEED = 60.0
FACTOR = 150
"""By which the windows of rules are divided; the chosen range is what it is."""
ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10**9) for name in ("studio", "shop")
)


class Play:
    """Accounts whose ids are written to files, and whichever exporters follow them."""

    def __init__(self, folder: Path, state: Path | Secret) -> None:
        self.folder = folder
        self.state = state
        self.clock = ScaledClock(SPEED, SystemClock().now_us())
        self.api = SimulatedApi(World(7, ACCOUNTS, failure_ratio=0.3), self.clock)
        self._running: dict[int, asyncio.subprocess.Process] = {}

    def submit(self, account: str, count: int, models: Sequence[SimulatedModel]) -> None:
        """Submit, and list the ids."""
        now_us = self.clock.now_us()
        ids = [self.api.world.submit(account, models[n % len(models)], 1, now_us).id for n in range(count)]
        with (self.folder / f"{account}.txt").open("a") as file:
            file.writelines(f"{id}\n" for id in ids)

    def told(self) -> Sums:
        """What has come about until now."""
        return told(self.api, self.state)

    async def run(self, config: Path, *ports: int) -> None:
        """Kill those that are at no such address, as by a power cut, and start what is missing."""
        for port in self._running.keys() - set(ports):
            process = self._running.pop(port)
            process.kill()
            await process.wait()
            self.api.shown.new_reader()
        for port in set(ports) - self._running.keys():
            command = command_in_simulated_time(config, SPEED, self.clock.origin_us, f"127.0.0.1:{port}")
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            self._running[port] = process
            assert process.stdout is not None
            await process.stdout.readline()


async def wallets_read(http: httpx.AsyncClient, server: str) -> None:
    """Return when each wallet was read once: what it spends from then on is known."""
    async with asyncio.timeout(180):
        while (await query(http, server, f"count({recorded(SPENDS[0])})")) != {(): len(ACCOUNTS)}:
            await asyncio.sleep(0.1)


async def settled(play: Play, http: httpx.AsyncClient, server: str) -> float:
    """Return when everything has ended and been recorded, in Unix seconds."""

    async def is_recorded(metric: str, total: int) -> bool:
        return (await query(http, server, f"sum({recorded(metric)})")).get((), 0) == total

    async with asyncio.timeout(180):
        while play.api.world.in_flight(play.clock.now_us()):
            await asyncio.sleep(0.1)
        while not await is_recorded("vivix_generations_total", sum(play.told().ended.values())):
            await asyncio.sleep(0.1)
        for spend in SPENDS:
            while not await is_recorded(spend, sum(play.told().credits.values())):
                await asyncio.sleep(0.1)
    # What else ended with the last is on the same page; a rule later it is recorded.
    await asyncio.sleep(1.0)
    return time.time()


@pytest.mark.long(60)
async def test_counts_and_sums_equal_the_truth_over_moves_and_restarts(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    began_at = time.time()
    play, (one, other) = Play(tmp_path, state_at), (free_port(), free_port())
    rules = tmp_path / "rules.yaml"
    rules.write_text(rule_file(factor=FACTOR))
    for account in ACCOUNTS:
        (tmp_path / f"{account.name}.txt").touch()
    async with (
        serve(create_app(play.api)) as vendor,
        prometheus(
            tmp_path, f"127.0.0.1:{one}", f"127.0.0.1:{other}", interval="500ms", rules=[rules]
        ) as server,
        httpx.AsyncClient(timeout=60) as http,
    ):
        listed = [
            {
                "name": account.name,
                "base_url": vendor.url,
                "api_key": account.key,
                "generation_files": [f"{account.name}.txt"],
            }
            for account in ACCOUNTS
        ]
        config = write_config(
            tmp_path, listed, polling={"request_timeout": "1h"}, state=state_section(state_at)
        )
        try:
            # A state in PostgreSQL has two owners, one of which is lost.
            await play.run(config, one, *([] if isinstance(state_at, Path) else [other]))
            await wallets_read(http, server)
            play.submit("studio", 20, MODELS[:2])
            before_at = await settled(play, http, server)
            before = play.told()
            play.submit("studio", 20, MODELS)
            play.submit("shop", 10, MODELS[:1])
            await asyncio.sleep(1)
            await play.run(config, other)
            play.submit("shop", 30, MODELS)
            await settled(play, http, server)
            play.submit("studio", 10, MODELS[1:3])
            await asyncio.sleep(0.5)
            await play.run(config, one)
            play.submit("studio", 15, MODELS)
            at = await settled(play, http, server)
            whole = play.told()
            since = Asking(http, server, at, at - before_at, factor=FACTOR)
            # What an account does first is counted too, although the range begins before anybody knew it.
            of_all = Asking(http, server, at, at - began_at, factor=FACTOR)
            wrong = [
                *await different(OF_RANGE, since.now, Told(whole.since(before)), graphs=False),
                *await different(OF_RANGE, of_all.now, Told(whole), graphs=False),
            ]
        finally:
            await play.run(config)
    assert not wrong, "\n".join(wrong)
