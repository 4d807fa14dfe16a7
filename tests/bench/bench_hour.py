"""The processor time of an hour's ordinary work, and where it goes: 3 accounts, 40 generations a minute
registered over HTTP, a scrape every 15 s.

Time is simulated, SPEED times as fast. Each call, scrape, registration and write is made as in a real one;
only what waits by the machine's own clock, such as the server's ticks, is less frequent, so what an exporter
costs that has nothing to do is measured beside it. Vendor, applications and scraper are in another process.
"""

import asyncio
import multiprocessing
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import aiohttp

from bench.table import Row, report
from exporter import logs
from exporter.app import App
from exporter.clock import Clock, ScaledClock, SystemClock
from exporter.commands.simulate import ACCOUNTS, simulated_api
from exporter.config import load_config
from exporter.lasting import pass_over_what_is_here
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.workload import Workload
from exporter.store import open_database
from exporter.web.server import bound_address, listen
from support.running import write_config

SPEED = 30.0
HOUR = 3_600.0
PER_MINUTE = 40 / len(ACCOUNTS)
SCRAPE_EVERY = 15.0
IDLE = 30.0
"""Real seconds in which an exporter has nothing to do."""
SAMPLED_EVERY = 0.001
"""Seconds of processor time between two samples; the kernel makes it one of its own ticks."""
TOKEN = "let-me-register"
THREADS, REST, ELSEWHERE = "threads (writes, rendering)", "event loop", "elsewhere"
PARTS = {
    "selectors": ELSEWHERE,
    "aiohttp": "calls",
    "exporter.vivix": "calls",
    "exporter.polling": "schedule, budget, learning",
    "exporter.domain": "schedule, budget, learning",
    "exporter.store": "writes, on the event loop",
    "exporter.metrics": "metrics",
    "prometheus_client": "metrics",
    "exporter.tracing": "spans",
    "structlog": "log",
    "logging": "log",
    "exporter.web": "server",
    "exporter.intake": "server",
    "starlette": "server",
    "uvicorn": "server",
}
"""What the innermost frame of one of these packages is working for."""


def part_of(frame: FrameType | None) -> str:
    """Return what the event loop's thread is at: in `select`, waiting, or another thread is at something."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        for package, part in PARTS.items():
            if name == package or name.startswith(f"{package}."):
                return part
        frame = frame.f_back
    return REST


def follow(told: Connection, path: Path, clock: Clock) -> None:
    """Run the exporter until something is received; tell its URL, then seconds of CPU, of all threads
    and of the event loop's, and samples."""
    logs.set_up("info", "logfmt")
    samples: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, lambda _, frame: samples.update([part_of(frame)]))

    async def run() -> None:
        config = load_config(path)
        app = App(config, open_database(config.state_at, owner=True), clock)
        listener, stop = listen("127.0.0.1:0"), asyncio.Event()
        running = asyncio.create_task(app.run([listener], stop))
        await app.ready.wait()
        pass_over_what_is_here()
        asyncio.get_running_loop().add_reader(told.fileno(), stop.set)
        before, loops = time.process_time(), time.thread_time()
        signal.setitimer(signal.ITIMER_PROF, SAMPLED_EVERY, SAMPLED_EVERY)
        told.send(f"http://{bound_address(listener)}")
        await stop.wait()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        told.send((time.process_time() - before, time.thread_time() - loops, samples))
        asyncio.get_running_loop().remove_reader(told.fileno())
        await running

    asyncio.run(run())


def started(telling: Connection, path: Path, clock: Clock) -> SpawnProcess:
    """Return an exporter in a process of its own."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=follow, args=(telling, path, clock), daemon=True)
    process.start()
    return process


def idle(folder: Path) -> float:
    """Return the share of a processor that an exporter takes which has nothing to do."""
    told, telling = multiprocessing.Pipe()
    accounts = [{"name": a.name, "api_key": a.key, "base_url": "http://127.0.0.1:9"} for a in ACCOUNTS]
    process = started(telling, write_config(folder, accounts), SystemClock())
    told.recv()
    time.sleep(IDLE)
    told.send("enough")
    cpu, _, _ = told.recv()
    process.join()
    return float(cpu) / IDLE


async def an_hour(folder: Path) -> tuple[float, Mapping[str, float], int]:
    """Return the exporter's seconds of CPU, its share by part, and how many were registered."""
    clock = ScaledClock(SPEED, SystemClock().now_us())
    api, registered = simulated_api(0, clock, Faults.none()), 0
    told, telling = multiprocessing.Pipe()
    async with serve(create_app(api)) as address, aiohttp.ClientSession() as session:
        accounts = [{"name": a.name, "api_key": a.key, "base_url": address.url} for a in ACCOUNTS]
        (folder / "token").write_text(TOKEN)
        path = write_config(folder, accounts, web={"registration_token_file": "token"})
        process = started(telling, path, clock)
        url = await asyncio.to_thread(told.recv)

        async def register(account: str, id: str) -> None:
            nonlocal registered
            body = {"generations": [{"account": account, "id": id}]}
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with session.post(f"{url}/api/v1/generations", json=body, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
            registered += 1

        async def scrape() -> None:
            while True:
                async with session.get(f"{url}/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
                    await answer.read()
                await clock.sleep(SCRAPE_EVERY)

        working = [asyncio.create_task(scrape())]
        for account in ACCOUNTS:
            workload = Workload(
                address.url,
                account.name,
                lambda key=account.key: key,  # type: ignore[misc]
                lambda name=account.name: len(api.world.in_flight(clock.now_us(), name)),  # type: ignore[misc]
                clock,
                per_minute=PER_MINUTE,
                most_in_flight=100,
            )
            working.append(asyncio.create_task(workload.run(register)))
        await asyncio.wait(working, timeout=HOUR / SPEED, return_when=asyncio.FIRST_EXCEPTION)
        for task in working:
            task.cancel()
        told.send("enough")
        cpu, of_loop, samples = await asyncio.to_thread(told.recv)
        await asyncio.to_thread(process.join)
    ended = await asyncio.gather(*working, return_exceptions=True)
    for failed in (one for one in ended if isinstance(one, Exception)):
        raise failed
    return cpu, shares(1 - of_loop / cpu, samples), registered


def shares(of_threads: float, samples: Mapping[str, int]) -> dict[str, float]:
    """Return how much of all each part is, where threads besides the event loop's have this share."""
    total = sum(samples.values())
    of = {part: many / total for part, many in samples.items()}
    of[REST] = of.get(REST, 0.0) + max(0.0, of.pop(ELSEWHERE, 0.0) - of_threads)
    return {THREADS: of_threads, **of}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cpu, of, registered = asyncio.run(an_hour(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        nothing = idle(Path(folder))
    rows = [
        Row("generations registered", registered, "in an hour"),
        Row("processor time", cpu, "s"),
        Row("share of one processor", cpu / HOUR * 100, "%"),
        Row("share of one processor with nothing to do", nothing * 100, "%"),
    ]
    by_share = sorted(of.items(), key=lambda one: -one[1])
    rows += [Row(f"of it: {part}", share * 100, "%") for part, share in by_share]
    report("hour", rows)


if __name__ == "__main__":
    main()
