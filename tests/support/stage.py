"""A stage for alerts: simulated accounts, exporters, Prometheus with hurried rules, and Alertmanager.

Rules wait for minutes and hours. Here the same rules are rendered with every duration divided by FACTOR,
Prometheus scrapes every second, and vendor and exporter live in time that runs SPEED times as fast.
"""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import delivering
from exporter.simulator.http import create_app
from exporter.simulator.models import SimulatedModel
from exporter.simulator.server import serve
from exporter.simulator.wallet import CYCLE_US
from exporter.simulator.world import InsufficientCreditsError, World
from mixin.rules import rule_file
from support.prometheus import alertmanager, free_port, prometheus
from support.running import Process, start_process, write_config

SPEED = 30.0
FACTOR = 150
"""What is gone for longer than 2 s is no longer looked at: so late may a scrape and its rules be."""
TICK = 0.6
"""Seconds, of the machine, between two rounds of submissions."""
TOKEN = "token-of-the-stage"
MOST_AT_ONCE = 1000
"""Ids that the exporter takes in one request."""
PATIENCE = 600.0
"""Seconds that an alert may take to fire, and to resolve, on the slowest machine."""

Who = str
"""An account, or an exporter's address where the alert is about a process."""


class Received:
    """What Alertmanager reported: every status of each alert in order, and its texts."""

    def __init__(self) -> None:
        self.statuses: dict[tuple[str, Who], list[str]] = defaultdict(list)
        self.texts: dict[str, dict[str, str]] = {}
        self._changed = asyncio.Event()

    async def take(self, request: Request) -> Response:
        """The receiver that Alertmanager calls."""
        for alert in (await request.json())["alerts"]:
            labels = alert["labels"]
            who = labels.get("account") or labels.get("instance") or labels["job"]
            told = self.statuses[labels["alertname"], who]
            if told[-1:] != [alert["status"]]:
                told.append(alert["status"])
            self.texts.setdefault(labels["alertname"], alert["annotations"])
        self._changed.set()
        return Response()

    async def until(self, status: str, who: Who, *names: str) -> None:
        """Return once the last report of each of these alerts is `status`."""

        def missing() -> list[str]:
            return [name for name in names if self.statuses.get((name, who), [])[-1:] != [status]]

        try:
            async with asyncio.timeout(PATIENCE):
                while missing():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{who}: {', '.join(missing())} never {status}: {dict(self.statuses)}"
            ) from None


@dataclass(frozen=True)
class Feed:
    """What is submitted for an account in each round."""

    model: SimulatedModel
    count: int = 1
    failing: float = 0.0
    took: float | None = None
    """Seconds after which they have ended before anyone looks, without a queue, which is longer on a slow
    machine; None where they go through the plan's slots."""


@dataclass
class Stage:
    """Everything that a scenario moves; `feeds` is what applications submit, by account."""

    api: SimulatedApi
    clock: ScaledClock
    exporter: str
    server: str
    received: Received
    http: httpx.AsyncClient
    process: Process
    feeds: dict[str, Feed] = field(default_factory=dict)
    submitted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _numbers: Iterator[int] = field(default_factory=count)

    async def firing(self, who: Who, *alerts: str) -> None:
        """Return once Alertmanager has reported that all of these fire."""
        await self.received.until("firing", who, *alerts)

    async def resolved(self, who: Who, *alerts: str) -> None:
        """Return once Alertmanager has reported that they have resolved."""
        await self.received.until("resolved", who, *alerts)

    async def submit(self, account: str, feed: Feed) -> None:
        """One round of an account, registered with the exporter."""
        if feed.took is not None:
            await self.register(account, *self.ended(account, feed.model, feed.count, feed.took))
            return
        world, ids = self.api.world, []
        usual, world.failure_ratio = world.failure_ratio, feed.failing
        with suppress(InsufficientCreditsError):
            for _ in range(feed.count):
                ids.append(world.submit(account, feed.model, 1, self.clock.now_us()).id)
        world.failure_ratio = usual
        self.submitted[account] += len(ids)
        if ids:
            await self.register(account, *ids)

    def ended(
        self, account: str, model: SimulatedModel, count: int, took: float, failed: int = 0
    ) -> list[str]:
        """Generations that ended before anyone looked, after `took` seconds, the first few by failing; their
        ids."""
        now_us, ids = self.clock.now_us(), []
        for number in range(count):
            ids.append(f"{account}-{next(self._numbers)}")
            reason = "PROVIDER_ERROR" if number < failed else None
            created_us, duration_us = now_us - round((took + 50) * MICROS), round(took * MICROS)
            self.api.world.add_ended(account, model, ids[-1], created_us, duration_us, now_us, reason)
        return ids

    async def register(self, account: str, *ids: str) -> None:
        """Hand ids over."""
        for first in range(0, len(ids), MOST_AT_ONCE):
            listed = [{"id": id, "account": account} for id in ids[first : first + MOST_AT_ONCE]]
            answer = await self.http.post(
                f"{self.exporter}/api/v1/generations",
                json={"generations": listed},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            assert answer.status_code == 202, answer.text

    @asynccontextmanager
    async def feeding(self) -> AsyncIterator[None]:
        """Submit round after round, until the context is left."""
        task = asyncio.create_task(self._keep_feeding())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_feeding(self) -> None:
        loop = asyncio.get_running_loop()
        began, fed = loop.time(), 0
        while True:
            # On a slow machine a round stands for several: applications are not slower for that.
            rounds = 1 + int((loop.time() - began) / TICK) - fed
            for account, feed in list(self.feeds.items()):
                await self.submit(account, replace(feed, count=feed.count * rounds))
            fed += rounds
            await asyncio.sleep(began + fed * TICK - loop.time())

    async def has_submitted(self, account: str, count: int) -> None:
        """Return once so many have been submitted for an account."""
        while self.submitted[account] < count:
            await asyncio.sleep(TICK)

    async def nothing_in_flight(self, account: str) -> None:
        """Return once everything submitted for an account has ended."""
        while self.api.world.in_flight(self.clock.now_us(), account):
            await asyncio.sleep(TICK)


class Command:
    """`vivix-exporter run` as a process of its own, in real time, that can be killed and started again."""

    def __init__(self, folder: Path, base_url: str, key: str) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.target = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "ids").mkdir(parents=True)
        self.collector = free_port()
        account = {
            "name": "office",
            "base_url": base_url,
            "api_key": key,
            "generation_files": ["ids/*.json"],
            # In its time the vendor's minutes are seconds.
            "calls_per_minute": 6000,
        }
        self.good = yaml.safe_dump({"accounts": [account], "web": {"registration_token_env": "STAGE_TOKEN"}})
        self.config.write_text(self.good)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the context is left, by whatever name it then has."""
        self.start()
        try:
            yield
        finally:
            self.kill()

    def start(self) -> None:
        """Start it, on the same port as ever."""
        program = str(Path(sys.executable).with_name("vivix-exporter"))
        self._process = subprocess.Popen(
            [program, "run", "--config.file", str(self.config), "--web.listen-address", self.target],
            env={
                **os.environ,
                "STAGE_TOKEN": TOKEN,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.collector}",
            },
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def reload(self, config: str) -> None:
        """Give it another configuration and let it know."""
        assert self._process is not None
        self.config.write_text(config)
        self._process.send_signal(signal.SIGHUP)

    def write_ids(self, name: str, text: str) -> None:
        """A file of ids, written as a careful program does."""
        (self.folder / f"{name}.new").write_text(text)
        (self.folder / f"{name}.new").rename(self.folder / "ids" / name)

    def rename_table(self, old: str, new: str) -> None:
        """A hand in its state: what it writes to is no longer there."""
        with sqlite3.connect(self.folder / "vivix-exporter.db", timeout=30) as state:
            state.execute(f"ALTER TABLE {old} RENAME TO {new}")
        state.close()


@asynccontextmanager
async def collector(port: int) -> AsyncIterator[None]:
    """A collector of traces that takes everything, on a port that exporters already know."""

    async def take(_request: Request) -> Response:
        return Response(media_type="application/x-protobuf")

    async with serve(Starlette(routes=[Route("/v1/traces", take, methods=["POST"])]), port=port):
        yield


def clock_with_time_left(speed: float) -> ScaledClock:
    """Simulated time, set so that no billing cycle ends during the play."""
    now_us = SystemClock().now_us()
    left_us = CYCLE_US - now_us % CYCLE_US
    ahead_us = 0 if left_us > 86_400 * MICROS else 2 * 86_400 * MICROS
    return ScaledClock(speed, now_us - round(ahead_us / (speed - 1)))


@asynccontextmanager
async def stage(
    folder: Path,
    accounts: dict[str, dict[str, object]],
    tiers: Callable[[str], SimulatedAccount],
    command: Callable[[str], Command],
    factor: int = FACTOR,
    speed: float = SPEED,
) -> AsyncIterator[tuple[Stage, Command]]:
    """Everything under way; `accounts` are the exporter's, by name, with what is particular to each. The
    rules' durations are divided by `factor`, and time runs `speed` times as fast."""
    clock = clock_with_time_left(speed)
    api = SimulatedApi(World(7, [tiers(name) for name in [*accounts, "office"]], failure_ratio=0.0), clock)
    received = Received()
    told = Starlette(routes=[Route("/", received.take, methods=["POST"])])
    (folder / "token").write_text(TOKEN)
    rules = folder / "rules.yaml"
    rules.write_text(rule_file(factor=factor))
    async with (
        serve(create_app(api)) as vendor,
        serve(told) as hook,
        delivering(api),
        alertmanager(folder, _routing(hook.url)) as telling,
        httpx.AsyncClient(timeout=60) as http,
    ):
        config = write_config(
            folder,
            [
                {"name": name, "base_url": vendor.url, "api_key": tiers(name).key, **particular}
                for name, particular in accounts.items()
            ],
            # How fast the machine is shall not matter.
            polling={"request_timeout": "1h"},
            web={"registration_token_file": "token"},
        )
        process = await start_process(config, http, speed, clock.origin_us)
        try:
            await process.ready()
            second = command(vendor.url)
            with second.running():
                targets = (process.url.removeprefix("http://"), second.target)
                async with prometheus(
                    folder, *targets, interval="1s", rules=[rules], alertmanager=telling
                ) as server:
                    yield Stage(api, clock, process.url, server, received, http, process), second
        finally:
            if process.process.returncode is None:
                await process.kill()


def _routing(url: str) -> dict[str, object]:
    route = {
        "receiver": "stage",
        "group_by": ["..."],
        "group_wait": "50ms",
        "group_interval": "100ms",
        "repeat_interval": "1h",
    }
    hook = {"url": url, "send_resolved": True}
    return {"route": route, "receivers": [{"name": "stage", "webhook_configs": [hook]}]}
