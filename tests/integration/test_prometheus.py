"""A real Prometheus scrapes the exporter, and answers with what the simulator knows."""

import asyncio
from pathlib import Path

import httpx

from exporter.clock import ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.truth import truth
from exporter.simulator.world import World
from support.prometheus import prometheus, query, tool
from support.running import exporter, until, write_config


async def test_a_real_prometheus_has_what_the_simulator_knows(tmp_path: Path) -> None:
    account = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate")
    clock = ScaledClock(20.0, SystemClock().now_us())
    world = World(3, [account], failure_ratio=0.3)
    api = SimulatedApi(world, clock)
    ids = [world.submit("studio", MODELS[n % len(MODELS)], 1, clock.now_us()).id for n in range(60)]
    async with serve(create_app(api)) as address:
        path = write_config(
            tmp_path,
            [{"name": "studio", "base_url": address.url, "api_key": account.key, "generations": ids}],
        )
        async with (
            exporter(path, clock) as running,
            httpx.AsyncClient() as http,
            prometheus(tmp_path, running.url.removeprefix("http://")) as url,
        ):
            await until(lambda: not any(running.app.followed().values()), "every end is seen")
            true = truth(world, clock.now_us(), api.shown)
            ended = "sum by (account, model, status) (vivix_generations_total) > 0"
            async with asyncio.timeout(60):
                while sum((await query(http, url, ended)).values()) < 60:
                    await asyncio.sleep(0.2)
            assert await query(http, url, 'up{job="vivix"}') == {
                (running.url.removeprefix("http://"), "vivix"): 1
            }
            assert await query(http, url, ended) == true.ended
            failures = "sum by (account, model, reason) (vivix_generation_failures_total) > 0"
            assert await query(http, url, failures) == true.failures
            assert await query(http, url, "sum(vivix_credits_used_total)") == {(): sum(true.credits.values())}
            assert await query(
                http, url, "sum by (account, model, status) (vivix_generation_duration_seconds_count) > 0"
            ) == {labels: len(values) for labels, values in true.durations_us.items()}
            page = (await http.get(f"{running.url}/metrics")).content
    linted = await asyncio.create_subprocess_exec(
        tool("promtool"), "check", "metrics",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await linted.communicate(page)
    assert (linted.returncode, output.decode()) == (0, "")
