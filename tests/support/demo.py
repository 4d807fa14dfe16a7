"""The demo as a user runs it, its history in Prometheus, and pictures of the dashboards with its data."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.boards import FOLDER
from support.prometheus import tool

GRAFANA = Path(__file__).parents[1] / "dashboards" / "grafana"
"""The scripts that use Grafana's packages."""
_IMPORT = Path(__file__).parents[2] / "deploy" / "compose" / "import-history"


@asynccontextmanager
async def demo(port: int, speed: int, *options: str) -> AsyncIterator[str]:
    """`vivix-exporter demo` until the context is left; its address."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("vivix-exporter")),
        "demo",
        "--speed",
        str(speed),
        "--web.listen-address",
        f"127.0.0.1:{port}",
        *options,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def lived(history: Path) -> None:
    """Return once a demo has lived the hours whose history it leaves in this folder."""
    while not list(history.glob("*.om.gz")) or list(history.glob("*.part")):
        await asyncio.sleep(0.2)


def imported(history: Path, rules: Path, tsdb: Path) -> str:
    """Make blocks of Prometheus of a history, and return what the script says."""
    done = subprocess.run(
        [tool("sh"), str(_IMPORT), str(history), str(rules), str(tsdb)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
