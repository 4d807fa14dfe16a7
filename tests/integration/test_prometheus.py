"""A real Prometheus scrapes the exporter, and answers with what the simulator knows."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from support.running import exporter, until, write_config

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: vivix
    static_configs: [{{targets: ["{target}"]}}]
"""


def tool(name: str) -> str:
    """Where a program is; `make test` installs it."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing; run tests/install-servers"
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes `target` every second; its URL, once it is ready."""
    (folder / "prometheus.yml").write_text(CONFIG.format(target=target))
    port = free_port()
    log = (folder / "prometheus.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as http:
            while not await _is_ready(http, url):
                assert process.returncode is None, (folder / "prometheus.log").read_text()
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()
        log.close()


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/-/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def query(http: httpx.AsyncClient, url: str, expression: str) -> dict[tuple[str, ...], float]:
    answer = await http.get(f"{url}/api/v1/query", params={"query": expression})
    answer.raise_for_status()
    result = json.loads(answer.content)["data"]["result"]
    return {
        tuple(value for name, value in sorted(row["metric"].items()) if not name.startswith("__")): float(
            row["value"][1]
        )
        for row in result
    }


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
