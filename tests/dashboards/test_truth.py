"""What panels claim to count is true: one exporter or two show the accounts, and are killed and moved."""

import asyncio
import time
from collections import Counter
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
from exporter.simulator.truth import Truth, truth
from exporter.simulator.world import World
from mixin.records import SPENDS, recorded
from mixin.rules import hurried, rule_file
from support.boards import panels
from support.grafana import expanded
from support.prometheus import free_port, prometheus, query
from support.running import command_in_simulated_time, write_config
from support.states import rows, state_section

SPEED = 60.0
FACTOR = 150
"""By which the windows of rules are divided; the chosen range is what it is."""
ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10**9) for name in ("studio", "shop")
)
Asked = dict[tuple[str, ...], float]


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

    def truth(self) -> Truth:
        """What is so now. A failure does not say its model: where the answer that did may have met a dead
        exporter, its own word is taken for it."""
        found = rows(self.state, "SELECT id FROM generations WHERE model IS NULL")
        return truth(self.api.world, self.clock.now_us(), self.api.shown, unnamed={id for (id,) in found})

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
        while not await is_recorded("vivix_generations_total", sum(play.truth().ended.values())):
            await asyncio.sleep(0.1)
        for spend in SPENDS:
            while not await is_recorded(spend, sum(play.truth().credits.values())):
                await asyncio.sleep(0.1)
    # What else ended with the last is on the same page; a rule later it is recorded.
    await asyncio.sleep(1.0)
    return time.time()


@pytest.mark.long(60)
async def test_counts_and_sums_equal_the_truth_over_moves_and_restarts(
    tmp_path: Path, state_at: Path | Secret
) -> None:
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
            before = play.truth()
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
            found = {
                (panel.title, place): await asked(http, server, expr, at, at - before_at)
                for panel in panels()
                for place, expr in enumerate(panel.queries)
                if panel.id in CHECKED
            }
            after = play.truth()
        finally:
            await play.run(config)
    assert_true(found, before, after)


CHECKED = {
    "vivix-failures: Failed",
    "vivix-failures: Dropped",
    "vivix-failures: Failures, by model and reason",
    "vivix-failures: By model",
    "vivix-failures: By account",
    "vivix-cost: Credits used",
    "vivix-cost: By account and model",
    "vivix-cost: Seen by the exporter",
    "vivix-cost: Spend that the exporter did not see",
}


async def asked(http: httpx.AsyncClient, server: str, expr: str, at: float, seconds: float) -> Asked:
    """The values of a panel's query for the range that ends at a moment."""
    durations = {"$__range": f"{round(seconds * 1000)}ms", "$__interval": "1s", "$__rate_interval": "2s"}
    expanded_ = expanded(hurried(expr, FACTOR), durations)
    answer = await http.get(f"{server}/api/v1/query", params={"query": expanded_, "time": str(at)})
    answer.raise_for_status()
    return {
        tuple(value for _, value in sorted(row["metric"].items())): float(row["value"][1])
        for row in answer.json()["data"]["result"]
    }


def assert_true(found: dict[tuple[str, int], Asked], before: Truth, after: Truth) -> None:
    ended: Counter[tuple[str, str, str]] = Counter(after.ended)
    ended.subtract(before.ended)
    failures: Counter[tuple[str, str, str]] = Counter(after.failures)
    failures.subtract(before.failures)
    credits: Counter[tuple[str, str]] = Counter(after.credits)
    credits.subtract(before.credits)
    assert found["Failed", 0] == {(): sum(n for (_, _, s), n in ended.items() if s == "failed")}
    assert found["Dropped", 0] == {(): 0}
    assert found["Credits used", 0] == {(): credits.total()}
    assert found["Seen by the exporter", 0] == {(): 1.0}
    paid, counted, not_seen, seen = (found["Spend that the exporter did not see", n] for n in range(4))
    assert paid == counted == by(credits, 0)
    assert set(not_seen.values()) == {0.0}
    assert set(seen.values()) == {1.0}
    assert found["Failures, by model and reason", 0] == by(failures, 1, 2)
    assert found["By model", 0] == by(ended, 1)
    assert found["By account", 0] == by(ended, 0)
    assert found["By account and model", 0] == by(credits, 0, 1)
    completed: Counter[tuple[str, str, str]] = Counter(
        {k: n for k, n in ended.items() if k[2] == "completed"}
    )
    assert found["By account and model", 1] == by(completed, 0, 1)


def by(values: "Counter[tuple[str, str, str]] | Counter[tuple[str, str]]", *places: int) -> Asked:
    """Sums by some of the labels, without zeros."""
    sums: Counter[tuple[str, ...]] = Counter()
    for key, value in values.items():
        sums[tuple(key[place] for place in places)] += value
    return {key: float(value) for key, value in sums.items() if value}
