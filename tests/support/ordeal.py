"""What replicas go through together: an application and a vendor at work, and trouble of every kind."""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import httpx

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import Deliverer, delivering
from exporter.simulator.deliveries import Kind, Mishaps
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS, Category
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.store import open_database
from soak.telling import Key, Told, Way
from support import lease_audit, replicas
from support.collector import Collector, collector
from support.pgbouncer import PgBouncer
from support.postgresql import Server
from support.replicas import STATE, Balanced, Replica, Replicas
from support.running import write_config
from support.scrape import Key as Sample
from support.scrape import Scrape, parse

TOKEN, SECRET = "let-me-register", "whsec_of_the_tests"
SHARE = 0.8
WEBHOOKS = {"studio": True, "shop": True, "lab": True, "press": False, "film": False, "radio": False}
"""Accounts, and whether the vendor delivers their ends. Of the others, every id is registered."""
ACCOUNTS = [
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10_000_000) for name in WEBHOOKS
]
QUICK = [
    replace(one, median_s=one.median_s / 4, shortest_s=0.5, longest_s=15)
    for one in MODELS
    if one.category is Category.IMAGE
]
"""Models that render as fast as the applications submit."""
REGISTERED, TRACED, REPEATED = 1 / 3, 0.3, 0.1
"""Shares: of the ids of accounts with webhooks those that are registered too; of the registrations those with
a caller's trace, and those that two replicas get at once."""
ATTEMPTS, DELIVERY_TIMEOUT = 8, 5.0
"""How often the vendor delivers, and how many seconds it waits for an answer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.2
"""Seconds between two attempts to register, doubling."""
KILL_EVERY = 5.0
PATIENCE = 400.0
"""Seconds in which everything must have ended once the troubles are over: where deliveries failed on a slow
machine until then, each waits for minutes before its last attempts."""


@dataclass(frozen=True)
class Ordeal:
    """What happens: all in seconds from the first submission, spans with beginning and end."""

    generations: int
    submitted_until: float
    kills: int
    frozen: tuple[float, float]
    cut_off: tuple[float, float]
    server_restarts: tuple[float, float]
    rolling_restart: float


class Client:
    """An application that submits generations, and registers ids with any replica until one acknowledges."""

    def __init__(self, api: SimulatedApi, them: Replicas, rng: random.Random) -> None:
        self.generations: dict[Key, Told] = {}
        self.answers: Counter[int] = Counter()
        """Registrations by the status of their answer; 0 is none."""
        self._api = api
        self._replicas = them
        self._rng = rng

    async def submit(self, ordeal: Ordeal) -> None:
        """Submit steadily; returns once all that is to be registered has been acknowledged."""
        loop = asyncio.get_running_loop()
        began, every_s = loop.time(), ordeal.submitted_until / ordeal.generations
        patience = aiohttp.ClientTimeout(sock_connect=4, sock_read=4)
        async with aiohttp.ClientSession(timeout=patience) as http, asyncio.TaskGroup() as registering:
            for number in range(ordeal.generations):
                await asyncio.sleep(began + number * every_s - loop.time())
                account, model = ACCOUNTS[number % len(ACCOUNTS)].name, self._rng.choice(QUICK)
                id = self._api.world.submit(account, model, 1, self._api.clock.now_us()).id
                told = self.generations[account, id] = Told(Way.WEBHOOK)
                if WEBHOOKS[account] and self._rng.random() >= REGISTERED:
                    continue
                told.way = Way.REGISTERED
                if self._rng.random() < TRACED:
                    told.traceparent = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
                for _ in range(1 + (self._rng.random() < REPEATED)):
                    registering.create_task(self._register(http, (account, id), told))

    async def _register(self, http: aiohttp.ClientSession, key: Key, told: Told) -> None:
        item = {"account": key[0], "id": key[1]}
        if told.traceparent:
            item["traceparent"] = told.traceparent
        pause = FIRST_PAUSE
        while True:
            try:
                async with http.post(
                    f"{self._replicas.target().url}/api/v1/generations",
                    json={"generations": [item]},
                    headers={"Authorization": f"Bearer {TOKEN}"},
                ) as answer:
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            self.answers[status] += 1
            if status == 202:
                told.told = True
                return
            # As applications do: hundreds that ask five times a second are more than a slow machine can bear.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def highest(pages: Sequence[Scrape]) -> Scrape:
    """Return the largest value of each sample."""
    samples: dict[Sample, float] = {}
    for page in pages:
        for key, value in page.samples.items():
            samples[key] = max(value, samples.get(key, value))
    return Scrape(samples)


@dataclass
class Scene:
    """Vendor, application, replicas, collector of traces and database."""

    api: SimulatedApi
    client: Client
    deliverer: Deliverer
    replicas: Replicas
    traces: Collector
    server: Server
    state: Secret
    exits: list[int | None] = field(default_factory=list)
    """The exit statuses of the rolling restart."""
    outages: list[tuple[float, float, str]] = field(default_factory=list)
    """When the server was away, in Unix seconds, for replicas whose name begins so."""
    shown: Scrape = field(default_factory=lambda: Scrape({}))
    """The largest values that replicas showed on the way."""
    left: Mapping[str, float] = field(default_factory=dict)
    """What had not ended when patience did, by kind."""

    async def suffer(self, ordeal: Ordeal) -> None:
        """Go through all of it; returns once everything has ended, or patience has."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def at(seconds: float) -> None:
            await asyncio.sleep(began + seconds - loop.time())

        async def kill() -> None:
            for number in range(ordeal.kills):
                await at((number + 1) * KILL_EVERY)
                await (await self.replicas.spare()).kill()

        async def disturb() -> None:
            await at(ordeal.frozen[0])
            with (await self._owner()).frozen():
                await at(ordeal.frozen[1])
            await at(ordeal.cut_off[0])
            owner, since = await self._owner(), time.time()
            with owner.cut_off():
                await at(ordeal.cut_off[1])
            self.outages.append((since, time.time(), owner.name))

        async def restart() -> None:
            for when, immediate in zip(ordeal.server_restarts, (False, True), strict=True):
                await at(when)
                since = time.time()
                await asyncio.to_thread(self.server.restart, immediate=immediate)
                self.outages.append((since, time.time(), ""))
            await at(ordeal.rolling_restart)
            for one in self.replicas.every:
                await self.replicas.all_healthy()
                self.exits.append(await one.restart())

        watching = asyncio.create_task(self._watch())
        async with asyncio.TaskGroup() as everything:
            for one in (kill(), disturb(), restart(), self.client.submit(ordeal)):
                everything.create_task(one)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._all_ended()
        watching.cancel()

    async def _owner(self) -> Replica:
        """A healthy replica that owns something, besides another one."""
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                one = await self.replicas.spare()
                with suppress(httpx.HTTPError):
                    if (await _scrape(http, one)).sum("vivix_exporter_accounts_owned") and one.healthy:
                        return one
                await asyncio.sleep(0.1)

    async def pages(self) -> list[Scrape]:
        """What each replica shows at present."""
        async with httpx.AsyncClient(timeout=30) as http:
            return [await _scrape(http, one) for one in self.replicas.every]

    async def _watch(self) -> None:
        """Scrape all replicas every other second, until cancelled."""
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                for one in self.replicas.every:
                    with suppress(httpx.HTTPError):
                        self.shown = highest([self.shown, await _scrape(http, one)])
                await asyncio.sleep(2)

    async def _all_ended(self) -> None:
        """Return once everything has ended, been delivered, counted and exported."""
        self.left = {"everything": 1}
        while any(self.left.values()):
            await asyncio.sleep(0.5)
            with suppress(httpx.HTTPError):
                pages = await self.pages()
                page = highest(pages)
                self.left = {
                    "rendering": len(self.api.world.in_flight(self.api.clock.now_us())),
                    "deliveries": self.deliverer.outstanding,
                    "in flight": page.sum("vivix_generations_in_flight"),
                    "unseen": page.sum("vivix_generations_unseen"),
                    "without an owner": len(ACCOUNTS)
                    - sum(page.sum("vivix_exporter_accounts_owned") for page in pages),
                    **await asyncio.to_thread(lease_audit.waiting, self.state),
                }


async def known_to(one: Replica) -> dict[str, str]:
    """The status of each generation that a replica lists, by id."""
    found: dict[str, str] = {}
    cursor: str | None = ""
    async with httpx.AsyncClient(timeout=30) as http:
        while cursor is not None:
            params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
            answer = await http.get(f"{one.url}/api/v1/generations", params=params)
            answer.raise_for_status()
            body = answer.json()
            found |= {item["id"]: item["status"] for item in body["generations"]}
            cursor = body["next_cursor"]
    return found


@asynccontextmanager
async def scene(
    folder: Path, server: Server, state: Secret, pooler: PgBouncer | None
) -> AsyncIterator[Scene]:
    """Three replicas on an empty database, which they reach through a pooler or directly, and all around
    them."""
    open_database(state, owner=True).close()
    lease_audit.install(state)
    rng = random.Random(9)
    rates = {Kind.DOUBLED: 0.2, Kind.OVERTAKEN: 0.1, Kind.FORGED: 0.05}
    api = SimulatedApi(World(9, ACCOUNTS), SystemClock(), mishaps=Mishaps(9, rates))
    # Whether a replica could still store what it was answered is not for the vendor to know.
    api.shown.forgetting(True)
    async with (
        serve(create_app(api)) as vendor,
        collector() as traces,
        replicas.running(
            _configure(folder, vendor.url),
            server,
            state,
            port=server.port if pooler is None else pooler.port,
            count=3,
            rng=rng,
            secrets={TOKEN, SECRET, "vvx_live_"},
            OTEL_EXPORTER_OTLP_ENDPOINT=traces.url,
        ) as three,
        delivering(api, ATTEMPTS, timeout_s=DELIVERY_TIMEOUT) as deliverer,
    ):
        api.endpoints = Balanced(WEBHOOKS, three, SECRET)
        yield Scene(api, Client(api, three, rng), deliverer, three, traces, server, state)


def _configure(folder: Path, url: str) -> Path:
    (folder / "token").write_text(TOKEN)
    (folder / "secret").write_text(SECRET)
    accounts: list[dict[str, object]] = [
        {"name": one.name, "base_url": url, "api_key": one.key, "rate_limit_share": SHARE}
        | ({"webhook_secret_file": "secret"} if WEBHOOKS[one.name] else {})
        for one in ACCOUNTS
    ]
    return write_config(folder, accounts, state={"url_env": STATE}, web={"registration_token_file": "token"})


async def _scrape(http: httpx.AsyncClient, one: Replica) -> Scrape:
    answer = await http.get(f"{one.url}/metrics")
    answer.raise_for_status()
    return parse(answer.text)
