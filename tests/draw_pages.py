"""Draws docs/pictures: the pages of the demo, after it has run for a while in hurried time."""

import asyncio
import sys
from pathlib import Path

import httpx

from support.browser import chromium, visit
from support.demo import demo
from support.prometheus import free_port

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SPEED = 20
SIZE = {"width": 1200, "height": 800}


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    async with demo(free_port(), SPEED) as url:
        await _ready(url)
        await asyncio.sleep(int(sys.argv[1]))
        async with (
            chromium() as browser,
            visit(browser, url, viewport=SIZE, color_scheme="light") as here,
        ):
            await here.go("/")
            await here.page.screenshot(path=FOLDER / "first-page.png")
            await here.page.locator('[data-live="failures"] a.id').first.click()
            await here.page.locator(".sentence").wait_for()
            await here.page.screenshot(path=FOLDER / "generation.png", full_page=True)
            here.assert_silent()


async def _ready(url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(120):
        while True:
            try:
                if (await http.get(f"{url}/-/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
