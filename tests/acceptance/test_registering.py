"""The ways to register ids of the README, run as they are written there."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import Running, exporter, write_config

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}")
TOKEN = "let-me-register"


def block(language: str, holding: str) -> str:
    """The README's block of code in this language that holds this text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    [found] = [code for code in blocks if holding in code]
    return str(found)


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[tuple[Running, dict[str, str]]]:
    """An exporter that follows a simulated API, and the environment in which the README's code is run."""
    (folder / "token").write_text(TOKEN)
    (folder / "ids").mkdir()
    async with serve(create_app(SimulatedApi(World(1, [STUDIO]), SystemClock()))) as address:
        account: dict[str, object] = {
            "name": "studio",
            "api_key": STUDIO.key,
            "base_url": address.url,
            "generation_files": ["ids/*.txt"],
        }
        path = write_config(folder, [account], web={"registration_token_file": "token"})
        async with exporter(path) as running:
            yield (
                running,
                {
                    **os.environ,
                    "VIVIX_EXPORTER_URL": running.url,
                    "VIVIX_EXPORTER_TOKEN": TOKEN,
                    "VIVIX_API_URL": address.url,
                    "VIVIX_API_KEY": STUDIO.key,
                },
            )


async def done(*command: str, env: dict[str, str]) -> str:
    """What a command printed; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def known(running: Running, id: str) -> httpx.Response:
    return await running.http.get(f"{running.url}/api/v1/generations/{id}")


SUBMITS = """
answer = vivix.post("/api/v1/generate", json={"model": "seedream-4.0", "prompt": "a lighthouse"})
print(answer.json()["generation_id"])
"""


async def test_the_httpx_event_hook_hands_over_what_is_accepted(tmp_path: Path) -> None:
    hook = block("python", "event_hooks")
    async with following(tmp_path) as (running, env):
        id = (await done(sys.executable, "-c", hook + SUBMITS, env=env)).strip()
        assert (await known(running, id)).json()["source"] == "api"


async def test_the_httpx_event_hook_never_stops_the_application(tmp_path: Path) -> None:
    hook = block("python", "event_hooks")
    async with following(tmp_path) as (running, env):
        said = await done(
            sys.executable, "-c", hook + SUBMITS, env={**env, "VIVIX_EXPORTER_URL": "http://127.0.0.1:9"}
        )
        assert "not registered with the exporter" in said
        assert (await known(running, said.split()[-1])).status_code == 404


async def test_curl_hands_over_an_id(tmp_path: Path) -> None:
    command = block("sh", "--fail-with-body")
    async with following(tmp_path) as (running, env):
        said = await done("sh", "-c", command, env=env)
        assert '{"new":1,"known":0}' in said
        assert (await known(running, "5b91a581-ee19-4f86-9fea-bd29471d69d5")).status_code == 200


async def test_the_cron_job_hands_over_what_it_writes(tmp_path: Path) -> None:
    line = block("crontab", "recent-ids").strip()
    assert line.startswith("* * * * * ")
    home = tmp_path / "home"
    home.mkdir()
    (home / "vivix-exporter").symlink_to(tmp_path, target_is_directory=True)
    application = home / "your-app"
    application.write_text("#!/bin/sh\necho first\necho second\n")
    application.chmod(0o755)
    async with following(tmp_path) as (running, env):
        path = f"{home}{os.pathsep}{env['PATH']}"
        # cron hands the rest of the line to sh.
        await done("sh", "-c", line.removeprefix("* * * * * "), env={**env, "HOME": str(home), "PATH": path})
        async with asyncio.timeout(120):
            while (await known(running, "second")).status_code == 404:
                await asyncio.sleep(0.05)
        assert (await known(running, "first")).json()["source"] == "file"
