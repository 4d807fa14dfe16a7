"""What PostgreSQL costs beside SQLite, and what replicas ask of it while nothing happens; all in one run."""

import asyncio
import json
import random
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx

from exporter.clock import SystemClock, iso8601
from exporter.simulator.webhooks import signature
from soak.supervised import Log, Supervised
from support import replicas
from support.lifeline import steady_port
from support.postgresql import Server
from support.running import write_config
from support.scrape import parse

GENERATIONS, ACCOUNTS = 3_000, 4
CONNECTIONS = 32
SECRET, TOKEN = "whsec_of_the_bench", "let-me-register"
IDLE_ACCOUNTS, IDLE_REPLICAS, IDLE_SECONDS = 20, 3, 30.0
_COUNTS = """
SELECT (SELECT sum(calls)::float FROM pg_stat_statements),
       (SELECT sum(xact_commit + xact_rollback)::float FROM pg_stat_database)
"""

Json = Mapping[str, object]


class Vendor(asyncio.Protocol):
    """The least of an API: every generation has ended when it is first asked for. It answers at once,
    so that it is not what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1].decode()
        body = json.dumps(self._answer(path.removeprefix("/api/v1/"))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _answer(self, path: str) -> Json:
        if path == "credits":
            return {"balance": 1_000, "rate_limit": {"calls_per_minute": 1_000_000}}
        if path == "models":
            return {"models": [{"slug": "m", "category": "image", "creator": "c"}]}
        ended = {"credits_charged": 3, "credits_used": 3, "duration_ms": 1_000, "output_url": "https://o"}
        times = {"created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z"}
        return {"generation_id": path.rpartition("/")[2], "status": "completed", "model": "m"} | ended | times


@asynccontextmanager
async def vendor() -> AsyncIterator[str]:
    """Its base URL."""
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def configure(folder: Path, url: str, accounts: int, state: Json) -> Path:
    (folder / "secret").write_text(SECRET)
    (folder / "token").write_text(TOKEN)
    every: list[Json] = [
        {
            "name": f"account-{number}",
            "base_url": url,
            "api_key": f"vvx_live_{number}",
            "rate_limit_share": 1.0,
        }
        | {"calls_per_minute": 1_000_000, "webhook_secret_file": "secret"}
        for number in range(accounts)
    ]
    return write_config(folder, every, state=state, web={"registration_token_file": "token"})


@asynccontextmanager
async def exporter(config: Path) -> AsyncIterator[str]:
    """The URL of an exporter that is ready."""
    port = steady_port()
    command = [str(Path(sys.executable).with_name("vivix-exporter")), "run", "--config.file", str(config)]
    one = Supervised(
        [*command, "--web.listen-address", f"127.0.0.1:{port}"],
        SystemClock(), port, Log(config.with_name("log"), ()), {}, print,
    )  # fmt: skip
    running = asyncio.create_task(one.run())
    await one.up.wait()
    try:
        yield one.url
    finally:
        await one.stop()
        running.cancel()


async def polls_a_second(url: str) -> float:
    """From the first registration until the end of every generation is counted."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        began = time.monotonic()
        before = await counted(http)
        for first in range(0, GENERATIONS, 1_000):
            items = [
                {"id": str(uuid.uuid4()), "account": f"account-{number % ACCOUNTS}"}
                for number in range(first, first + 1_000)
            ]
            answer = await http.post(
                "/api/v1/generations",
                json={"generations": items},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            assert answer.status_code == 202, answer.text
        while await counted(http) < before + GENERATIONS:
            await asyncio.sleep(0.2)
    return GENERATIONS / (time.monotonic() - began)


async def webhooks_a_second(urls: Sequence[str]) -> float:
    """Deliveries of ends that were not known before, each to one of these exporters, until acknowledged."""
    now = iso8601(SystemClock().now_us())
    bodies = iter([(f"account-{n % ACCOUNTS}", urls[n % len(urls)]) for n in range(GENERATIONS)])
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as senders:

        async def deliver() -> None:
            for account, url in bodies:
                body = json.dumps(
                    {"generation_id": str(uuid.uuid4()), "status": "completed", "model": "m"}
                    | {"credits_charged": 3, "duration_ms": 5, "completed_at": now}
                ).encode()
                headers = {"X-Vivix-Signature": signature(SECRET, body)}
                async with session.post(f"{url}/webhooks/{account}", data=body, headers=headers) as answer:
                    assert answer.status == 204, await answer.text()

        began = time.monotonic()
        for _ in range(CONNECTIONS):
            senders.create_task(deliver())
    return GENERATIONS / (time.monotonic() - began)


async def counted(http: httpx.AsyncClient) -> float:
    return parse((await http.get("/metrics")).text).sum("vivix_generations_total")


async def idle_load(folder: Path, url: str) -> tuple[float, float]:
    """Statements and transactions a second that replicas without work ask of their server."""
    with Server(shared_preload_libraries="pg_stat_statements") as server:
        server.execute("CREATE EXTENSION pg_stat_statements")
        config = configure(folder, url, IDLE_ACCOUNTS, {"url_env": replicas.STATE})
        async with replicas.running(
            config,
            server,
            server.create_database(),
            count=IDLE_REPLICAS,
            rng=random.Random(1),
            port=server.port,
            secrets=set(),
        ) as several:
            async with httpx.AsyncClient(timeout=60) as http:
                while await owned(http, [one.url for one in several.every]) < IDLE_ACCOUNTS:
                    await asyncio.sleep(0.5)
            before = await asyncio.to_thread(server.execute, _COUNTS)
            await asyncio.sleep(IDLE_SECONDS)
            after = await asyncio.to_thread(server.execute, _COUNTS)
    statements, transactions = ((b - a) / IDLE_SECONDS for a, b in zip(before[0], after[0], strict=True))
    return statements, transactions


async def owned(http: httpx.AsyncClient, urls: Sequence[str]) -> float:
    pages = [parse((await http.get(f"{url}/metrics")).text) for url in urls]
    return sum(page.sum("vivix_exporter_accounts_owned") for page in pages)


def folder_in(root: str, name: str) -> Path:
    folder = Path(root, name)
    folder.mkdir()
    return folder


async def main() -> None:
    print(f"{GENERATIONS} generations of {ACCOUNTS} accounts, each polled once or delivered once")
    print(f"  {'state':<34}{'polls/s':>10}{'webhooks/s':>13}")
    with tempfile.TemporaryDirectory() as root, Server() as server:
        async with vendor() as url:
            file, state = {"url": "sqlite:///state.db"}, {"url": server.create_database().reveal()}
            for name, where in (("SQLite", file), ("PostgreSQL", state)):
                config = configure(folder_in(root, name), url, ACCOUNTS, where)
                async with exporter(config) as one:
                    polls, webhooks = await polls_a_second(one), await webhooks_a_second([one])
                print(f"  {name:<34}{polls:>10.0f}{webhooks:>13.0f}")
            config = configure(folder_in(root, "shared"), url, ACCOUNTS, state)
            async with exporter(config) as one, exporter(config) as other:
                webhooks = await webhooks_a_second([one, other])
            print(f"  {'PostgreSQL, two replicas':<34}{'':>10}{webhooks:>13.0f}")
            statements, transactions = await idle_load(folder_in(root, "idle"), url)
    print(f"{IDLE_REPLICAS} idle replicas with {IDLE_ACCOUNTS} accounts")
    print(f"  statements a second   {statements:.1f}, in {transactions:.1f} transactions")


if __name__ == "__main__":
    asyncio.run(main())
