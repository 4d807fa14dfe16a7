"""Soak one exporter in simulated time: HOURS of every kind of trouble, then a table of what held.

Exits 1 where something did not. The simulator and everything that happens live in this process, the exporter
in one of its own, which is killed and restarted.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx

from exporter.clock import ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import Deliverer, delivering
from exporter.simulator.deliveries import Delays, Mishaps
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.workload import Workload
from exporter.simulator.world import World
from soak import exactness, moods, promises
from soak.installation import Installation
from soak.records import Records
from soak.row import Row, row_of, show
from soak.supervised import Log, Supervised
from soak.telling import Telling
from soak.trouble import HOUR, QUIET, Trouble
from support.collector import collector
from support.prometheus import free_port
from support.running import command_in_simulated_time
from support.scrape import Scrape, parse

ACCOUNTS = (
    SimulatedAccount("studio", "vvx_live_studio00000000000000000000000000", "ultimate", 1_000_000_000),
    SimulatedAccount("shop", "vvx_live_shop0000000000000000000000000000", "pro", 1_000_000_000),
    SimulatedAccount("lab", "vvx_live_lab00000000000000000000000000000", "pro", 1_000_000_000),
)
PER_MINUTE = {"studio": 10.0, "shop": 6.0, "lab": 4.0}
WITH_WEBHOOKS = {"studio": True, "shop": True, "lab": False}
ATTEMPTS = 6
LATE_S = (300.0, 900.0)
"""Attempts to deliver, and how late a late delivery is: all within the retention of ended generations."""
PATIENCE_S = 3 * HOUR
"""Simulated seconds in which everything must have ended once the troubles are over."""
SLOWEST_S = 0.75
"""Seconds, of the machine, that a call may take before the exporter gives up on it."""


class Lag:
    """How late this process's event loop is, in seconds: what the machine is too slow for shows here."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.seen.append(time.monotonic() - before - 0.05)

    def percentile(self, part: float) -> float:
        """The lag that this part of the time was not exceeded."""
        return sorted(self.seen)[int(part * (len(self.seen) - 1))] if self.seen else 0.0


async def soak(folder: Path, hours: float, speed: float, seed: int, without: frozenset[str]) -> list[Row]:
    """Run it; the rows of the table."""
    clock = ScaledClock(speed, SystemClock().now_us())
    api = SimulatedApi(World(seed, ACCOUNTS), clock, Faults.everything(seed))
    api.mishaps = Mishaps(seed, Mishaps.everything(seed).rates, Delays(late_s=LATE_S))
    rng, port, lag = Random(seed), free_port(), Lag()
    async with (
        serve(create_app(api)) as address,
        collector() as traces,
        delivering(api, ATTEMPTS) as deliverer,
    ):
        timeout_s = max(10.0, SLOWEST_S * speed)
        installation = Installation(folder, address.url, WITH_WEBHOOKS, timeout_s)
        log = Log(folder / "exporter.log", installation.secrets_ever)
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
        deaths: list[str] = []
        command = command_in_simulated_time(
            installation.config, speed, clock.origin_us, f"127.0.0.1:{port}", "info"
        )
        exporter = Supervised(command, clock, port, log, environment, deaths.append)
        telling = Telling(api, clock, installation, exporter.url, rng, token=f"token-{seed:016x}")
        records = Records(folder / "vivix-exporter.db", traces)
        trouble = Trouble(api, clock, installation, exporter, telling, records, rng, hours, without)
        _set_up(api, installation, telling, exporter.url)
        running = asyncio.create_task(exporter.run())
        beside = [
            asyncio.create_task(work) for work in (lag.run(), telling.run(), records.keep(clock, exporter.up))
        ]
        await exporter.up.wait()
        annoying = asyncio.create_task(moods.change(traces, clock, trouble.done))
        applications = [
            asyncio.create_task(_submit(address.url, api, clock, telling, one, seed)) for one in ACCOUNTS
        ]
        _report(f"running {hours:g} h at {speed:g}x in {folder}")
        await trouble.run()
        submitted = len(telling.generations)
        for task in (annoying, *applications):
            task.cancel()
        _report(f"{submitted} generations; waiting for the last ones")
        traces.behaviour = None
        drained = await _drain(trouble, deliverer)
        page = await _scrape(exporter.url)
        await records.collect()
        stopped = await exporter.stop()
        for task in (running, *beside):
            task.cancel()
        ends = await asyncio.gather(running, annoying, *beside, *applications, return_exceptions=True)
        broken = [repr(end) for end in ends if isinstance(end, Exception)]
    telling.complete()
    ran_s = clock.monotonic() - trouble.began
    ids = exactness.real(telling.generations, api.delivered, records)
    true = exactness.truth_of(api, records, ids, clock.now_us())
    cpu = sum(life.cpu_s for life in exporter.lives)
    return [
        *exactness.durable_rows(page, true),
        *exactness.told_rows(page, telling.generations, api.delivered, records, ids),
        *exactness.derived_rows(page, records, api),
        *promises.span_rows(telling.generations, records),
        *promises.budget_rows(api),
        *promises.memory_rows(exporter.lives, QUIET),
        *promises.log_rows(log, ran_s / 86_400),
        row_of("everything ended once the troubles were over", "yes" if not drained else "no", drained),
        row_of("it never ended by itself", f"{len(exporter.lives)} processes", deaths),
        Row(
            "it ends in time when it is asked to",
            f"exit {stopped}",
            [] if stopped == 0 else [f"exit {stopped}"],
        ),
        *(row_of(kind, f"{len(texts)} times", texts) for kind, texts in trouble.complaints.items()),
        row_of("the harness itself", "no errors", broken),
        _kept_up(lag, speed),
        Row("what was done", ", ".join(f"{n} x {what}" for what, n in trouble.done.items()), None),
        Row(
            "faults",
            f"{sum(api.faults.struck.values())} reads struck, "
            f"{sum(api.delivered.statuses.values())} deliveries attempted, "
            f"registrations answered {dict(telling.answers)}",
            None,
        ),
        promises.lag_row(records),
        Row("processor time", f"exporter {cpu:.0f} s of {ran_s / speed:.0f} s", None),
    ]


def _kept_up(lag: Lag, speed: float) -> Row:
    """Whether results are about the exporter, rather than about a machine that is too slow for this speed."""
    usual, worst = lag.percentile(0.5), lag.percentile(0.999)
    found = f"lag of the simulator: median {usual * 1e3:.0f} ms, 99.9 % {worst * 1e3:.0f} ms"
    return Row(
        f"the machine keeps up at {speed:g}x",
        found,
        [f"{found}; lower SPEED"] if worst > SLOWEST_S else [],
    )


def _set_up(api: SimulatedApi, installation: Installation, telling: Telling, url: str) -> None:
    for account in ACCOUNTS:
        installation.write_key(account.name, account.key)
        if WITH_WEBHOOKS[account.name]:
            secret = f"whsec_{account.name}"
            installation.write_webhook_secrets(account.name, secret)
            api.endpoints.set(account.name, [Endpoint(f"{url}/webhooks/{account.name}", secret)])
        installation.write_ids(account.name, "recent.json", [])
    installation.write_token(telling.token)
    installation.write_config()


async def _submit(
    url: str, api: SimulatedApi, clock: ScaledClock, telling: Telling, account: SimulatedAccount, seed: int
) -> None:
    workload = Workload(
        url,
        account.name,
        lambda: (
            api.world.keys.of_account(account.name)[-1:][0] if api.world.keys.of_account(account.name) else ""
        ),
        lambda: len(api.world.in_flight(clock.now_us(), account.name)),
        clock,
        per_minute=PER_MINUTE[account.name],
        seed=seed,
    )
    await workload.run(telling.submitted)


async def _drain(trouble: Trouble, deliverer: Deliverer) -> list[str]:
    """Let everything end without trouble; what has not ended in time."""
    api, clock, exporter = trouble.api, trouble.clock, trouble.exporter
    until = clock.monotonic() + PATIENCE_S
    api.faults.clear()
    api.mishaps.set_rates({})
    await trouble.return_files(0)
    left = {"everything": 1.0}
    reloaded = False
    while any(left.values()) and clock.monotonic() < until:
        await clock.sleep(60)
        if not exporter.up.is_set():
            continue
        if not reloaded:
            before = trouble.done["reload"]
            await trouble.list_and_reload(0)
            reloaded = trouble.done["reload"] > before
        with suppress(httpx.HTTPError):
            page = await _scrape(exporter.url)
            left = {
                "in flight": page.sum("vivix_generations_in_flight"),
                "unseen": page.sum("vivix_generations_unseen"),
                "spans pending": page.sum("vivix_exporter_spans_pending"),
                "deliveries to be made": deliverer.outstanding,
                "registrations to be made": len(trouble.telling.registrations),
                "to be done later": trouble.telling.outstanding,
            }
    return [f"{what}: {count:g}" for what, count in left.items() if count]


async def _scrape(url: str) -> Scrape:
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.get(f"{url}/metrics")
        answer.raise_for_status()
        return parse(answer.text)


def _report(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak the exporter in simulated time.")
    parser.add_argument("--hours", type=float, default=24.0, help="Simulated hours of trouble.")
    parser.add_argument("--speed", type=float, default=60.0, help="Simulated seconds a second.")
    parser.add_argument("--seed", type=int, default=1, help="Random seed.")
    parser.add_argument(
        "--without", default="", help="What is left out, by name and comma: refuse_a_reload,fill_the_disk."
    )
    parser.add_argument("--folder", type=Path, help="Keep state and log here instead of a temporary folder.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vivix-exporter-soak-") as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        without = frozenset(options.without.split(","))
        rows = asyncio.run(soak(folder.resolve(), options.hours, options.speed, options.seed, without))
    sys.exit(0 if show(rows) else 1)


if __name__ == "__main__":
    main()
