"""The pages for people, in a real Chromium."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from exporter.clock import SystemClock, iso8601
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from exporter.web.pages import handlers
from support.browser import Visit, chromium, visit
from support.pushing import ACCOUNTS, SECRET, configure
from support.running import Running, exporter, write_config

HOSTILE = (
    "</td><script>document.title='taken over'</script><img src=http://elsewhere.example/x onerror=alert(1)>"
)


@dataclass(frozen=True)
class Site:
    """An exporter whose API answers nothing of interest: what is known comes by webhook."""

    running: Running

    async def end(self, **fields: object) -> str:
        """Let one generation end, failed unless the fields say otherwise; its id."""
        body = {
            "generation_id": str(uuid.uuid4()),
            "status": "failed",
            "model": "runware:101@1",
            "error_code": "PROVIDER_ERROR",
            "error_message": "Underlying model returned an error.",
            "duration_ms": 4300,
            "completed_at": iso8601(SystemClock().now_us()),
            **fields,
        }
        sent = json.dumps(body).encode()
        event = "generation.completed" if body["status"] == "completed" else "generation.failed"
        headers = {"X-Vivix-Signature": signature(SECRET, sent), "X-Vivix-Event": event}
        url = f"{self.running.url}/webhooks/studio"
        answer = await self.running.http.post(url, content=sent, headers=headers)
        assert answer.status_code == 204, answer.text
        return str(body["generation_id"])


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    api = SimulatedApi(World(1, ACCOUNTS), SystemClock())
    async with serve(create_app(api)) as address, exporter(configure(folder, address.url)) as running:
        yield Site(running)


@asynccontextmanager
async def visited(folder: Path, **settings: object) -> AsyncIterator[tuple[Site, Visit]]:
    async with site(folder) as at, chromium() as browser, visit(browser, at.running.url, **settings) as here:
        yield at, here


async def test_a_failed_generation_is_found_by_keyboard_alone(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        wanted = await at.end()
        for _ in range(30):
            await at.end()
        await here.go("/")
        keyboard = here.page.keyboard
        for _ in range(3):  # the skip link, the name of the exporter, the search
            await keyboard.press("Tab")
        await keyboard.type(wanted[:8])
        await keyboard.press("Enter")
        await expect(here.page.locator("h1")).to_have_text("Generations")
        link = here.page.get_by_role("link", name=wanted)
        for _ in range(30):
            await keyboard.press("Tab")
            if await link.evaluate("one => one === document.activeElement"):
                break
        await keyboard.press("Enter")
        await expect(here.page.locator(".sentence")).to_contain_text(
            "Failed after 4.3 s: PROVIDER_ERROR, Underlying model returned an error. Nothing was charged."
        )
        here.assert_silent()


async def test_a_search_is_not_repeated_by_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        wanted = await at.end()
        searched = (await at.running.http.get(f"{at.running.url}/?q={wanted[:9]}")).text
        assert wanted in searched
        assert "data-live" not in searched
        assert "data-live" in (await at.running.http.get(f"{at.running.url}/?status=failed")).text


async def test_a_whole_id_leads_straight_to_its_page(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        wanted = await at.end()
        await here.go(f"/?q={wanted.upper()}")
        assert here.page.url == f"{at.running.url}/generations/{wanted}"


async def test_the_address_of_a_view_restores_it(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        wanted = await at.end(model="wan-2.7-text-to-video")
        await at.end()
        await at.end(
            status="completed", error_code=None, error_message=None, output_urls=[], credits_charged=3
        )
        await here.go("/")
        await here.page.locator("[name=status]").select_option("failed")
        await here.page.locator("[name=model]").fill("wan-2.7-text-to-video")
        await here.page.get_by_role("button", name="Search").click()
        await expect(here.page.locator("tbody tr")).to_have_count(1)
        address = here.page.url
        async with chromium() as other, visit(other, at.running.url) as there:
            await there.page.goto(address)
            await expect(there.page.locator("tbody tr")).to_have_count(1)
            assert wanted in await there.text("list")
            assert await there.page.locator("[name=status]").input_value() == "failed"
            assert await there.page.locator("[name=model]").input_value() == "wan-2.7-text-to-video"


async def test_a_new_failure_appears_and_disturbs_neither_typing_nor_scrolling(tmp_path: Path) -> None:
    async with visited(tmp_path, viewport={"width": 1000, "height": 500}) as (at, here):
        for _ in range(25):
            await at.end()
        await here.go("/")
        search = here.page.get_by_label("Id, or part of it")
        await search.focus()
        await here.page.keyboard.type("half a wo")
        await here.page.evaluate("scrollTo(0, 400)")
        wanted = await at.end(error_code="TIMEOUT")
        # Sooner than two rounds of fetching.
        await expect(here.page.locator('[data-live="failures"]')).to_contain_text(wanted, timeout=3_000)
        assert await search.input_value() == "half a wo"
        assert await search.evaluate("one => one === document.activeElement")
        assert await here.page.evaluate("scrollY") == 400
        here.assert_silent()


async def test_a_link_that_has_the_focus_keeps_it_while_the_page_changes(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        first = await at.end()
        await here.go("/")
        link = here.page.locator('[data-live="failures"]').get_by_role("link", name=first)
        await link.focus()
        later = await at.end()
        await expect(here.page.locator('[data-live="failures"]')).to_contain_text(later)
        assert await link.evaluate("one => one === document.activeElement")


async def test_a_page_says_when_it_is_no_longer_up_to_date(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        await at.end()
        await here.go("/")
        await here.page.route("**/*", lambda route: route.abort())
        await expect(here.page.locator("#stale")).to_be_visible()
        await here.page.unroute_all()
        await expect(here.page.locator("#stale")).to_be_hidden()


async def test_without_scripts_everything_is_there(tmp_path: Path) -> None:
    async with visited(tmp_path, java_script_enabled=False) as (at, here):
        wanted = await at.end()
        await here.go("/")
        await here.page.get_by_role("link", name=wanted).click()
        await expect(here.page.locator(".sentence")).to_contain_text("PROVIDER_ERROR")
        await expect(here.page.locator("dd time.exact").first).to_contain_text("UTC")
        await expect(here.page.locator("button.copy").first).to_be_hidden()
        await here.page.get_by_label("Id, or part of it").fill(wanted[:10])
        await here.page.get_by_role("button", name="Search").click()
        await expect(here.page.get_by_role("link", name=wanted)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_fit_and_are_accessible(tmp_path: Path, scheme: str, width: int) -> None:
    async with visited(tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800}) as (at, here):
        await here.go("/")
        assert await here.violations() == []
        failed = await at.end()
        completed = await at.end(
            status="completed", error_code=None, error_message=None, output_urls=[], credits_charged=3
        )
        nowhere = str(uuid.uuid4())
        for path in ("/", "/?status=failed", "/?status=dropped", f"/generations/{failed}",
                     f"/generations/{completed}"):  # fmt: skip
            await here.go(path)
            assert await here.violations() == [], path
            assert await here.overflow() <= 0, path
        here.assert_silent()
        await here.go(f"/generations/{nowhere}")
        assert await here.violations() == []
        assert await here.overflow() <= 0


async def test_hostile_text_is_text_and_the_policy_would_stop_it(tmp_path: Path) -> None:
    async with visited(tmp_path) as (at, here):
        wanted = await at.end(model=HOSTILE, error_code=HOSTILE, error_message=HOSTILE)
        for path in ("/", f"/?q={wanted[:9]}", f"/generations/{wanted}"):
            await here.go(path)
            await expect(here.page.locator("main")).to_contain_text("<script>")
            assert "taken over" not in await here.page.title()
            assert await here.page.locator("main script, main img").count() == 0
        here.assert_silent()
        # As if it had got through: the browser refuses both.
        await here.page.evaluate(
            "document.querySelector('main').insertAdjacentHTML('beforeend', "
            '\'<img src="http://elsewhere.example/x" onerror="document.title=`taken over`">\')'
        )
        await expect(here.page.locator("main img")).to_have_count(1)
        await asyncio.wait_for(_refused(here), 30)
        assert "taken over" not in await here.page.title()


async def _refused(here: Visit) -> None:
    while not any("Content Security Policy" in line for line in here.said):
        await here.page.wait_for_event("console")


async def test_the_id_is_copied(tmp_path: Path) -> None:
    async with visited(tmp_path, permissions=["clipboard-read", "clipboard-write"]) as (at, here):
        wanted = await at.end()
        await here.go(f"/generations/{wanted}")
        await here.page.get_by_role("button", name="Copy the id").click()
        assert await here.page.evaluate("navigator.clipboard.readText()") == wanted


async def test_lists_go_back_a_hundred_at_a_time(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        ids = {await at.end() for _ in range(205)}
        seen: list[str] = []
        path: str | None = "/?status=failed"
        async with chromium() as browser, visit(browser, at.running.url, java_script_enabled=False) as here:
            await here.go(path or "")
            while True:
                seen += await here.page.locator("tbody a.id").all_inner_texts()
                older = here.page.get_by_role("link", name="Older")
                if not await older.count():
                    break
                await older.click()
        assert len(seen) == 205
        assert set(seen) == ids


async def test_a_part_of_an_id_is_looked_for_further_back_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "SEARCHED", 2)
    async with visited(tmp_path, java_script_enabled=False) as (at, here):
        first, *_ = [await at.end() for _ in range(5)]
        await here.go(f"/?q={first[:9]}")
        for _ in range(2):
            await expect(here.page.get_by_role("main")).to_contain_text("and found none")
            await here.page.get_by_role("link", name="Look further back").click()
        await expect(here.page.locator("tbody a.id")).to_have_text([first])
        await expect(here.page.get_by_role("main")).not_to_contain_text("Look")


async def test_an_empty_exporter_says_how_to_begin(tmp_path: Path) -> None:
    async with visited(tmp_path) as (_at, here):
        await here.go("/")
        await expect(here.page.locator('[data-live="first"]')).to_contain_text("Nothing is registered yet")


async def test_an_empty_exporter_shows_the_command_that_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_PAGES", "secret")
    account = {"name": "studio", "api_key": "vvx_live_none", "base_url": "http://127.0.0.1:9"}
    path = write_config(tmp_path, [account], web={"registration_token_env": "TOKEN_OF_THE_PAGES"})
    async with exporter(path) as running:
        page = (await running.http.get(f"{running.url}/")).text
        assert f"curl --fail-with-body {running.url}/api/v1/generations" in page
        assert "secret" not in page


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/?status=lost", 400, "expected one of"),
        ("/?cursor=nonsense", 400, "next_cursor of an earlier answer"),
        ("/?q=%00", 400, "NUL"),
        ("/generations/unheard-of", 404, "Was it ever registered?"),
        ("/generations/a%20b", 404, "cannot be the id of a generation"),
        ("/static/other.css", 404, "Not found"),
        ("/?q=nothing-like-this", 200, "None found"),
    ],
)
async def test_what_cannot_be_shown_is_explained(
    tmp_path: Path, path: str, status: int, expected: str
) -> None:
    async with site(tmp_path) as at:
        answer = await at.running.http.get(f"{at.running.url}{path}")
        assert answer.status_code == status
        assert expected in answer.text


async def test_pages_allow_nothing_but_their_own_files(tmp_path: Path) -> None:
    async with site(tmp_path) as at:
        answer = await at.running.http.get(f"{at.running.url}/")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for word in ("<style", "style=", "onclick", "<script>"):
            assert word not in answer.text


async def test_many_watchers_cost_one_drawing(tmp_path: Path) -> None:
    async with site(tmp_path) as at, httpx.AsyncClient(timeout=60) as http:
        await at.end()
        answers = await asyncio.gather(*(http.get(f"{at.running.url}/?status=failed") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
