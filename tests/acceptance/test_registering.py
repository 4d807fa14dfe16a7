"""The ways to register ids of the documents, run as they are written there."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import Running, exporter, write_config

ROOT = Path(__file__).parents[2]
NODE = Path(sys.executable).with_name("node")
NODE_MODULES = ROOT / "tests/dashboards/grafana/node_modules"
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}")
TOKEN = "let-me-register"


def block(language: str, holding: str, document: str = "docs/registering.md") -> str:
    """The document's block of code in this language that holds this text."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    [found] = [code for code in blocks if holding in code]
    return str(found)


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[tuple[Running, dict[str, str]]]:
    """An exporter that follows a simulated API, and the environment in which the documents' code is run."""
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


BODY = '{"model": "seedream-4.0", "prompt": "a lighthouse"}'
HTTPX = f"""
print(vivix.post("/api/v1/generate", json={BODY}).json()["generation_id"])
"""
REQUESTS = f"""
print(vivix.post(os.environ["VIVIX_API_URL"] + "/api/v1/generate", json={BODY}).json()["generation_id"])
"""
FETCH = f"""
const answer = await vivixFetch(`${{process.env.VIVIX_API_URL}}/api/v1/generate`, {{
  method: "POST",
  headers: {{ Authorization: `Bearer ${{process.env.VIVIX_API_KEY}}`, "Content-Type": "application/json" }},
  body: JSON.stringify({BODY}),
}});
console.log((await answer.json()).generation_id);
"""
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED_PYTHON = f"""
from opentelemetry import context, propagate
context.attach(propagate.extract({{"traceparent": "{TRACEPARENT}"}}))
"""
TRACED_NODE = f"""
import {{ propagation }} from "@opentelemetry/api";
propagation.setGlobalPropagator({{
  inject: (_, carrier) => {{ carrier.traceparent = "{TRACEPARENT}"; }},
  fields: () => [],
}});
"""


@dataclass(frozen=True)
class DropIn:
    """Code of the document, and an application that submits with it, within a span of its own or not."""

    language: str
    holding: str
    submits: str
    traced: str

    async def run(self, folder: Path, env: dict[str, str], *, traced: bool = False) -> str:
        code = (self.traced if traced else "") + block(self.language, self.holding) + self.submits
        if self.language == "python":
            return await done(sys.executable, "-c", code, env=env)
        (folder / "application.mjs").write_text(code)
        if traced:
            (folder / "node_modules").symlink_to(NODE_MODULES)
        return await done(str(NODE), str(folder / "application.mjs"), env=env)


DROP_INS = {
    "fetch": DropIn("js", "vivixFetch", FETCH, TRACED_NODE),
    "httpx": DropIn("python", "event_hooks", HTTPX, TRACED_PYTHON),
    "requests": DropIn("python", "requests.Session", REQUESTS, TRACED_PYTHON),
}


@pytest.fixture(params=DROP_INS)
def drop_in(request: pytest.FixtureRequest) -> DropIn:
    return DROP_INS[request.param]


async def test_a_drop_in_hands_over_what_is_accepted(tmp_path: Path, drop_in: DropIn) -> None:
    async with following(tmp_path) as (running, env):
        id = (await drop_in.run(tmp_path, env)).strip()
        assert (await known(running, id)).json()["source"] == "api"


async def test_a_drop_in_puts_the_trace_under_the_caller_s_span(tmp_path: Path, drop_in: DropIn) -> None:
    async with following(tmp_path) as (running, env):
        id = (await drop_in.run(tmp_path, env, traced=True)).strip()
        assert (await known(running, id)).json()["trace_id"] == TRACEPARENT.split("-")[1]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://exporter:port", "exporter"])
async def test_a_drop_in_never_stops_the_application(tmp_path: Path, drop_in: DropIn, url: str) -> None:
    async with following(tmp_path) as (running, env):
        said = await drop_in.run(tmp_path, {**env, "VIVIX_EXPORTER_URL": url})
        assert "not registered with the exporter" in said
        assert (await known(running, said.split()[-1])).status_code == 404


async def test_fetch_passes_on_an_answer_that_was_made_up(tmp_path: Path) -> None:
    made_up = "globalThis.fetch = async () => new Response('', { status: 201 });\n"
    asks = 'console.log((await vivixFetch("http://vivix.example/api/v1/generate")).status);\n'
    (tmp_path / "application.mjs").write_text(made_up + block("js", "vivixFetch") + asks)
    assert await done(str(NODE), str(tmp_path / "application.mjs"), env=dict(os.environ)) == "201\n"


async def test_a_drop_in_says_when_it_is_refused(tmp_path: Path, drop_in: DropIn) -> None:
    async with following(tmp_path) as (_, env):
        said = await drop_in.run(tmp_path, {**env, "VIVIX_EXPORTER_TOKEN": "another"})
        assert "not registered with the exporter" in said
        assert "401" in said


@pytest.mark.parametrize("document", ["README.md", "docs/registering.md"])
async def test_curl_hands_over_an_id(tmp_path: Path, document: str) -> None:
    command = block("sh", "--fail-with-body", document)
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
