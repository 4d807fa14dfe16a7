"""A hundred thousand ids in files, most of which have long ended."""

from pathlib import Path

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import exporter, until, write_config
from support.states import rows, state_section

IDS = 100_000
ENDED = """
    UPDATE generations SET status = 'completed', model = 'm', closed_us = 2, end_us = 1, end_recorded_us = 2,
        end_via = 'poll', end_credits_used_micro = 0, end_outputs = 1
"""


async def test_ids_that_have_ended_cost_no_call_however_many_the_files_list(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    account = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate")
    api = SimulatedApi(World(3, [account]), SystemClock(), Faults(rates={Fault.HANG: 1.0}))
    (tmp_path / "ids.txt").write_text("".join(f"id-{n}\n" for n in range(IDS)))
    async with serve(create_app(api)) as address:
        path = write_config(
            tmp_path,
            [
                {
                    "name": "studio",
                    "base_url": address.url,
                    "api_key": account.key,
                    "generation_files": ["*.txt"],
                }
            ],
            state=state_section(state_at),
        )
        async with exporter(path) as running:
            page = await running.scrape()
            health = await running.http.get(f"{running.url}/-/healthy")
        assert health.status_code == 200
        assert page.of("vivix_generations_discovered_total") == {("studio", "file"): IDS}
        assert page.of("vivix_generations_unseen") == {("studio",): IDS}
        rows(state_at, ENDED)
        api.faults.clear()
        before = api.calls.calls("studio", Caller.READ)
        running_one = api.world.submit("studio", MODELS[0], 1, api.clock.now_us()).id
        async with exporter(path) as running:
            with (tmp_path / "ids.txt").open("a") as file:
                file.write(f"{running_one}\n")
            await until(lambda: api.shown.of(running_one).answers > 0, "the new one is polled")
            page = await running.scrape()
    assert page.of("vivix_generations_discovered_total") == {("studio", "file"): IDS + 1}
    # Wallet, models, and the new one.
    assert api.calls.calls("studio", Caller.READ) - before <= 2 + api.shown.of(running_one).answers + 1
