"""Traces as a real backend keeps them: PHOENIX is the command of an installed arize-phoenix.

Starts it, lets the exporter follow simulated generations, and compares what Phoenix gives back with what the
simulator knows. Phoenix keeps microseconds, and not the kind of a span, so neither is compared closer.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from exporter import logs
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from support.prometheus import free_port
from support.running import exporter
from support.traces import Expected, Scene

GENERATIONS = 60
START = 120.0
"""Seconds that Phoenix has to start, and to show what it took."""


@asynccontextmanager
async def phoenix(command: str, folder: Path) -> AsyncIterator[str]:
    """A Phoenix with an empty database; its URL, once it answers."""
    port, grpc_port = free_port(), free_port()
    environment = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with (folder / "phoenix.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            command, "serve", stdout=log, stderr=log, env={**os.environ, **environment}
        )
        url = f"http://127.0.0.1:{port}"
        try:
            async with asyncio.timeout(START), httpx.AsyncClient() as http:
                while not await _answers(http, url):
                    if process.returncode is not None:
                        sys.exit((folder / "phoenix.log").read_text())
                    await asyncio.sleep(0.2)
            yield url
        finally:
            process.terminate()
            await process.wait()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def kept(url: str) -> dict[str, dict[str, Any]]:
    """The spans that Phoenix has, by id."""
    spans: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    async with httpx.AsyncClient(timeout=60) as http:
        while True:
            page: dict[str, str | int] = {"limit": 100, **({"cursor": cursor} if cursor else {})}
            answer = await http.get(f"{url}/v1/projects/default/spans", params=page)
            answer.raise_for_status()
            body = answer.json()
            spans |= {one["context"]["span_id"]: one for one in body["data"]}
            cursor = body["next_cursor"]
            if cursor is None:
                return spans


def differences(expected: Expected, span: dict[str, Any]) -> list[str]:
    """What Phoenix gives back otherwise than it should."""
    status = {0: ("UNSET", "OK"), 2: ("ERROR",)}[expected.status]
    attributes = _flat(span["attributes"])
    checks = {
        "trace id": span["context"]["trace_id"] == expected.trace_id,
        "parent": (span["parent_id"] or "") == expected.parent,
        "name": span["name"] == expected.name,
        "start": _micros(span["start_time"]) == expected.start_ns // 1_000,
        "end": _micros(span["end_time"]) == expected.end_ns // 1_000,
        "status": span["status_code"] in status,
        "message": span["status_message"] == expected.message,
        **{name: attributes.get(name) == value for name, value in expected.attributes.items()},
    }
    return [name for name, holds in checks.items() if not holds]


def _flat(attributes: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in attributes.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _micros(text: str) -> int:
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


async def check(command: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), accounts=2)
        async with (
            phoenix(command, Path(folder)) as url,
            serve(create_app(scene.api)) as address,
        ):
            scene.submit(GENERATIONS)
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
            async with exporter(scene.configure(address.url), scene.clock) as running:
                while any(running.app.followed().values()) or (await running.scrape()).sum(
                    "vivix_exporter_spans_pending"
                ):
                    await asyncio.sleep(0.1)
            expected = scene.expected()
            async with asyncio.timeout(START):
                while (spans := await kept(url)).keys() != expected.keys():
                    await asyncio.sleep(0.5)
    wrong = {id: found for id, one in expected.items() if (found := differences(one, spans[id]))}
    for id, found in wrong.items():
        print(f"{expected[id].name} {id}: {', '.join(found)}")
    if wrong:
        sys.exit(f"{len(wrong)} of {len(expected)} spans are not as they should be")
    print(f"Phoenix has exactly the {len(expected)} spans of {GENERATIONS} generations.")


if __name__ == "__main__":
    logs.set_up("warn", "logfmt")
    asyncio.run(check(sys.argv[1]))
