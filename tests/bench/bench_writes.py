"""What it costs to take in webhooks, registrations and files, in CPU of the exporter alone; all in one run.

Clients are a process of their own. The state is SQLite; bench_replicas.py has PostgreSQL beside it.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

import aiohttp

from bench.bench_replicas import CONNECTIONS, SECRET, TOKEN, vendor
from bench.table import Row, report
from exporter import logs
from exporter.app import App
from exporter.clock import SystemClock, iso8601
from exporter.config import load_config
from exporter.lasting import pass_over_what_is_here
from exporter.simulator.webhooks import signature
from exporter.store import open_database
from exporter.web.server import listen
from support.running import write_config

DELIVERIES, REGISTRATIONS, FILED = 5_000, 50_000, 100_000
MOST = 1_000
"""Ids in one registration."""


async def deliver(url: str) -> list[float]:
    """Seconds from each delivery of an end that was not known before to its acknowledgement."""
    now, took = iso8601(SystemClock().now_us()), []
    left = iter(range(DELIVERIES))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as senders:

        async def one_after_another() -> None:
            for _ in left:
                ended = {"generation_id": str(uuid.uuid4()), "status": "completed", "model": "m"}
                paid = {"credits_charged": 3, "duration_ms": 5, "completed_at": now}
                body = json.dumps(ended | paid).encode()
                headers = {"X-Vivix-Signature": signature(SECRET, body)}
                began = time.monotonic()
                async with session.post(f"{url}/webhooks/studio", data=body, headers=headers) as answer:
                    assert answer.status == 204, await answer.text()
                took.append(time.monotonic() - began)

        for _ in range(CONNECTIONS):
            senders.create_task(one_after_another())
    return took


async def register(url: str) -> list[float]:
    """Seconds that each registration of a thousand new ids takes."""
    took = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for _ in range(REGISTRATIONS // MOST):
            body = {"generations": [{"id": str(uuid.uuid4())} for _ in range(MOST)]}
            began = time.monotonic()
            async with session.post(f"{url}/api/v1/generations", json=body) as answer:
                assert answer.status == 202, await answer.text()
            took.append(time.monotonic() - began)
    return took


def client(work: Callable[[str], Awaitable[list[float]]], url: str) -> list[float]:
    """Do the work in a process of its own."""

    async def run() -> list[float]:
        return await work(url)

    return asyncio.run(run())


@asynccontextmanager
async def exporter(config: Path) -> AsyncIterator[str]:
    """An exporter in this process that is ready; its URL."""
    loaded = load_config(config)
    app = App(loaded, open_database(loaded.state_at, owner=True), SystemClock())
    listener, stop = listen("127.0.0.1:0"), asyncio.Event()
    running = asyncio.create_task(app.run([listener], stop))
    await app.ready.wait()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    await running


async def longest_hold(until: asyncio.Event) -> float:
    """The longest time that the event loop was held until then, in seconds."""
    longest = 0.0
    while not until.is_set():
        began = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - began)
    return longest


async def main() -> None:
    pass_over_what_is_here()  # as the command does
    rows = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as root, context.Pool(1) as pool:
        folder = Path(root)
        (folder / "secret").write_text(SECRET)
        (folder / "token").write_text(TOKEN)
        async with vendor() as url:
            studio = {"name": "studio", "base_url": url, "api_key": "vvx_live_k", "calls_per_minute": 60}
            hooked = [studio | {"webhook_secret_file": "secret"}]
            config = write_config(folder, hooked, web={"registration_token_file": "token"})
            async with exporter(config) as at:
                for name, work, units, at_most in (
                    ("webhooks", deliver, DELIVERIES, 0.8),
                    ("ids registered, a thousand at a time", register, REGISTRATIONS, None),
                ):
                    began, cpu = time.monotonic(), time.process_time()
                    took = await asyncio.to_thread(pool.apply, client, (work, at))
                    seconds, used = time.monotonic() - began, time.process_time() - cpu
                    least = 1_500 if name == "webhooks" else 30_000
                    rows.append(Row(name, units / seconds, "a second", at_least=least))
                    rows.append(Row(f"{name}: CPU of each", used / units * 1e3, "ms", at_most=at_most))
                    if name == "webhooks":
                        p99 = quantiles(took, n=100)[-1] * 1e3
                        rows.append(Row(f"{name}: the slowest of a hundred", p99, "ms", at_most=80))
            (folder / "ids.txt").write_text("".join(f"id-{n}\n" for n in range(FILED)))
            listing = studio | {"generation_files": ["ids.txt"]}
            config = write_config(folder, [listing], state={"url": "sqlite:///filed.db"})
            ready, began = asyncio.Event(), time.monotonic()
            holding = asyncio.create_task(longest_hold(ready))
            async with exporter(config):
                took_to_ready = time.monotonic() - began
                ready.set()
                held = await holding
            rows.append(Row("100,000 new ids from a file, until ready", took_to_ready, "s", at_most=4))
            rows.append(Row("the same: event loop held at most", held * 1e3, "ms", at_most=50))
    report("writes", rows)


if __name__ == "__main__":
    with open(os.devnull, "w") as sys.stderr:
        logs.set_up("info", "logfmt")
        asyncio.run(main())
