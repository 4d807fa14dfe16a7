"""A whole exporter: in this process, or as one of its own that lives in simulated time and can be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from exporter.app import App
from exporter.clock import Clock, SystemClock
from exporter.config import load_config
from exporter.domain.values import AccountName, GenerationId
from exporter.store import open_database
from exporter.web.server import bound_address, listen
from support.scrape import Scrape, parse

PATIENCE = 600.0
"""Seconds after which a condition that never comes true fails the test."""


@dataclass(frozen=True)
class Exporter:
    """One that runs; `app` only where it is in this process."""

    url: str
    http: httpx.AsyncClient

    async def scrape(self) -> Scrape:
        """Its metrics now."""
        answer = await self.http.get(f"{self.url}/metrics")
        answer.raise_for_status()
        return parse(answer.text)


@dataclass(frozen=True)
class Running(Exporter):
    """An exporter in this process."""

    app: App

    async def register(self, account: str, *ids: str) -> None:
        """Follow these ids of an account from now on."""
        await self.app.register(AccountName(account), [GenerationId(id) for id in ids])


def write_config(folder: Path, accounts: Sequence[Mapping[str, object]], **sections: object) -> Path:
    """A configuration file of these accounts."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"accounts": [dict(account) for account in accounts], **sections}))
    return path


@asynccontextmanager
async def exporter(
    path: Path, clock: Clock | None = None, *, lifecycle: bool = False, patience: float = PATIENCE
) -> AsyncIterator[Running]:
    """Run the exporter of a configuration in this process, until the context is left. `patience` is how many
    seconds a reload waits for files."""
    config = load_config(path)
    app = App(
        config,
        open_database(config.state_at, owner=True),
        clock or SystemClock(),
        load=lambda: load_config(path),
        lifecycle=lifecycle,
        patience=patience,
    )
    listener = listen("127.0.0.1:0")
    stop = asyncio.Event()
    running = asyncio.create_task(app.run([listener], stop))
    ready = asyncio.create_task(app.ready.wait())
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        async with httpx.AsyncClient(timeout=60) as http:
            yield Running(f"http://{bound_address(listener)}", http, app)
    finally:
        stop.set()
        ready.cancel()
        await running


@dataclass(frozen=True)
class Process(Exporter):
    """An exporter in a process of its own."""

    process: asyncio.subprocess.Process

    async def ready(self) -> None:
        """Return once its state is loaded."""
        async with asyncio.timeout(PATIENCE):
            while (await self.http.get(f"{self.url}/-/ready")).status_code != 200:
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.process.wait()


def command_in_simulated_time(
    path: Path, speed: float, origin_us: int, listen: str = "127.0.0.1:0", level: str = "error"
) -> list[str]:
    """The command line of an exporter that lives in simulated time."""
    program = str(Path(__file__).with_name("simulated_time.py"))
    return [sys.executable, program, str(path), str(speed), str(origin_us), listen, level]


async def start_process(
    path: Path,
    http: httpx.AsyncClient,
    speed: float,
    origin_us: int,
    *,
    logged: str | None = None,
    **environment: str,
) -> Process:
    """Start the exporter of a configuration in simulated time, with these variables added to its
    environment; returns once it listens. `logged` is the least level of the lines that come through the
    process's `stderr`."""
    process = await asyncio.create_subprocess_exec(
        *command_in_simulated_time(path, speed, origin_us, level=logged or "error"),
        stdout=asyncio.subprocess.PIPE,
        stderr=None if logged is None else asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    assert url.startswith("http://"), "the exporter did not start"
    return Process(url, http, process)


async def until(holds: Callable[[], bool], what: str) -> None:
    """Return once `holds` does, looking every few milliseconds; what it waits for happens elsewhere."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.005)
    assert holds(), what
