"""A real Chromium, as Debian packages it or CHROMIUM names it, and what its pages do that they should not."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from support.prometheus import tool


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """A browser without a window, until the context is left."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or tool("chromium"),
            args=["--no-sandbox", "--disable-gpu", *flags],
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visit:
    """A page of a browser at an exporter. `said` is what the console said, `requested` every address."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        """Open a page of the exporter."""
        await self.page.goto(f"{self.url}{path}")

    async def violations(self) -> list[str]:
        """What axe finds wrong with the page for whoever does not see it, or not well."""
        found = (await Axe().run(self.page)).response["violations"]
        return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found]

    async def text(self, region: str) -> str:
        """The text of a region that is kept up to date."""
        return await self.page.locator(f'[data-live="{region}"]').inner_text()

    async def overflow(self) -> float:
        """By how many pixels the page is wider than its window."""
        return float(await self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def assert_silent(self) -> None:
        """Nothing in the console, and no request to another host."""
        assert self.said == []
        assert {address for address in self.requested if not address.startswith(f"{self.url}/")} == set()


@asynccontextmanager
async def visit(browser: Browser, url: str, **settings: Any) -> AsyncIterator[Visit]:
    """A new page in a profile of its own, with these settings of the browser's context."""
    context: BrowserContext = await browser.new_context(**settings)
    page = await context.new_page()
    here = Visit(page, url)
    page.on("console", lambda message: here.said.append(message.text))
    page.on("pageerror", lambda error: here.said.append(str(error)))
    page.on("request", lambda request: here.requested.append(request.url))
    try:
        yield here
    finally:
        await context.close()
