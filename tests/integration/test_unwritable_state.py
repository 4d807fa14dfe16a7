"""The state cannot be written for a while: nothing is asked that could not be kept, and nothing gets lost."""

import asyncio
import json
import random
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml
from structlog.testing import capture_logs

from exporter.clock import ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.truth import truth
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from support.running import PATIENCE, Exporter, Process, exporter, start_process, until, write_config
from support.truth import assert_true

SPEED = 30.0
SECRET, TOKEN = "whsec_of_the_tests", "let-me-register"
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate", granted=10_000_000)
LOST, REGAINED = "the state cannot be written", "the state can be written again"
ERRORS = "vivix_exporter_store_errors_total"
SUCCESSFUL = "vivix_exporter_config_last_reload_successful"


@dataclass
class Scene:
    """A simulated API, and the configuration of an exporter that follows what was submitted to it."""

    api: SimulatedApi
    clock: ScaledClock
    config: Path
    http: httpx.AsyncClient
    generations: int

    @property
    def calls(self) -> int:
        return self.api.calls.calls("studio", Caller.READ)

    async def some_calls(self, more: int = 30) -> None:
        goal = self.calls + more
        await until(lambda: self.calls >= goal, "it is polled")

    async def errors(self, running: Exporter, more: int) -> None:
        """Return once so many more writes have failed; pages are shown meanwhile."""
        goal = (await running.scrape()).sum(ERRORS) + more
        async with asyncio.timeout(PATIENCE):
            while (await running.scrape()).sum(ERRORS) < goal:
                await asyncio.sleep(0.02)

    async def register(self, running: Exporter, *ids: str) -> int:
        body = {"generations": [{"id": id} for id in ids]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return (
            await self.http.post(f"{running.url}/api/v1/generations", json=body, headers=headers)
        ).status_code

    async def deliver(self, running: Exporter, id: str) -> int:
        body = json.dumps({"generation_id": id, "status": "completed", "model": "m"}).encode()
        headers = {"X-Vivix-Signature": signature(SECRET, body)}
        answer = await self.http.post(f"{running.url}/webhooks/studio", content=body, headers=headers)
        return answer.status_code

    async def assert_exact_in_the_end(self, running: Exporter) -> None:
        world = self.api.world
        async with asyncio.timeout(PATIENCE):
            while (page := await running.scrape()).sum("vivix_generations_total") < self.generations:
                await asyncio.sleep(0.05)
        assert page.sum("vivix_generations_in_flight") + page.sum("vivix_generations_unseen") == 0
        assert_true(page, truth(world, self.clock.now_us(), self.api.shown), queues=False)


@asynccontextmanager
async def scene(folder: Path, generations: int = 300) -> AsyncIterator[Scene]:
    clock = ScaledClock(SPEED, SystemClock().now_us())
    rng, api = random.Random(5), SimulatedApi(World(5, [STUDIO], failure_ratio=0.2), clock)
    ids = [api.world.submit("studio", rng.choice(MODELS), 1, clock.now_us()).id for _ in range(generations)]
    (folder / "secret").write_text(SECRET)
    (folder / "token").write_text(TOKEN)
    async with serve(create_app(api)) as address, httpx.AsyncClient(timeout=60) as http:
        account: dict[str, object] = {
            "name": "studio",
            "api_key": STUDIO.key,
            "base_url": address.url,
            "rate_limit_share": 1.0,
            "generations": ids,
            "webhook_secret_file": "secret",
        }
        config = write_config(
            folder,
            [account],
            polling={"request_timeout": "1h"},
            web={"registration_token_file": "token"},
        )
        yield Scene(api, clock, config, http, generations)


@dataclass
class Log:
    """What a process logs, line by line."""

    lines: list[str] = field(default_factory=list)

    async def read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.lines.append(line.decode())

    def having(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


@asynccontextmanager
async def process(at: Scene) -> AsyncIterator[tuple[Process, Log]]:
    running = await start_process(at.config, at.http, SPEED, at.clock.origin_us, logged="warn")
    assert running.process.stderr is not None
    log = Log()
    reading = asyncio.create_task(log.read(running.process.stderr))
    try:
        await running.ready()
        yield running, log
    finally:
        await running.kill()
        await reading


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of the process can grow, nor be written to but for its first byte: what it gets to hear is not
    ENOSPC but EFBIG, and needs no file system of its own."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def test_while_the_disk_is_full_nothing_is_called_and_afterwards_everything_is_exact(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at, process(at) as (running, log):
        await at.some_calls()
        with full_disk(running.process.pid):
            await until(lambda: bool(log.having(LOST)), "it is noticed")
            await at.errors(running, 2)
            calls = at.calls
            assert await at.register(running, "another") == 503
            assert await at.deliver(running, "yet-another") == 503
            await at.errors(running, 3)
            assert at.calls == calls
            assert (await at.http.get(f"{running.url}/api/v1/generations")).status_code == 200
        await at.assert_exact_in_the_end(running)
    [line] = log.having("level=error")
    assert LOST in line
    assert "error=" in line
    assert "action=" in line


async def test_a_reload_while_the_disk_is_full_is_refused_whole(tmp_path: Path) -> None:
    async with scene(tmp_path, 30) as at, process(at) as (running, log):
        await at.some_calls(3)
        before = await running.scrape()
        now_us, [account] = at.clock.now_us(), yaml.safe_load(at.config.read_text())["accounts"]
        listed = [at.api.world.submit("studio", MODELS[0], 1, now_us).id for _ in range(5)]
        account["generations"] += listed
        write_config(
            tmp_path,
            [account, account | {"name": "shop", "generations": listed}],
            polling={"request_timeout": "1h"},
            web={"registration_token_file": "token"},
        )
        with full_disk(running.process.pid):
            running.process.send_signal(signal.SIGHUP)
            await until(lambda: bool(log.having("refused")), "it is answered")
            refused = await running.scrape()
        at.generations += len(listed)
        async with asyncio.timeout(PATIENCE):
            while (page := await running.scrape()).sum("vivix_exporter_accounts_owned") < 2:
                running.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.1)
        discovered = "vivix_generations_discovered_total"
    assert [one.sum(SUCCESSFUL) for one in (before, refused, page)] == [1, 0, 1]
    assert [one.sum(discovered) for one in (before, refused, page)] == [30, 30, 40]
    assert refused.sum("vivix_exporter_accounts_owned") == 1
    assert "the state cannot be written" in log.having("refused")[0]


async def test_a_database_that_another_program_locks_is_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        with capture_logs() as logs:
            async with exporter(at.config, at.clock) as running:
                await at.some_calls()
                with closing(sqlite3.connect(tmp_path / "vivix-exporter.db", isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    await until(lambda: any(LOST in line["event"] for line in logs), "it is noticed")
                    calls = at.calls
                    assert await at.register(running, "another") == 503
                    await at.errors(running, 1)
                    assert at.calls == calls
                    other.execute("ROLLBACK")
                await until(lambda: any(REGAINED in line["event"] for line in logs), "it is noticed")
                await at.assert_exact_in_the_end(running)
    [lost] = [line for line in logs if LOST in line["event"]]
    [regained] = [line for line in logs if REGAINED in line["event"]]
    assert "locked" in lost["error"]
    assert "program" in lost["action"]
    assert lost["log_level"] == "error"
    assert regained["writes_failed"] >= 3
    assert regained["seconds"] > 5
    levels = [line["log_level"] for line in logs]
    assert levels.count("error") == 1
