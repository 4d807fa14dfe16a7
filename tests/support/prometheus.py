"""A real Prometheus and a real Alertmanager, as Debian packages them."""

import asyncio
import json
import math
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import yaml

PATIENCE = 120.0
"""Seconds that a server may take to get ready."""


def tool(name: str) -> str:
    """Where a program is; `make test` installs it, in the environment or from Debian's packages."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is missing; run make test"
    return found


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def _server(folder: Path, name: str, *arguments: str, url: str) -> AsyncIterator[str]:
    """A program that runs until the context is left; its URL, once it says that it is ready."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(tool(name), *arguments, stdout=output, stderr=output)
        try:
            async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as http:
                while not await _is_ready(http, url):
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.05)
            yield url
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/-/ready")).status_code == 200
    except httpx.TransportError:
        return False


@asynccontextmanager
async def prometheus(
    folder: Path,
    *targets: str,
    interval: str = "1s",
    rules: Sequence[Path] = (),
    alertmanager: str | None = None,
    scrape: Mapping[str, object] | None = None,
) -> AsyncIterator[str]:
    """A Prometheus that scrapes `targets` as the job `vivix` and evaluates `rules`, both every `interval`.
    `scrape` are further settings of the job."""
    config: dict[str, object] = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "scrape_configs": [
            {"job_name": "vivix", "static_configs": [{"targets": list(targets)}], **(scrape or {})}
        ],
        "rule_files": [str(path) for path in rules],
    }
    if alertmanager is not None:
        at = [{"targets": [alertmanager.removeprefix("http://")]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": at}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    async with _server(
        folder,
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        url=url,
    ):
        yield url


@asynccontextmanager
async def alertmanager(folder: Path, config: Mapping[str, object]) -> AsyncIterator[str]:
    """An Alertmanager with this configuration; its URL."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    async with _server(
        folder,
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=warn",
        url=url,
    ):
        yield url


async def query(http: httpx.AsyncClient, url: str, expression: str) -> dict[tuple[str, ...], float]:
    """The values of an expression now, by its labels in the order of their names; it must not be refused."""
    answer = await http.post(f"{url}/api/v1/query", data={"query": expression})
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    data = json.loads(answer.content)["data"]
    if data["resultType"] == "scalar":
        return {(): float(data["result"][1])}
    return {
        tuple(value for name, value in sorted(row["metric"].items()) if not name.startswith("__")): float(
            row["value"][1]
        )
        for row in data["result"]
    }


async def has_data(http: httpx.AsyncClient, url: str, expression: str) -> bool:
    """Whether a query has a number to show. Asked again for a while, since on a slow machine a scrape comes
    too late now and then, and until the next one there is nothing."""
    for _ in range(20):
        if any(math.isfinite(value) for value in (await query(http, url, expression)).values()):
            return True
        await asyncio.sleep(0.25)
    return False
