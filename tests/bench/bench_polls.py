"""The CPU of one poll, with everything on, beside bare loops of two clients on one server; all in one run.

The server is a process of its own, and so is each way of asking: only the client's work is counted. Each asks
as fast as it can, AT_ONCE calls at a time, since a call that has a turn of the event loop to itself costs
more than one of several in a turn, whoever makes it. What is asked of a poll is the ratio: machines differ.
"""

import asyncio
import json
import multiprocessing
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import httpx

from bench.bench_replicas import Vendor
from bench.table import Row, report
from exporter.app import App
from exporter.clock import SystemClock
from exporter.config import load_config
from exporter.domain.values import AccountName, GenerationId
from exporter.lasting import pass_over_what_is_here
from exporter.store import open_database
from exporter.web.server import listen
from support.certificates import Certificate, authority, signed_by
from support.running import write_config

CALLS, AT_ONCE = 4_000, 20
FLIGHT = 500
"""Generations in flight, each polled again and again."""
ROUNDS = 3


class Rendering(Vendor):
    """An API of which no generation ever ends."""

    def _answer(self, path: str) -> dict[str, object]:
        if path in ("credits", "models"):
            return dict(super()._answer(path))
        return {
            "generation_id": path.rpartition("/")[2],
            "status": "processing",
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "elapsed_ms": 1_000,
            "credits_estimate": 3,
        }


def serve(told: Connection, certificate: Certificate | None) -> None:
    """Run the server until the process is ended; tell its URL."""

    async def run() -> None:
        context = None
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate.cert, certificate.key)
        server = await asyncio.get_running_loop().create_server(Rendering, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        told.send(f"{'http' if context is None else 'https'}://127.0.0.1:{port}")
        await server.serve_forever()

    asyncio.run(run())


async def in_parallel(call: Callable[[str], Awaitable[object]]) -> float:
    """Seconds of CPU for each of CALLS calls, AT_ONCE at a time."""
    ids = iter(f"generation-{number}" for number in range(CALLS))

    async def one_after_another() -> None:
        for id in ids:
            await call(f"/api/v1/generations/{id}")

    before = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another())
    return (time.process_time() - before) / CALLS


async def bare_aiohttp(url: str) -> float:
    """What a loop of one's own costs with aiohttp."""
    async with aiohttp.ClientSession() as session:

        async def call(path: str) -> object:
            async with session.get(url + path, headers={"Authorization": "Bearer k"}) as answer:
                return json.loads(await answer.read())

        return await in_parallel(call)


async def bare_httpx(url: str) -> float:
    """What it costs with httpx."""
    async with httpx.AsyncClient() as client:

        async def call(path: str) -> object:
            return (await client.get(url + path, headers={"Authorization": "Bearer k"})).json()

        return await in_parallel(call)


async def _everything(url: str, folder: Path) -> float:
    """What a poll of the exporter costs: schedule, budget, call, parsing, state, metrics. More are due at any
    time than can be made."""
    account = {"name": "studio", "base_url": url, "api_key": "vvx_live_k", "rate_limit_share": 1.0}
    polling = {"min_interval": "100ms", "target_lag": "100ms", "max_interval": "100ms"}
    path = write_config(folder, [account | {"calls_per_minute": 1_000_000}], polling=polling)
    config = load_config(path)
    app = App(config, open_database(config.state_at, owner=True), SystemClock())
    listener, stop = listen("127.0.0.1:0"), asyncio.Event()
    running = asyncio.create_task(app.run([listener], stop))
    await app.ready.wait()
    pass_over_what_is_here()  # as the command does
    ids = [GenerationId(f"generation-{number}") for number in range(FLIGHT)]
    await app.register(AccountName("studio"), ids)
    metrics = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"

    async def polls() -> float:
        async with aiohttp.ClientSession() as session, session.get(metrics) as answer:
            page = await answer.text()
        name = 'vivix_api_requests_total{account="studio",code="200",endpoint="generation"} '
        return next((float(line[len(name) :]) for line in page.splitlines() if line.startswith(name)), 0.0)

    while await polls() < 2 * FLIGHT:
        await asyncio.sleep(0.2)
    before, calls = time.process_time(), await polls()
    while (now := await polls()) < calls + CALLS:
        await asyncio.sleep(1)
    cost = (time.process_time() - before) / (now - calls)
    stop.set()
    await running
    return cost


async def everything(url: str) -> float:
    """As `_everything`, with a state of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return await _everything(url, Path(folder))


WAYS = {"aiohttp": bare_aiohttp, "httpx": bare_httpx, "everything": everything}


def measure(way: str, url: str) -> float:
    """What one way costs, in a process that has done nothing else."""
    return asyncio.run(WAYS[way](url))


def least(server: Certificate | None) -> dict[str, float]:
    """Seconds of CPU of each way: measured in turns, and the least of each, since what else the machine does
    only adds."""
    told, telling = multiprocessing.Pipe()
    spawning = multiprocessing.get_context("spawn")
    process = spawning.Process(target=serve, args=(telling, server), daemon=True)
    process.start()
    url = told.recv()
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    with ProcessPoolExecutor(1, spawning, max_tasks_per_child=1) as pool:
        for _ in range(ROUNDS):
            for way in WAYS:
                costs[way].append(pool.submit(measure, way, url).result())
    process.terminate()
    return {way: min(every) for way, every in costs.items()}


def rows(least: Mapping[str, float], over: str, at_most: float) -> list[Row]:
    """The table of what was measured `over` a transport."""
    poll = least["everything"]
    return [
        Row(f"{over}: a call in a bare loop of aiohttp", least["aiohttp"] * 1e3, "ms of CPU"),
        Row(f"{over}: a call in a bare loop of httpx", least["httpx"] * 1e3, "ms of CPU"),
        Row(f"{over}: a poll with everything on", poll * 1e3, "ms of CPU", at_most=at_most),
        Row(f"{over}: the same, against aiohttp", poll / least["aiohttp"], "times", at_most=2.5),
        Row(f"{over}: the same, against httpx", poll / least["httpx"], "times", at_most=0.25),
    ]


def main() -> None:
    """Measure over plain HTTP, then over TLS with an authority that the processes are told to trust."""
    plain = least(None)
    with tempfile.TemporaryDirectory() as folder:
        ca = authority(Path(folder))
        os.environ["SSL_CERT_FILE"] = str(ca.cert)
        secured = least(signed_by(ca, Path(folder), "server"))
    report("polls", [*rows(plain, "HTTP", 0.4), *rows(secured, "TLS", 0.45)])


if __name__ == "__main__":
    main()
