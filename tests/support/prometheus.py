"""A real Prometheus, as Debian packages it."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

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
    """A port that nobody listens on at present."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def prometheus(folder: Path, target: str, *flags: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes `target` every second, with more `flags`; its URL, once it is ready."""
    (folder / "prometheus.yml").write_text(CONFIG.format(target=target))
    port = free_port()
    log = (folder / "prometheus.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *flags,
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
    """The values of an expression now, by its labels in the order of their names."""
    answer = await http.get(f"{url}/api/v1/query", params={"query": expression})
    answer.raise_for_status()
    result = json.loads(answer.content)["data"]["result"]
    return {
        tuple(value for name, value in sorted(row["metric"].items()) if not name.startswith("__")): float(
            row["value"][1]
        )
        for row in result
    }
