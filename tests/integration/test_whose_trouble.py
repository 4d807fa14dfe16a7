"""Only who has the trouble waits: ids, keys and APIs that fail in part, over HTTP, in simulated time."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.domain.values import AccountName
from exporter.polling.poller import CALLS_AT_ONCE
from exporter.simulator import wire
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import Running, exporter, until, write_config
from support.scrape import Scrape

IMAGE = BY_SLUG["grok-imagine-image-quality"]
KEY, STUDIO = "vvx_live_studio", AccountName("studio")
SPEED = 30.0

Answer = Callable[[], Response | None]
"""What is answered instead of the simulated API, or None where it answers itself."""


def problem(status: int, code: str = "SOMETHING") -> Answer:
    """An error of the API, in its own words."""
    return lambda: Response(f'{{"error": "{code}", "message": "No."}}', status, media_type="application/json")


def page(status: int) -> Answer:
    """A page of HTML, as proxies and platforms answer."""
    return lambda: Response("<html>No.</html>", status, media_type="text/html")


def body(text: str) -> Answer:
    return lambda: Response(text, 200, media_type="application/json")


@dataclass
class Front:
    """Stands before the simulated API, answers some paths in its place, and notes when each was asked for."""

    app: Starlette
    clock: ScaledClock
    answers: dict[str, Answer] = field(default_factory=dict)
    everything: Answer = lambda: None
    asked: dict[str, list[float]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http":
            path = str(scope["path"]).removeprefix("/api/v1/").removeprefix("generations/")
            self.asked.setdefault(path, []).append(self.clock.monotonic())
            answer = self.answers.get(path, self.everything)()
        await (answer or self.app)(scope, receive, send)

    @property
    def calls(self) -> int:
        return sum(len(times) for times in self.asked.values())


@dataclass
class Scene:
    """The front, the API behind it, and the configuration of an exporter that follows it."""

    front: Front
    api: SimulatedApi
    clock: ScaledClock
    url: str
    folder: Path

    def configured(self, *ids: str, **polling: str) -> Path:
        """A configuration by which these ids are followed."""
        account: dict[str, object] = {
            "name": STUDIO,
            "base_url": self.url,
            "api_key": KEY,
            "generations": list(ids),
        }
        # How fast the machine is shall not matter.
        return write_config(self.folder, [account], polling={"request_timeout": "1h", **polling})

    def ended(self, *ids: str) -> list[str]:
        """Generations that ended a minute ago."""
        now_us = self.clock.now_us()
        for id in ids:
            self.api.world.add_ended("studio", IMAGE, id, now_us - 70 * MICROS, 10 * MICROS, now_us)
        return list(ids)

    @asynccontextmanager
    async def following(self, *ids: str, **polling: str) -> AsyncIterator[Running]:
        async with exporter(self.configured(*ids, **polling), self.clock) as running:
            yield running

    async def passes(self, seconds: float) -> None:
        """Return once so much simulated time has passed."""
        await self.clock.sleep(seconds)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    clock = ScaledClock(SPEED, SystemClock().now_us())
    api = SimulatedApi(World(3, [SimulatedAccount("studio", KEY)], failure_ratio=0.0), clock)
    front = Front(create_app(api), clock)
    async with serve(front) as address:
        yield Scene(front, api, clock, address.url, folder)


def ended(scrape: Scrape) -> float:
    return scrape.sum("vivix_generations_total", status="completed")


def dropped(scrape: Scrape) -> dict[str, float]:
    return {reason: count for (_, reason), count in scrape.of("vivix_generations_dropped_total").items()}


async def counted(running: Running, count: int) -> Scrape:
    """The metrics once so many ends are counted."""
    while ended(scrape := await running.scrape()) < count:
        await asyncio.sleep(0.01)
    return scrape


async def known_up(running: Running, up: bool) -> Scrape:
    """The metrics once they report that the API is up, or down."""
    name = ("vivix_account_up", frozenset({("account", "studio")}))
    while (scrape := await running.scrape()).samples.get(name) != float(up):
        await asyncio.sleep(0.01)
    return scrape


BAD = {
    "400": problem(400, "INVALID_ID"),
    "400 of something else": page(400),
    "410": problem(410, "GONE"),
    "422": problem(422, "INVALID_ID"),
    "500": problem(500, "INTERNAL_ERROR"),
    "500 of something else": page(500),
    "another id": body('{"generation_id": "another", "status": "completed"}'),
    "no sense": body("[]"),
    "404": problem(404, "NOT_FOUND"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("bad_first", [True, False], ids=["bad ones first", "bad ones last"])
async def test_good_ids_do_not_notice_bad_ones(tmp_path: Path, bad: Answer, bad_first: bool) -> None:
    async with scene(tmp_path) as at:
        good = at.ended(*(f"good-{number}" for number in range(40)))
        wrong = [f"bad-{number}" for number in range(12)]
        at.front.answers.update({id: bad for id in wrong})
        ids = [*good, *wrong] if bad_first else [*wrong, *good]  # the last are polled first
        async with at.following(*ids) as running:
            scrape = await counted(running, 40)
    assert all(len(at.front.asked[id]) == 1 for id in good)
    last = max(at.front.asked[id][0] for id in good)
    calls = sum(time <= last for times in at.front.asked.values() for time in times)
    # Wallet, models, each bad one once, and one call in ten for their retries; and each once more while the
    # last good ones are on their way, which is for longer on a slow machine.
    assert calls <= 2 + 40 + 12 + 6 + 12
    assert scrape.of("vivix_account_up") == {("studio",): 1}
    assert scrape.of("vivix_account_key_valid") == {("studio",): 1}


@pytest.mark.parametrize("refusal", ["400", "400 of something else", "410", "422", "another id"])
async def test_an_id_that_is_refused_is_dropped_after_the_grace(tmp_path: Path, refusal: str) -> None:
    async with scene(tmp_path) as at:
        at.front.answers["bad"] = BAD[refusal]
        async with at.following("bad", not_found_grace="20s") as running:
            await until(lambda: not running.app.followed()[STUDIO], "it is dropped")
            scrape = await running.scrape()
    times = at.front.asked["bad"]
    assert dropped(scrape) == {"refused": 1}
    assert times[-1] - times[0] >= 20
    assert len(times) <= 7, "each time later"
    assert scrape.of("vivix_account_up") == {("studio",): 1}


async def test_polls_without_a_usable_answer_are_told_while_they_last_and_afterwards(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.front.answers["late"] = problem(500, "INTERNAL_ERROR")
        at.ended("late")
        async with at.following("late") as running:
            address = f"{running.url}/api/v1/generations/late"

            async def told() -> list[tuple[str, str | None]]:
                shown = (await running.http.get(address)).json()
                return [(one["said"], one["counted"]) for one in shown["observations"]]

            await until(lambda: len(at.front.asked.get("late", [])) > 2, "it is polled again and again")
            [(during, nothing)] = await told()
            del at.front.answers["late"]
            await counted(running, 1)
            [(afterwards, nothing_either), (end, ended)] = await told()
            shown = (await running.http.get(f"{running.url}/generations/late")).text
    assert re.fullmatch(r"no usable answer to \d+ polls until \S+Z: INTERNAL_ERROR: No\.", during)
    assert re.fullmatch(r"no usable answer to \d+ polls until \S+Z: INTERNAL_ERROR: No\.", afterwards)
    assert nothing is nothing_either is None
    assert (end.split(",")[0], bool(ended)) == ("completed", True)
    assert afterwards in shown


@pytest.mark.parametrize("error", ["500", "500 of something else", "no sense"])
async def test_an_id_without_a_usable_answer_is_polled_less_and_less_often_and_kept(
    tmp_path: Path, error: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with scene(tmp_path) as at:
            at.front.answers["bad"] = BAD[error]
            at.ended("bad")
            async with at.following("bad", not_found_grace="5s") as running:
                await at.passes(100)
                calls, scrape = len(at.front.asked["bad"]), await running.scrape()
                del at.front.answers["bad"]
                resumed = await counted(running, 1)
    assert calls <= 10
    assert scrape.of("vivix_account_up") == {("studio",): 1}
    assert dropped(resumed) == {}
    noted = [line for line in logs if line.get("id") == "bad" and line["log_level"] != "debug"]
    assert [(line["log_level"], line["event"]) for line in noted[:2]] == [
        ("warning", "no usable answer for a generation; polling it less and less often"),
        ("info", "the generation is answered for again"),
    ]


async def test_an_id_whose_own_errors_last_is_given_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.front.answers["bad"] = problem(500)
        async with at.following("bad", give_up_after="100s") as running:
            await until(lambda: not running.app.followed()[STUDIO], "it is given up")
            scrape = await running.scrape()
    times = at.front.asked["bad"]
    assert dropped(scrape) == {"gave_up": 1}
    assert times[-1] - times[0] >= 100


async def test_an_outage_after_a_long_downtime_costs_no_generation(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        ids = at.ended(*(f"old-{number}" for number in range(10)))
        async with at.following(*ids, give_up_after="1s", max_interval="2s"):
            await until(lambda: at.front.calls > 0, "they are known")
        at.front.everything = problem(503)
        async with at.following(*ids, give_up_after="1s", max_interval="2s") as running:
            await known_up(running, up=False)
            await at.passes(30)
            at.front.everything = lambda: None
            scrape = await counted(running, 10)
    assert dropped(scrape) == {}


@pytest.mark.parametrize("failure", [problem(503, "PROVIDER_DOWN"), page(502), page(404), body("no JSON")])
async def test_an_api_in_trouble_is_called_once_at_a_time_and_less_and_less_often(
    tmp_path: Path, failure: Answer
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with scene(tmp_path) as at:
            ids = at.ended(*(f"good-{number}" for number in range(40)))
            at.front.everything = failure
            async with at.following(*ids) as running:
                down = await known_up(running, up=False)
                began = at.clock.monotonic()
                await at.passes(120)
                await until(lambda: at.front.calls > 4, "it is called again, however slow the machine is")
                during, lasted = at.front.calls, at.clock.monotonic() - began
                at.front.everything = lambda: None
                up_again = await counted(running, 40)
    assert down.of("vivix_account_key_valid") == {}
    # As many as may be under way at once, six pauses up to the longest one, then that, and the wallet.
    assert during <= CALLS_AT_ONCE + 6 + lasted / 30 + lasted / 60 + 2
    assert dropped(up_again) == {}
    assert at.front.calls - during <= 40 + 10, "each is polled once more, with the wallet and the models"
    noted = [line for line in logs if line["event"].startswith("the API")]
    assert [line["event"] for line in noted] == [
        "the API does not answer; calling it once at a time until it does",
        "the API answers again",
    ]
    assert noted[1]["failed_calls"] >= 3


async def test_an_api_that_hangs_from_the_start_is_down_once_its_first_calls_have_timed_out(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        ids = at.ended(*(f"good-{number}" for number in range(3)))
        at.front.everything = wire.Hang
        async with at.following(*ids, request_timeout="40s") as running:
            await known_up(running, up=False)
            calls = at.front.calls
    assert calls <= 2 + 3 + 1, "wallet, models, each id, and a probe that may have been sent meanwhile"


@pytest.mark.parametrize(
    "wallet", [problem(404, "NOT_FOUND"), page(404), page(500), body("[]"), lambda: None]
)
async def test_a_key_refused_for_two_seconds_is_used_again(tmp_path: Path, wallet: Answer) -> None:
    with structlog.testing.capture_logs() as logs:
        async with scene(tmp_path) as at:
            ids = at.ended(*(f"good-{number}" for number in range(10)))
            at.front.answers["credits"] = wallet
            at.front.everything = problem(401, "KEY_INVALID")
            began = at.clock.monotonic()
            async with at.following(*ids) as running:
                await until(lambda: any("refuses the key" in line["event"] for line in logs), "locked out")
                await at.passes(2)
                at.front.everything = lambda: None
                scrape = await counted(running, 10)
                await at.passes(130)
                lasted = at.clock.monotonic() - began
    assert scrape.of("vivix_account_up") == {("studio",): 1}
    assert scrape.of("vivix_account_key_valid") == {("studio",): 1}
    for endpoint in ("credits", "models"):
        assert len(at.front.asked[endpoint]) <= 1 + lasted / 60, endpoint
    assert [line["event"] for line in logs if "key" in line["event"]] == [
        "the API refuses the key; following resumes once one works",
        "the key works again",
    ]


async def test_a_key_that_stays_refused_is_tried_less_and_less_often(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.front.answers["credits"] = problem(404, "NOT_FOUND")
        at.front.everything = problem(401, "KEY_REVOKED")
        async with at.following(*at.ended(*(f"good-{number}" for number in range(10)))) as running:
            await at.passes(300)
            scrape = await running.scrape()
    assert ("vivix_account_key_valid", frozenset({("account", "studio")})) in scrape.samples
    assert scrape.of("vivix_account_key_valid") == {}
    assert at.front.calls <= 25


async def test_an_endpoint_closed_to_the_key_locks_no_generation_out(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.front.answers["credits"] = problem(403, "TIER_LOCKED")
        at.front.answers["models"] = problem(403, "TIER_LOCKED")
        ids = at.ended(*(f"good-{number}" for number in range(5)))
        running_id = at.api.world.submit("studio", BY_SLUG["wan-2.7-text-to-video"], 1, at.clock.now_us()).id
        async with at.following(*ids, running_id) as running:
            scrape = await counted(running, 6)
            assert scrape.of("vivix_account_key_valid") == {("studio",): 1}
            assert len(at.front.asked["credits"]) <= 4


async def test_what_the_wallet_reported_grows_stale_and_disappears(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, at.following() as running:
        while not (await running.scrape()).of("vivix_account_credits_balance"):
            await asyncio.sleep(0.01)
        at.front.answers["credits"] = page(500)
        while (await running.scrape()).of("vivix_account_credits_balance"):
            await asyncio.sleep(0.01)


async def test_each_poll_is_in_the_log_at_debug_and_a_netrc_file_ends_nothing(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("vivix-exporter"))
    lines: list[str] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    async with scene(tmp_path) as at:
        at.front.answers["unknown"] = problem(404, "NOT_FOUND")
        path = at.configured(*at.ended("good"), "unknown")
        process = await asyncio.create_subprocess_exec(
            *(program, "run", "--config.file", str(path), "--log.level", "debug"),
            *("--web.listen-address", "127.0.0.1:0"),
            env={**os.environ, "NETRC": str(netrc), "HOME": str(tmp_path)},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            while not {"good", "unknown"} <= {
                id for line in lines for id in ("good", "unknown") if f"id={id} " in line
            }:
                line = (await process.stderr.readline()).decode()
                assert line, "it ended"
                lines.append(line)
        finally:
            process.kill()
            await process.wait()
    assert any("msg=polled account=studio id=good" in line and "status=completed" in line for line in lines)
    assert any('msg="call failed" account=studio id=unknown error="NOT_FOUND: No."' in line for line in lines)
    assert not any(KEY in line for line in lines)
