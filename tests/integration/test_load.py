"""Ten thousand generations in flight, and an API that hangs."""

from pathlib import Path

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.domain.ledger import Ledger
from exporter.domain.values import (
    AccountName,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.store import Transaction, open_database
from support.running import exporter, until, write_config
from support.states import States, state_section

STUDIO = AccountName("studio")


def in_flight(at: Path | Secret, ids: list[str], now_us: int) -> None:
    """A state in which all of these were last seen being rendered."""
    database = open_database(at, owner=True)
    with database.begin() as connection:
        tx = Transaction(connection, Ledger((1,), 100, 50), traced=False)
        tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId(id)) for id in ids], now_us, listed=False)
        for id in ids:
            seen = Observation(
                now_us, Via.POLL, Status.PROCESSING, "processing", MODELS[0].slug, created_us=now_us,
                credits_estimate_micro=211_000_000,
            )  # fmt: skip
            tx.observe(STUDIO, GenerationId(id), seen, None)
        tx.flush()
    database.close()


async def page_with(folder: Path, at: Path | Secret, count: int) -> tuple[float, int]:
    """In-flight generations and lines of a page that was answered while the API hung."""
    clock = SystemClock()
    account = SimulatedAccount(STUDIO, f"vvx_live_{'studio':0<32}", "ultimate")
    faults = Faults(0, {Fault.HANG: 1.0})
    api = SimulatedApi(World(1, [account]), clock, faults)
    in_flight(at, [f"id-{n}" for n in range(count)], clock.now_us())
    async with serve(create_app(api)) as address:
        hung = {"name": STUDIO, "base_url": address.url, "api_key": account.key}
        path = write_config(folder, [hung], state=state_section(at))
        async with exporter(path) as running:
            await until(lambda: api.requests > 1, "calls hang")
            page = await running.scrape()
            healthy = await running.http.get(f"{running.url}/-/healthy")
    assert healthy.status_code == 200
    assert faults.struck[STUDIO, Fault.HANG] == api.requests
    return page.sum("vivix_generations_in_flight"), len(page.samples)


async def test_the_page_is_answered_while_the_api_hangs_and_does_not_grow_with_the_generations(
    tmp_path: Path, new_state: States
) -> None:
    with new_state() as some, new_state() as more:
        few, few_lines = await page_with(tmp_path, some, 10)
        many, many_lines = await page_with(tmp_path, more, 10_000)
    assert (few, many) == (10, 10_000)
    assert many_lines == few_lines
