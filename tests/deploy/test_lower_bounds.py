"""The oldest dependencies that pyproject.toml admits are enough."""

import asyncio
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.prometheus import free_port
from support.running import write_config
from support.scrape import parse

REPOSITORY = Path(__file__).parents[2]
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}")


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment of the oldest dependencies, which must not need a compiler."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    bounds = [one.replace(">=", "==") for one in project["dependencies"]]
    assert all("==" in one for one in bounds)
    folder = tmp_path_factory.mktemp("oldest")
    [wheel] = (REPOSITORY / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(folder)]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    subprocess.run([*pip, "install", "--no-compile", "--only-binary", ":all:", *bounds], check=True)
    subprocess.run([*pip, "install", "--no-compile", "--no-deps", wheel], check=True)
    return folder / "bin/vivix-exporter"


@pytest.mark.long(50)
async def test_generations_are_followed_counted_and_shown(tmp_path: Path, oldest: Path) -> None:
    clock = SystemClock()
    world = World(1, [STUDIO])
    now_us = clock.now_us()
    one = world.add_ended("studio", MODELS[0], "ended", now_us - 60_000_000, 12_000_000, now_us, None, 7)
    async with serve(create_app(SimulatedApi(world, clock))) as api, httpx.AsyncClient() as http:
        account = {"name": "studio", "base_url": api.url, "api_key": STUDIO.key, "generations": [one.id]}
        url = f"http://127.0.0.1:{free_port()}"
        process = await asyncio.create_subprocess_exec(
            oldest, "run", "--config.file", write_config(tmp_path, [account]),
            "--web.listen-address", url.removeprefix("http://"),
        )  # fmt: skip
        try:
            async with asyncio.timeout(300):
                while await counted(http, url) == 0:
                    await asyncio.sleep(0.1)
            assert (await http.get(f"{url}/generations/{one.id}")).status_code == 200
            assert (await http.get(f"{url}/api/v1/generations")).json()["generations"][0]["id"] == one.id
        finally:
            process.terminate()
            assert await process.wait() == 0


async def counted(http: httpx.AsyncClient, url: str) -> float:
    """How many ends the exporter shows; none before it answers."""
    try:
        answer = await http.get(f"{url}/metrics")
    except httpx.ConnectError:
        return 0
    return parse(answer.text).sum("vivix_generations_total") if answer.status_code == 200 else 0
