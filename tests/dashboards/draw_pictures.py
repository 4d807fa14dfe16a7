"""Draws the pictures in dashboards/pictures: the demo lives HOURS first, which Prometheus takes over, then
MINUTES in real time; a quarter of the hours is drawn."""

import asyncio
import sys
import tempfile
from pathlib import Path

from support.boards import FOLDER
from support.demo import demo, draw, imported, lived
from support.prometheus import free_port, prometheus

RULES = FOLDER / "rules" / "vivix.yaml"
INTERVAL_S = 15


async def main() -> None:
    hours, minutes = map(int, sys.argv[1:])
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = folder / "history"
        async with demo(port, 1, "--history.folder", str(history), "--history.hours", str(hours)):
            await lived(history)
            imported(history, RULES, folder / "tsdb")
            target = f"127.0.0.1:{port}"
            async with prometheus(folder, target, interval=f"{INTERVAL_S}s", rules=[RULES]) as server:
                await asyncio.sleep(60 * minutes)
                wrong = await draw(server, FOLDER / "pictures", hours * 900)
    if wrong:
        sys.exit(wrong)


if __name__ == "__main__":
    asyncio.run(main())
