"""The safety net behind webhooks, event by event: how soon a lost delivery is found, in how many polls."""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from exporter.clock import MICROS, SystemClock
from exporter.domain.ledger import Ledger
from exporter.domain.values import (
    AccountName,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.heartbeat import Heartbeat
from exporter.metrics.instruments import Instruments
from exporter.polling.cadence import Cadence
from exporter.polling.follower import Follower
from exporter.polling.webhook_trust import WebhookTrust
from exporter.store import Store, open_database
from support.manual_time import ORIGIN_US, ManualClock

STUDIO = AccountName("studio")
DELIVERED = 0.2
"""Seconds from an end to its delivery."""
GENERATIONS = 320


@dataclass
class Case:
    """One generation; times in seconds. `found` is its age at the poll that found its end."""

    model: str
    created: float
    ended: float
    registered: float
    lost: bool = False
    named: bool = True
    """Whether the API names its model while it is in flight."""
    polls: int = 0
    found: float | None = None

    @property
    def duration(self) -> float:
        return self.ended - self.created


@dataclass
class Play:
    """One account behind webhooks; the API answers at once, and every poll that is due is made."""

    follower: Follower
    store: Store
    clock: ManualClock
    cases: dict[GenerationId, Case] = field(default_factory=dict)

    async def run(self, cases: list[Case]) -> None:
        """Play until nothing is followed any more."""
        self.cases = {GenerationId(f"g{number}"): case for number, case in enumerate(cases)}
        events = [(case.registered, id, self._register) for id, case in self.cases.items()]
        events += [
            (case.ended + DELIVERED, id, self._deliver) for id, case in self.cases.items() if not case.lost
        ]
        events.sort(key=lambda event: event[0])
        schedule = self.follower.schedule
        while events or len(schedule):
            due = schedule.next_due()
            if due is not None and (not events or due <= events[0][0]):
                self.clock.now = max(self.clock.now, due)
                id = schedule.pick(self.clock.now)
                assert id is not None
                await self._poll(id)
            else:
                at, id, happens = events.pop(0)
                self.clock.now = max(self.clock.now, at)
                await happens(id)

    async def _register(self, id: GenerationId) -> None:
        now_us = self.clock.now_us()
        self.follower.take(
            await self.store.write(
                lambda tx: tx.discover(STUDIO, Source.API, [NewGeneration(id)], now_us, listed=False)
            )
        )

    async def _deliver(self, id: GenerationId) -> None:
        await self.follower.deliver(id, self._end(self.cases[id], Via.WEBHOOK), 10**15)

    async def _poll(self, id: GenerationId) -> None:
        case, now = self.cases[id], self.clock.now
        case.polls += 1
        if now >= case.ended:
            case.found = now - case.created
            await self.follower.observe(id, self._end(case, Via.POLL), 1.0)
            return
        age_us = round((now - case.created) * MICROS)
        seen = Observation(
            self.clock.now_us(),
            Via.POLL,
            Status.PROCESSING,
            "processing",
            case.model if case.named else None,
            ORIGIN_US + round(case.created * MICROS),
            elapsed_us=age_us,
            asked_at=now,
        )
        await self.follower.observe(id, seen, 1.0)

    def _end(self, case: Case, via: Via) -> Observation:
        return Observation(
            self.clock.now_us(),
            via,
            Status.COMPLETED,
            "completed",
            case.model,
            completed_us=ORIGIN_US + round(case.ended * MICROS),
            duration_us=round(case.duration * MICROS),
            asked_at=self.clock.now,
        )

    @property
    def polls(self) -> int:
        return sum(case.polls for case in self.cases.values())

    def lost(self) -> list[Case]:
        return [case for case in self.cases.values() if case.lost]


@asynccontextmanager
async def play(folder: Path) -> AsyncIterator[Play]:
    clock, meter, heartbeat = ManualClock(), Instruments("0", "3"), Heartbeat(SystemClock())
    database = open_database(folder / "state.db", owner=True)
    store = Store(database, Ledger((1,), 10, 10), clock, meter, heartbeat, traced=False)
    cadence = Cadence(2.0, 0.5, 60.0, 100)
    cadence.set_category("picture", "image")
    cadence.set_category("film", "video")
    cadence.set_category("song", "audio")
    storing = asyncio.create_task(store.run())
    yield Play(Follower(STUDIO, store, cadence, clock, meter, WebhookTrust(configured=True)), store, clock)
    storing.cancel()
    with suppress(asyncio.CancelledError):
        await storing
    store.close()


USUAL = {"picture": 12.0, "film": 90.0, "song": 20.0}


def steady(model: str, slowness: float = 1.0, sigma: float = 0.35) -> list[Case]:
    """As many in flight as a plan allows, of which one in forty loses its delivery."""
    rng = random.Random(5)
    cases = []
    for number in range(GENERATIONS):
        created = number * USUAL[model] / 15
        duration = rng.lognormvariate(math.log(USUAL[model] * slowness), sigma)
        cases.append(Case(model, created, created + duration, created + 0.1, lost=number % 40 == 30))
    return cases


def learn(follower: Follower, model: str) -> None:
    rng = random.Random(6)
    for _ in range(500):
        follower.cadence.learn(model, rng.lognormvariate(math.log(USUAL[model]), 0.35))


@pytest.mark.parametrize("model", USUAL)
async def test_a_lost_delivery_is_found_in_time_where_the_model_is_known(tmp_path: Path, model: str) -> None:
    async with play(tmp_path) as at:
        learn(at.follower, model)
        await at.run(steady(model))
    for case in at.lost():
        assert case.found is not None
        assert case.found <= max(2 * USUAL[model] + 30, 2 * case.duration)
    assert at.polls <= 1.1 * GENERATIONS


@pytest.mark.parametrize("model", ["picture", "film"])
async def test_a_lost_delivery_is_found_in_time_where_only_the_prior_is_known(
    tmp_path: Path, model: str
) -> None:
    async with play(tmp_path) as at:
        await at.run(steady(model))
    for case in at.lost():
        assert case.found is not None
        assert case.found <= max(2.3 * USUAL[model] + 30, 2 * case.duration)
    assert at.polls <= 1.1 * GENERATIONS


async def test_the_first_ends_of_an_unknown_kind_of_model_tell_when_to_poll(tmp_path: Path) -> None:
    async with play(tmp_path) as at:
        await at.run([replace(case, lost=number == 5) for number, case in enumerate(steady("song"))])
    [case] = at.lost()
    # Those that were in flight before anything had been learnt are scheduled anew.
    assert case.found is not None
    assert case.found <= 2.5 * USUAL["song"] + 30
    assert at.polls <= 1.1 * GENERATIONS


async def test_a_model_that_the_api_does_not_name_in_flight_is_expected_to_be_like_the_others(
    tmp_path: Path,
) -> None:
    async with play(tmp_path) as at:
        await at.run([replace(case, named=False) for case in steady("picture")])
    for case in at.lost():
        assert case.found is not None
        assert case.found <= max(2.5 * USUAL["picture"] + 30, 2 * case.duration)
    assert at.polls <= 1.1 * GENERATIONS


@pytest.mark.parametrize("model", USUAL)
async def test_ids_registered_late_cost_no_more(tmp_path: Path, model: str) -> None:
    rng = random.Random(7)
    async with play(tmp_path) as at:
        learn(at.follower, model)
        cases = steady(model)
        await at.run(
            [replace(case, registered=case.created + rng.uniform(0, 3) * USUAL[model]) for case in cases]
        )
    for case in at.lost():
        assert case.found is not None
        late = case.registered - case.created
        assert case.found <= max(2 * USUAL[model] + 30, 2 * case.duration, late)
    assert at.polls <= 1.1 * GENERATIONS


@pytest.mark.parametrize("slowness", [4.0, 8.0])
async def test_a_model_slower_than_expected_costs_no_more(tmp_path: Path, slowness: float) -> None:
    async with play(tmp_path) as at:
        learn(at.follower, "picture")
        await at.run(steady("picture", slowness))
    assert all(case.found is not None for case in at.lost())
    assert at.polls <= 1.1 * GENERATIONS


def queued(slots: int) -> list[Case]:
    """Everything submitted at once, to be rendered in order by so many at a time."""
    rng, free = random.Random(8), [0.0] * slots
    cases = []
    for number in range(GENERATIONS):
        slot = min(range(slots), key=free.__getitem__)
        free[slot] += rng.lognormvariate(math.log(12.0), 0.35)
        cases.append(Case("picture", 0.0, free[slot], 0.1, lost=number == 100))
    return cases


@pytest.mark.parametrize("slots", [5, 20])
async def test_a_queue_that_makes_generations_old_costs_no_more(tmp_path: Path, slots: int) -> None:
    async with play(tmp_path) as at:
        learn(at.follower, "picture")
        await at.run(queued(slots))
    [case] = at.lost()
    assert case.found is not None
    assert at.polls <= 1.1 * GENERATIONS
