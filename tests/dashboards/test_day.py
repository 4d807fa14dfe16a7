"""A day of two accounts is lived, and put into a real Prometheus: what a panel counts is what happened."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from exporter.clock import MICROS
from exporter.commands.history import History
from exporter.commands.skipping import SkippingClock, SkippingLoop
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS, Category, SimulatedModel
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.asking import Asking, different
from support.boards import FOLDER, panels
from support.claims import IN_FLIGHT, NO_SUM, OF_A_MOMENT, OF_OTHER_WINDOWS, OF_PROCESSES, OF_RANGE, Told
from support.demo import imported
from support.prometheus import prometheus
from support.running import Running, exporter, write_config
from support.states import state_section
from support.sums import Moment, Sums, moment, told

HOUR_US = 3600 * MICROS
RULES = FOLDER / "rules" / "vivix.yaml"
ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10**6) for name in ("studio", "shop")
)
STANDS = ((0.0, 7.4), (7.8, 13.2), (13.3, 24.1))
"""From when until when, in hours, an exporter runs: each at its own address, on the state of the last."""
BUSY = (*range(7), *range(9, 12), *range(13, 24))
"""Hours in which applications submit, from their fifth minute to the thirty-fifth."""
QUIET = (12.0, 18.0, 23.0, 23 + 50 / 60, 24.0)
"""When, in hours, nothing is in flight."""
EVE = 24 + 2 / 60
"""When panels are asked: the day before that begins when the accounts have just been scraped."""
VIDEOS_AT = 20 + 45.5 / 60
VIDEOS = [model for model in MODELS if model.category is Category.VIDEO] * 6
"""Are all in flight 35 s later."""
IMAGES = [model for model in MODELS if model.category is Category.IMAGE]
STEP_S, INTERVAL_S = 300.0, 60
"""Of bars, and of scrapes."""


@dataclass
class Day:
    """What was lived: sums at each quiet hour, and what was so while videos were rendered."""

    folder: Path
    clock: SkippingClock
    begin_us: int
    api: SimulatedApi
    registered: Counter[str] = field(default_factory=Counter)
    until: dict[float, Sums] = field(default_factory=dict)
    midst: Moment | None = None
    end: Moment | None = None
    waiting: list[tuple[str, str]] = field(default_factory=list)
    histories: list[Path] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    running: Running | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state.db"

    def at(self, hour: float) -> int:
        """Unix microseconds."""
        return self.begin_us + round(hour * HOUR_US)

    async def come(self, hour: float) -> None:
        """Return when that hour has come."""
        await self.clock.sleep(max(self.at(hour) - self.clock.now_us(), 0) / MICROS)

    async def submit(self, account: str, *models: SimulatedModel) -> None:
        """Submit, and register the ids as soon as an exporter runs."""
        for model in models:
            results = min(2, model.most_results)
            id = self.api.world.submit(account, model, results, self.clock.now_us()).id
            self.waiting.append((account, id))
        await self.register()

    async def register(self, *unknown: tuple[str, str]) -> None:
        """Register what waits for it, and what the vendor does not know."""
        if self.running is not None:
            for account, id in (*self.waiting, *unknown):
                await self.running.register(account, id)
                self.registered["api"] += 1
            self.waiting.clear()

    def told(self) -> Sums:
        """What has come about until now."""
        return told(self.api, self.state, self.dropped, self.registered)


async def submit(day: Day) -> None:
    """What applications do all day."""
    for hour in BUSY:
        for number in range(1, 8):
            await day.come(hour + number / 12)
            await day.submit("studio", MODELS[(hour + number) % 6], MODELS[(hour + number + 1) % 6])
            await day.submit("shop", *MODELS[number % 5 :][: 1 + hour % 2])
        if hour == 14:
            unknown = [str(uuid.UUID(int=number, version=4)) for number in range(3)]
            await day.register(*(("shop", id) for id in unknown))
            day.dropped["not_found"] += len(unknown)
        if hour == int(VIDEOS_AT):
            await day.come(VIDEOS_AT)
            await day.submit("studio", *VIDEOS)
    await day.come(23 + 53 / 60)
    await day.submit("studio", *IMAGES)


async def note(day: Day) -> None:
    """Keep what is true at the quiet hours, and in the midst of work."""
    for hour in sorted((*QUIET, VIDEOS_AT)):
        await day.come(hour)
        if hour == VIDEOS_AT:
            await day.clock.sleep(35)
            day.midst = moment(day.api)
            assert day.midst.in_flight == {("studio",): len(VIDEOS)}
        else:
            assert not day.api.world.in_flight(day.clock.now_us())
            day.until[hour] = day.told()
    day.end = moment(day.api)


async def follow(day: Day, config: Path) -> None:
    """Run one exporter after the other, each scraped at an address of its own."""
    for begin, end in STANDS:
        await day.come(begin)
        async with exporter(config, day.clock) as day.running:
            await day.register()
            history = day.folder / f"history-{begin}"
            day.histories.append(history)
            instance, over = day.running.url.removeprefix("http://"), asyncio.Event()
            keeping = History(history, instance, day.clock.now_us(), INTERVAL_S)
            scraping = asyncio.create_task(keeping.scrape(f"{day.running.url}/metrics", day.clock, over))
            await day.come(end)
            over.set()
            await scraping
            day.running = None
        day.api.shown.new_reader()


async def lived(folder: Path, clock: SkippingClock) -> Day:
    """Live the day, in which the vendor has its troubles too."""
    begin_us = (clock.now_us() // HOUR_US + 1) * HOUR_US
    day = Day(folder, clock, begin_us, SimulatedApi(World(7, ACCOUNTS, failure_ratio=0.25), clock))
    day.api.faults.schedule(Fault.SERVER_ERROR, day.at(9.1), day.at(9.8), "shop")
    day.api.faults.schedule(Fault.KEY_INVALID, day.at(15.2), day.at(15.5), "studio")
    day.api.faults.schedule(Fault.RESET, day.at(16.2), day.at(16.3))
    async with serve(create_app(day.api)) as vendor:
        listed: list[Mapping[str, object]] = [
            {
                "name": account.name,
                "base_url": vendor.url,
                "api_key": account.key,
            }
            for account in ACCOUNTS
        ]
        config = write_config(folder, listed, state=state_section(day.state))
        await asyncio.gather(follow(day, config), submit(day), note(day))
    return day


def _live(folder: Path) -> Day:
    loop = SkippingLoop(26 * 3600.0)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        day = runner.run(lived(folder, SkippingClock(loop)))
    assert not loop.arrived.is_set(), "the day ended in the present, whose time cannot be skipped"
    return day


@pytest.mark.long(120)
def test_whatever_a_panel_counts_in_a_day_is_what_happened(tmp_path: Path) -> None:
    day = _live(tmp_path)
    for history in day.histories:
        imported(history, RULES, tmp_path / "tsdb")
    asyncio.run(compare(day))


async def compare(day: Day) -> None:
    whole = day.until[24.0]
    afternoon = Told(
        whole.since(day.until[12.0]),
        day.until[12.0],
        {
            "10m": whole.since(day.until[23 + 50 / 60]),
            "1h": whole.since(day.until[23.0]),
            "6h": whole.since(day.until[18.0]),
            "30d": whole,
        },
    )
    assert day.midst is not None
    assert day.end is not None
    async with prometheus(day.folder) as server, httpx.AsyncClient(timeout=120) as http:

        def asking(hour: float, hours: float) -> Asking:
            return Asking(http, server, day.at(hour) / MICROS, hours * 3600, STEP_S)

        from_noon, all_day, midst = asking(EVE, 12), asking(EVE, 24), asking(VIDEOS_AT + 35 / 3600, 1)
        wrong = [
            *await different(OF_RANGE, from_noon.shown, afternoon),
            *await different(OF_RANGE, all_day.shown, Told(whole)),
            *await different(OF_OTHER_WINDOWS, from_noon.shown, afternoon),
            *await different(OF_A_MOMENT, from_noon.now, day.end),
            *await different(IN_FLIGHT, midst.now, day.midst),
        ]
    assert not wrong, "\n".join(wrong)


def test_every_panel_is_compared_or_said_to_claim_no_sum() -> None:
    claims = {**OF_RANGE, **OF_OTHER_WINDOWS, **OF_A_MOMENT}
    every = {panel.id: len(panel.queries) for panel in panels()}
    assert claims.keys() | NO_SUM <= every.keys()
    assert not claims.keys() & NO_SUM
    left = every.keys() - claims.keys() - NO_SUM
    assert {id for id in left if not id.startswith(OF_PROCESSES)} == set()
    of_ranges = {**OF_RANGE, **OF_OTHER_WINDOWS}
    assert {id: len(queries) for id, queries in of_ranges.items()} == {id: every[id] for id in of_ranges}
