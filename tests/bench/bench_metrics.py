"""How long a scrape takes and holds the event loop, by how much is in flight and how many accounts there are:
a whole exporter over HTTP, with 20 models an account, every total above zero."""

import asyncio
import gc
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import structlog

from bench.table import Row, report
from exporter.domain.ledger import Additions
from exporter.domain.values import (
    AccountName,
    End,
    Ended,
    Generation,
    GenerationId,
    Source,
    Started,
    Status,
    Via,
)
from exporter.lasting import pass_over_what_is_here
from exporter.polling.followed import begin
from support.running import Running, exporter, write_config

MODELS = [f"model-{number}" for number in range(20)]
S = 1_000_000
SCRAPES = 200
FORMATS = {
    "text": "text/plain; version=0.0.4",
    "OpenMetrics": "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
}


@asynccontextmanager
async def filled(accounts: int, in_flight: int) -> AsyncIterator[Running]:
    """An exporter whose totals and memory are filled, and that calls nobody: its accounts have no API."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"account-{number}" for number in range(accounts)]
        listed = [{"name": n, "api_key": "k" * 40, "base_url": "http://127.0.0.1:9"} for n in names]
        async with exporter(write_config(Path(folder), listed)) as running:
            pass_over_what_is_here()  # as the command does
            for name in names:
                end_some(running, AccountName(name), 4)
            kinds = list(product(names, MODELS, (Status.PENDING, Status.PROCESSING)))
            for number in range(in_flight):
                name, model, status = kinds[number % len(kinds)]
                follower = running.app._accounts.followed[AccountName(name)].poller.follower
                one = Generation(
                    AccountName(name),
                    GenerationId(f"id-{number}"),
                    Source.API,
                    0,
                    status,
                    model,
                    0,
                    200 * S,
                )
                follower._follow(begin(one, number, time.monotonic() - number % 100))
            yield running
        gc.unfreeze()


def end_some(running: Running, account: AccountName, times: int) -> None:
    """Count ends of each model, and keep their exemplars."""
    ledger, additions = running.app._ledger, Additions()
    for model, number, failed in product(MODELS, range(times), (False, True)):
        status, reason = (Status.FAILED, "PROVIDER_ERROR") if failed else (Status.COMPLETED, None)
        end = End(status, S, time.time_ns() // 1000, Via.POLL, number * 7 * S + 1, 4_250_000, 1, reason, None)
        ledger.enter(account, Ended(model, end), additions)
        ledger.enter(account, Started(model, number * S), additions)
    ledger.commit(additions)
    for model in MODELS:
        end = End(Status.COMPLETED, S, time.time_ns() // 1000, Via.POLL, 7 * S + 1, 0, 1, None, None)
        id = GenerationId(f"{account}-{model}")
        running.app._exemplars.arrived(Generation(account, id, Source.API, 0, model=model, end=end))


class Held:
    """The longest time that others had to wait for the event loop."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, loop.time() - before - 0.001)


CLIENT = """
import sys, time, http.client
host, accept = sys.argv[1:]
connection = http.client.HTTPConnection(host, timeout=60)
for line in sys.stdin:
    begun = time.perf_counter()
    connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    connection.getresponse().read()
    print(time.perf_counter() - begun, flush=True)
"""
"""A scraper in another process, so that reading the answer takes nothing of the exporter's."""


async def scrape(running: Running, accept: str, accounts: int) -> tuple[list[float], float]:
    """Return how long scrapes took, and the longest time the event loop was held, in seconds. Between two
    scrapes some of the totals change."""
    host = running.url.removeprefix("http://")
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT,
        host,
        accept,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    held, took = Held(), []
    for turn in range(SCRAPES + 2):
        end_some(running, AccountName(f"account-{turn % accounts}"), 1)
        await asyncio.sleep(0.02)
        watching = asyncio.create_task(held.watch())
        client.stdin.write(b"\n")
        seconds = float(await client.stdout.readline())
        watching.cancel()
        if turn < 2:
            held.longest = 0.0  # the first one writes every series
        else:
            took.append(seconds)
    client.stdin.close()
    await client.wait()
    return took, held.longest


async def measure(accounts: int, in_flight: int, name: str, *, asked: bool) -> AsyncIterator[Row]:
    async with filled(accounts, in_flight) as running:
        took, held = await scrape(running, FORMATS[name], accounts)
    of = f"{accounts} accounts, {in_flight:,} in flight, {name}"
    yield Row(f"{of}: p50", statistics.median(took) * 1e3, "ms", 40 if asked else None)
    yield Row(f"{of}: p99", sorted(took)[int(len(took) * 0.99)] * 1e3, "ms", 100 if asked else None)
    yield Row(f"{of}: event loop held", held * 1e3, "ms", 10 if asked else None)


async def main() -> None:
    rows = []
    for accounts, in_flight, name in (
        (20, 10_000, "text"),
        (20, 10_000, "OpenMetrics"),
        (20, 100_000, "OpenMetrics"),
        (200, 10_000, "OpenMetrics"),
    ):
        rows += [row async for row in measure(accounts, in_flight, name, asked=accounts == 20)]
        gc.collect()
    report("metrics", rows)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main())
