"""The description of the API is what the API does: a stranger's tool finds no difference."""

import asyncio
import sys
from pathlib import Path

import httpx

from exporter.clock import SystemClock
from support.running import start_process, write_config

# Too many ids are refused as too large, which the tool does not take for a refusal by itself.
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413]
"""


async def test_schemathesis_finds_no_difference_from_the_description(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    (tmp_path / "token").write_text("let-me-register")
    account: dict[str, object] = {
        "name": "studio",
        "api_key": "vvx_live_key",
        "base_url": "http://127.0.0.1:9",
    }
    path = write_config(tmp_path, [account], web={"registration_token_file": "token"})
    async with httpx.AsyncClient(timeout=60) as http:
        running = await start_process(path, http, 1.0, SystemClock().now_us())
        try:
            await running.ready()
            tested = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{running.url}/api/v1/openapi.json",
                "--header=Authorization: Bearer let-me-register",
                # Which accounts there are, and which cursors were given out, no description can tell.
                "--exclude-checks=positive_data_acceptance",
                "--max-examples=50",
                "--seed=1",
                "--no-color",
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await tested.communicate()
        finally:
            await running.kill()
    assert tested.returncode == 0, said.decode()[-3000:]
    assert "Tested: 3" in said.decode()
