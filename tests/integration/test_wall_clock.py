"""A wall clock that is set while generations are in flight: nothing that is counted or measured notices."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from exporter.clock import ScaledClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.jumping import JumpingClock
from support.running import Running, exporter, until, write_config

VIDEO = BY_SLUG["wan-2.7-text-to-video"]
SPEED = 30.0
HOUR = 3600.0
JUMPS = pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR, 48 * HOUR], ids=["back", "forward", "2 days"])
"""Two days are more than `give_up_after`."""
LONGEST = 600.0
"""Seconds: what an age or a lag can be at most when nobody waited longer."""


def submit(api: SimulatedApi) -> str:
    return api.world.submit("studio", VIDEO, 1, api.clock.now_us()).id


@dataclass
class Scene:
    """A simulated API whose clock is right, and an exporter whose clock is set during the test. `early` was
    submitted some time before the exporter started."""

    api: SimulatedApi
    early: str
    clock: JumpingClock
    running: Running

    def submit(self) -> str:
        return submit(self.api)

    def polls(self) -> int:
        return self.api.calls.calls("studio", Caller.READ)

    async def status_of(self, id: str) -> str:
        answer = await self.running.http.get(f"{self.running.url}/api/v1/generations/{id}")
        return str(answer.json()["status"])

    async def until_status(self, id: str, *statuses: str) -> None:
        while await self.status_of(id) not in statuses:
            polls = self.polls()
            await until(lambda polls=polls: self.polls() > polls, "it is polled")  # type: ignore[misc]

    async def none_followed(self) -> None:
        await until(lambda: not any(self.running.app.followed().values()), "nothing is followed")


@asynccontextmanager
async def scene(
    folder: Path, at_call: Callable[[JumpingClock, str], None] = lambda *_: None, **polling: str
) -> AsyncIterator[Scene]:
    """`at_call` is called with the path of each call while that is under way."""
    clock = JumpingClock(SPEED)
    account = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}")
    api = SimulatedApi(World(3, [account], failure_ratio=0.0), ScaledClock(SPEED, clock.origin_us))
    app = create_app(api)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            at_call(clock, scope["path"])
        await app(scope, receive, send)

    early = submit(api)
    await api.clock.sleep(10)
    async with serve(noting) as address:
        path = write_config(
            folder,
            [{"name": "studio", "base_url": address.url, "api_key": account.key}],
            polling={"request_timeout": "1h", **polling},
        )
        async with exporter(path, clock) as running:
            yield Scene(api, early, clock, running)


@JUMPS
async def test_a_generation_in_flight_is_followed_to_its_end(tmp_path: Path, jump: float) -> None:
    async with scene(tmp_path) as at:
        id = at.submit()
        await at.running.register("studio", id)
        await at.until_status(id, "pending", "processing")
        at.clock.jump(jump)
        before = await at.running.scrape()
        await at.until_status(id, "processing", "completed")
        await at.none_followed()
        page = await at.running.scrape()
    assert 0 < before.sum("vivix_generation_oldest_in_flight_seconds") < LONGEST
    assert page.sum("vivix_generations_total", status="completed") == 1
    assert page.of("vivix_generations_dropped_total") == {}
    assert page.sum("vivix_exporter_detection_lag_seconds_count", via="poll") == 1
    assert page.sum("vivix_exporter_detection_lag_seconds_sum") < LONGEST
    assert page.sum("vivix_generation_queue_seconds_sum") < LONGEST


async def test_answers_after_a_step_back_are_not_stale(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        for _ in range(5):
            at.submit()  # takes one of the plan's slots, so that the next one waits
        id = at.submit()
        await at.running.register("studio", id)
        await at.until_status(id, "pending")
        at.clock.jump(-5 * HOUR)
        # An end would be believed however old: it is final.
        await at.until_status(id, "processing")


@JUMPS
async def test_the_grace_of_an_unknown_id_lasts_as_long_as_configured(tmp_path: Path, jump: float) -> None:
    async with scene(tmp_path, not_found_grace="40s") as at:
        began = at.clock.monotonic()
        await at.running.register("studio", "never-submitted")
        await until(lambda: at.polls() > 2, "it is polled")
        at.clock.jump(jump)
        await at.none_followed()
        took = at.clock.monotonic() - began
        page = await at.running.scrape()
    assert page.of("vivix_generations_dropped_total") == {("studio", "not_found"): 1}
    assert 40 <= took < LONGEST


@JUMPS
async def test_one_that_the_api_does_not_answer_for_is_not_given_up_early(
    tmp_path: Path, jump: float
) -> None:
    async with scene(tmp_path) as at:
        now_us = at.api.clock.now_us()
        at.api.faults.schedule(Fault.SERVER_ERROR, now_us, now_us + 40_000_000)
        id = at.submit()
        await at.running.register("studio", id)
        await until(lambda: at.polls() > 2, "it is polled")
        at.clock.jump(jump)
        await at.none_followed()
        page = await at.running.scrape()
    assert page.of("vivix_generations_dropped_total") == {}
    assert page.sum("vivix_generations_total", status="completed") == 1
    assert page.sum("vivix_exporter_detection_lag_seconds_sum") < LONGEST


@JUMPS
async def test_a_clock_that_is_set_while_the_wallet_is_read_disturbs_nothing(
    tmp_path: Path, jump: float
) -> None:
    jumps = [jump]

    def at_call(clock: JumpingClock, path: str) -> None:
        if path.endswith("/credits") and jumps:
            clock.jump(jumps.pop())

    async with scene(tmp_path, at_call) as at:
        await until(lambda: not jumps, "the wallet is read")
        await at.running.register("studio", at.early)
        await at.none_followed()
        page = await at.running.scrape()
    assert page.sum("vivix_generations_total", status="completed") == 1


@JUMPS
async def test_a_generation_registered_after_the_jump_is_measured_as_ever(
    tmp_path: Path, jump: float
) -> None:
    async with scene(tmp_path) as at:
        at.clock.jump(jump)
        await at.running.register("studio", at.submit())
        # It is in flight for two seconds of the machine at least.
        while not (before := await at.running.scrape()).sum("vivix_generation_oldest_in_flight_seconds"):
            await asyncio.sleep(0.005)
        await at.none_followed()
        page = await at.running.scrape()
    assert 0 < before.sum("vivix_generation_oldest_in_flight_seconds") < LONGEST
    assert page.sum("vivix_exporter_detection_lag_seconds_count", via="poll") == 1
    assert page.sum("vivix_exporter_detection_lag_seconds_sum") < LONGEST
