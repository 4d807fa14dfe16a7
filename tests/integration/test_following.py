"""How generations are followed when things are not as they should be: against the simulator, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from exporter.clock import ScaledClock, SystemClock
from exporter.domain.values import AccountName, GenerationId
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG, MODELS
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.workload import Workload
from exporter.simulator.world import World
from support.running import PATIENCE, Running, exporter, until, write_config

IMAGE, VIDEO = BY_SLUG["grok-imagine-image-quality"], BY_SLUG["wan-2.7-text-to-video"]
SPEED = 30.0
PER_MINUTE = 118
"""Calls of an application: just less than half the plan, the exporter's share being the other half."""


def key_of(name: str) -> str:
    return f"vvx_live_{name:0<32}"


@dataclass
class Scene:
    """A simulated API with two accounts; the exporter follows the first, with its key in a file."""

    api: SimulatedApi
    clock: ScaledClock
    url: str
    folder: Path

    @property
    def world(self) -> World:
        return self.api.world

    def submit(self, account: str = "studio", video: bool = False) -> str:
        model = VIDEO if video else IMAGE
        return self.world.submit(account, model, 1, self.clock.now_us()).id

    @asynccontextmanager
    async def following(self, *ids: str, **sections: object) -> AsyncIterator[Running]:
        (self.folder / "studio.key").write_text(key_of("studio"))
        account: dict[str, object] = {
            "name": "studio",
            "base_url": self.url,
            "api_key_file": "studio.key",
            "generations": list(ids),
        }
        path = write_config(self.folder, [account], **sections)
        async with exporter(path, self.clock) as running:
            yield running


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    clock = ScaledClock(SPEED, SystemClock().now_us())
    world = World(
        3, [SimulatedAccount(name, key_of(name)) for name in ("studio", "other")], failure_ratio=0.0
    )
    api = SimulatedApi(world, clock)
    async with serve(create_app(api)) as address:
        yield Scene(api, clock, address.url, folder)


def none_followed(running: Running) -> bool:
    return not any(running.app.followed().values())


async def test_a_generation_of_another_account_is_dropped_and_counted(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following(at.submit("other")) as running:
        await until(lambda: none_followed(running), "it is dropped")
        page = await running.scrape()
    assert page.of("vivix_generations_dropped_total") == {("studio", "not_yours"): 1}
    assert page.of("vivix_account_up") == {("studio",): 1}


async def test_an_unknown_id_is_asked_for_until_the_grace_is_over(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        began_us = at.clock.now_us()
        async with at.following("never-submitted", polling={"not_found_grace": "40s"}) as running:
            await until(lambda: at.api.calls.calls("studio", Caller.READ) > 3, "it is asked for")
            assert (await running.scrape()).of("vivix_generations_unseen") == {("studio",): 1}
            await until(lambda: none_followed(running), "it is dropped")
            took_us = at.clock.now_us() - began_us
            page = await running.scrape()
    assert page.of("vivix_generations_dropped_total") == {("studio", "not_found"): 1}
    assert took_us >= 40_000_000


async def test_an_id_that_the_api_learns_of_late_is_not_dropped(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.api.faults.strike_next(Fault.NOT_FOUND_YET, times=5)
        async with at.following(at.submit()) as running:
            await until(lambda: none_followed(running), "its end is seen")
            page = await running.scrape()
    assert page.sum("vivix_generations_total", status="completed") == 1
    assert page.of("vivix_generations_dropped_total") == {}


async def test_one_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as at,
        at.following(at.submit(video=True), polling={"give_up_after": "20s"}) as running,
    ):
        await until(lambda: none_followed(running), "it is given up")
        page = await running.scrape()
    assert page.of("vivix_generations_dropped_total") == {("studio", "gave_up"): 1}
    assert page.of("vivix_generations_total") == {}


async def test_an_undocumented_status_is_counted_and_logged_once_and_followed_on(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with scene(tmp_path) as at:
            # It strikes only answers for what is in flight.
            at.api.faults.strike_next(Fault.UNDOCUMENTED_STATUS, times=1_000)
            async with at.following(at.submit(video=True), at.submit(video=True)) as running:
                await until(lambda: none_followed(running), "the ends are seen")
                page = await running.scrape()
    assert page.sum("vivix_api_errors_total", error="unknown_status") >= 2
    assert page.sum("vivix_generations_total", status="completed") == 2
    warned = [line for line in logs if "documentation does not list" in line["event"]]
    assert [line["status"] for line in warned] == ["moderating"]


async def test_a_revoked_key_locks_out_quietly_and_a_new_one_in_the_file_resumes(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following(at.submit(video=True)) as running:
        await until(lambda: at.api.calls.calls("studio", Caller.READ) > 2, "it is followed")
        new_key = key_of("studio2")
        at.world.rotate_key("studio", new_key)
        refused = at.api.calls.locked_out
        await until(lambda: refused[""] >= 3, "the key is refused")
        locked = await running.scrape()
        since, calls = at.clock.monotonic(), refused[""]
        await until(lambda: at.clock.monotonic() > since + 60, "a simulated minute goes by")
        quiet = refused[""] - calls
        (tmp_path / "studio.key").write_text(f"{new_key}\n")
        await until(lambda: none_followed(running), "its end is seen")
        resumed = await running.scrape()
    assert locked.of("vivix_account_key_valid") == {}
    assert ("vivix_account_key_valid", frozenset({("account", "studio")})) in locked.samples
    assert locked.of("vivix_account_up") == {}
    assert quiet <= 3
    assert resumed.of("vivix_account_key_valid") == {("studio",): 1}
    assert resumed.sum("vivix_generations_total", status="completed") == 1


async def test_an_application_that_needs_its_calls_gets_them(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following() as running:
        studio = AccountName("studio")

        async def register(_account: str, id: str) -> None:
            await running.app.register(studio, [GenerationId(id)])
            if applications.answers[201] >= 2 * PER_MINUTE:
                raise StopAsyncIteration

        applications = Workload(
            at.url, "studio", lambda: key_of("studio"), lambda: 0, at.clock, per_minute=PER_MINUTE
        )
        with pytest.raises(StopAsyncIteration):
            await applications.run(register)
        page = await running.scrape()
    assert page.sum("vivix_generations_discovered_total", source="api") == 2 * PER_MINUTE
    assert applications.answers[429] == 0
    assert at.api.calls.limited == {}


async def test_models_beyond_the_limit_are_counted_under_other_and_the_sums_stay_exact(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        now_us = at.clock.now_us()
        for number, model in enumerate(MODELS):
            at.world.add_ended(
                "studio", model, f"id-{number}", now_us - 60_000_000, 9_000_000, now_us, None, 7
            )
        ids = [f"id-{number}" for number in range(len(MODELS))]
        async with at.following(*ids, metrics={"max_models": 2}) as running:
            await until(lambda: none_followed(running), "all ends are seen")
            page = await running.scrape()
    totals = page.of("vivix_generations_total", status="completed")
    assert len(totals) == 3
    assert totals["studio", "other"] == len(MODELS) - 2
    assert page.sum("vivix_credits_used_total") == 7 * len(MODELS)
    assert page.of("vivix_exporter_label_overflow_total") == {("studio", "model"): len(MODELS) - 2}


async def test_credits_plan_and_models_are_shown(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following() as running:
        await until(lambda: at.api.calls.calls("studio", Caller.READ) >= 2, "both are asked for")
        page = await running.scrape()
        while not page.of("vivix_model_info"):
            page = await running.scrape()
    assert page.of("vivix_account_calls_per_minute_limit") == {("studio",): 240}
    assert page.of("vivix_account_concurrent_jobs_limit") == {("studio",): 5}
    assert page.of("vivix_account_info") == {("studio", "pro"): 1}
    assert page.of("vivix_exporter_poll_budget_calls_per_minute") == {("studio",): 120}
    assert len(page.of("vivix_model_info")) == len(MODELS)


async def test_what_can_be_told_beforehand_is_shown_as_zero_before_it_happens(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following(at.submit(video=True)) as running:
        async with asyncio.timeout(PATIENCE):
            while not (page := await running.scrape()).of("vivix_generations_in_flight"):
                await asyncio.sleep(0.01)
        await until(lambda: none_followed(running), "its end is seen")
    zeros = {
        (name, dict(labels).get("reason") or dict(labels).get("source") or dict(labels).get("status"))
        for (name, labels), value in page.samples.items()
        if not value
    }
    assert zeros >= {
        ("vivix_generations_total", "completed"),
        ("vivix_generations_total", "failed"),
        ("vivix_generation_failures_total", "PROVIDER_ERROR"),
        ("vivix_generations_discovered_total", "webhook"),
        ("vivix_generations_dropped_total", "gave_up"),
    }
