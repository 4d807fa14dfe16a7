"""Resident memory of a whole exporter that follows nothing, 10,000 and 100,000 generations."""

import asyncio
import subprocess
import sys

from bench.table import Row, report

FOLLOWED = {0: 72.0, 10_000: 87.0, 100_000: 196.0}
"""How many, and the MiB that they took before."""

ONE = """
import asyncio, logging, sys
import structlog
from bench.bench_metrics import filled

async def main():
    async with filled(3, int(sys.argv[1])) as running:
        for _ in range(3):
            await running.scrape()
        with open("/proc/self/status") as status:
            print(next(line.split()[1] for line in status if line.startswith("VmRSS")))

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
asyncio.run(main())
"""
"""Run in a process of its own; in it, the tests' own client and configuration writer are some MiB as well."""


async def resident(followed: int) -> float:
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ONE, str(followed), stdout=subprocess.PIPE
    )
    printed, _ = await run.communicate()
    return int(printed) / 1024


async def main() -> None:
    report(
        "memory",
        [Row(f"{many:,} followed", await resident(many), "MiB", most) for many, most in FOLLOWED.items()],
    )


if __name__ == "__main__":
    asyncio.run(main())
