"""Pages over a million remembered generations with a hundred in flight, and what watching them costs."""

import asyncio
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
from sqlalchemy import insert

from exporter.clock import MICROS, SystemClock
from exporter.store import open_database
from exporter.store.schema import generations
from support.running import exporter, write_config

NUMBER, IN_FLIGHT, WATCHERS = 1_000_000, 100, 20
SPAN_US = 30 * 86_400 * MICROS
REASONS = ("PROVIDER_ERROR", "TIMEOUT", "CONTENT_POLICY")


def rows(now_us: int) -> Iterator[dict[str, object]]:
    rng = random.Random(1)
    for number in range(NUMBER + IN_FLIGHT):
        runs = number >= NUMBER
        at_us = now_us - (30 * MICROS if runs else SPAN_US * (NUMBER - number) // NUMBER)
        failed = not runs and rng.random() < 0.05
        yield {
            "account": f"account-{number % 5}",
            "id": str(uuid.UUID(int=rng.getrandbits(128))),
            "source": "api",
            "discovered_us": at_us,
            "listed": False,
            "registered": True,
            "status": "pending" if runs else "failed" if failed else "completed",
            "model": f"model-{number % 20}",
            "created_us": at_us,
            "polls": 3,
            "closed_us": None if runs else at_us + 20 * MICROS,
            "end_us": None if runs else at_us + 20 * MICROS,
            "end_recorded_us": None if runs else at_us + 20 * MICROS,
            "end_via": None if runs else "poll",
            "end_duration_us": None if runs else 20 * MICROS,
            "end_credits_used_micro": None if runs else 5 * MICROS,
            "end_outputs": None if runs else 1,
            "end_reason": rng.choice(REASONS) if failed else None,
            "end_message": "Something went wrong." if failed else None,
        }


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        accounts = [
            {"name": f"account-{n}", "api_key": "none", "base_url": "http://127.0.0.1:9"} for n in range(5)
        ]
        path = write_config(Path(folder), accounts)
        database = open_database(Path(folder) / "vivix-exporter.db", owner=True)
        every = list(rows(SystemClock().now_us()))
        with database.begin() as connection:
            for start in range(0, len(every), 50_000):
                connection.execute(insert(generations), every[start : start + 50_000])
        database.close()
        wanted = str(every[NUMBER // 2]["id"])
        del every
        async with exporter(path) as running, httpx.AsyncClient(timeout=60) as http:
            for name, path_of in (
                ("first page", "/"),
                ("failures", "/?status=failed"),
                ("one generation", f"/generations/{wanted}"),
                ("a part of an id", f"/?q={wanted[:8]}"),
            ):  # fmt: skip
                took: list[float] = []
                for number in range(21):
                    began = time.process_time()
                    # Each asks for a view of its own, so that none is shared.
                    separator = "&" if "?" in path_of else "?"
                    answer = await http.get(f"{running.url}{path_of}{separator}nobody={number}")
                    took.append(1_000 * (time.process_time() - began))
                    answer.raise_for_status()
                usual = statistics.median(took[1:])
                print(
                    f"{name}: first {took[0]:.0f} ms, then {usual:.1f} ms of CPU, client included", flush=True
                )
            began, since = time.process_time(), time.monotonic()
            async with asyncio.TaskGroup() as watchers:
                for _ in range(WATCHERS):
                    watchers.create_task(watch(http, running.url))
            spent = (time.process_time() - began) / (time.monotonic() - since)
            print(f"{WATCHERS} watchers: {100 * spent:.1f} % of a core, clients included")


async def watch(http: httpx.AsyncClient, url: str) -> None:
    for _ in range(8):
        (await http.get(f"{url}/")).raise_for_status()
        await asyncio.sleep(2)


if __name__ == "__main__":
    asyncio.run(main())
