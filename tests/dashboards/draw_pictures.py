"""Draws the pictures in dashboards/pictures: the demo runs for MINUTES in real time, then each is drawn."""

import asyncio
import sys
import tempfile
from pathlib import Path

from support.boards import FOLDER
from support.demo import demo, draw
from support.prometheus import free_port, prometheus


async def main() -> None:
    seconds = 60 * int(sys.argv[1])
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            demo(port, 1),
            prometheus(Path(folder), f"127.0.0.1:{port}", rules=[FOLDER / "rules" / "vivix.yaml"]) as server,
        ):
            await asyncio.sleep(seconds)
            # What the demo took up of its backlog in its first minute would dwarf the rest.
            wrong = await draw(server, FOLDER / "pictures", max(seconds - 60, 60))
    if wrong:
        sys.exit(wrong)


if __name__ == "__main__":
    asyncio.run(main())
