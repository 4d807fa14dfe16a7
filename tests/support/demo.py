"""The demo as a user runs it, and pictures of the dashboards with its data."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.boards import FOLDER
from support.prometheus import tool

GRAFANA = Path(__file__).parents[1] / "dashboards" / "grafana"
"""The scripts that use Grafana's packages."""


@asynccontextmanager
async def demo(port: int, speed: int) -> AsyncIterator[str]:
    """`vivix-exporter demo` until the context is left; its address."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("vivix-exporter")),
        "demo",
        "--speed",
        str(speed),
        "--web.listen-address",
        f"127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def draw(prometheus: str, folder: Path, seconds: int) -> str:
    """Draw every dashboard over the last `seconds` into a folder; what went wrong, line by line."""
    process = await asyncio.create_subprocess_exec(
        tool("node"),
        str(GRAFANA / "pictures" / "draw.mjs"),
        prometheus,
        str(folder),
        str(seconds),
        *map(str, sorted((FOLDER / "json").glob("*.json"))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode() if process.returncode else ""
