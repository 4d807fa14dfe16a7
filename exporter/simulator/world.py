"""The simulated vendor without HTTP: accounts, job slots, generations. Pure: time is passed in.

Events are processed in the order of their own times, so results do not depend on when or how often they are
read.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from random import Random

from exporter.clock import MICROS
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.generation import Fate, Generation, canonical_id, draw_fate
from exporter.simulator.keys import KeyRing
from exporter.simulator.models import SimulatedModel
from exporter.simulator.wallet import Reservation, Wallet

DAY_US = 86_400 * MICROS


class InsufficientCreditsError(Exception):
    """The wallet does not cover the estimate of a generation."""


class _Event(IntEnum):
    READY = 0
    END = 1


@dataclass(slots=True)
class _Jobs:
    """Generations in flight of one account."""

    wallet: Wallet
    submitted: int = 0
    running: int = 0
    last_ready_us: int = 0
    waiting: deque[str] = field(default_factory=deque)
    reservations: dict[str, Reservation] = field(default_factory=dict)


class World:
    """All accounts of the simulated vendor.

    `failure_ratio` of the generations fail; an ended generation can be read for `retention_us`; on an idle
    account a generation starts within `pickup_us` of its submission. Time never runs backwards: a `now_us`
    before the latest one counts as the latest.
    """

    def __init__(
        self,
        seed: int,
        accounts: Sequence[SimulatedAccount],
        failure_ratio: float = 0.08,
        retention_us: int = 30 * DAY_US,
        pickup_us: int = 3 * MICROS,
    ) -> None:
        self.seed = seed
        self.failure_ratio = failure_ratio
        self.retention_us = retention_us
        self.pickup_us = pickup_us
        self.keys = KeyRing()
        self.accounts = {account.name: account for account in accounts}
        self.ends: list[str] = []
        """Ids of generations in the order of their ends, without those added as already ended."""
        self.on_submitted: list[Callable[[], None]] = []
        """Called after each submission, which may bring the next event forward."""
        self._jobs = {account.name: _Jobs(Wallet(account.granted)) for account in accounts}
        self._generations: dict[str, Generation] = {}
        self._in_flight: dict[str, None] = {}
        self._events: list[tuple[int, int, _Event, str]] = []
        self._scheduled = 0
        self._now_us = 0
        for account in accounts:
            self.keys.add(account.name, account.key)

    def __iter__(self) -> Iterator[Generation]:
        """Iterate over all generations as of the last `advance`, oldest addition first."""
        return iter(self._generations.values())

    def advance(self, now_us: int) -> int:
        """Process all events until `now_us`. Returns the present time."""
        while self._events and self._events[0][0] <= now_us:
            at_us, _, event, generation_id = heapq.heappop(self._events)
            generation = self._generations[generation_id]
            jobs = self._jobs[generation.account]
            if event is _Event.READY:
                jobs.waiting.append(generation_id)
            else:
                self._end(generation, jobs, at_us)
            self._fill_slots(generation.account, jobs, at_us)
        self._now_us = max(self._now_us, now_us)
        return self._now_us

    def next_event_us(self) -> int | None:
        """Return when the next event is due, or None. Only a submission brings it forward."""
        return self._events[0][0] if self._events else None

    def submit(self, account: str, model: SimulatedModel, number_results: int, now_us: int) -> Generation:
        """Accept a generation and reserve its credits. Raises InsufficientCreditsError."""
        now_us = self.advance(now_us)
        jobs = self._jobs[account]
        rng = Random(f"{self.seed}/{account}/{jobs.submitted}")
        fate = draw_fate(rng, model, number_results, self.failure_ratio, self.pickup_us)
        reservation = jobs.wallet.reserve(fate.credits_estimate, now_us)
        if reservation is None:
            raise InsufficientCreditsError
        generation = Generation(account, jobs.submitted, model, number_results, fate, now_us, now_us)
        jobs.submitted += 1
        jobs.reservations[fate.id] = reservation
        # Never ready before an earlier one: the queue is first in, first out by submission.
        jobs.last_ready_us = max(jobs.last_ready_us, now_us + fate.pickup_us)
        self._generations[fate.id] = generation
        self._in_flight[fate.id] = None
        self._schedule(jobs.last_ready_us, _Event.READY, fate.id)
        for notify in self.on_submitted:
            notify()
        return generation

    def add_ended(
        self,
        account: str,
        model: SimulatedModel,
        generation_id: str,
        created_us: int,
        duration_us: int,
        now_us: int,
        reason: str | None = None,
        credits_used: int = 0,
        number_results: int = 1,
    ) -> Generation:
        """Add a generation that has ended; it is charged to no wallet. Raises ValueError for a known id.

        One that ended more than the retention before `now_us` can never be read.
        """
        if generation_id in self._generations:
            raise ValueError(f"generation {generation_id} exists already")
        used = 0 if reason is not None else credits_used
        fate = Fate(generation_id, 0, duration_us, reason, credits_used, used)
        ended_us = created_us + duration_us
        self._generations[generation_id] = added = Generation(
            account, None, model, number_results, fate, created_us, now_us, created_us, ended_us
        )
        return added

    def find(self, generation_id: str, now_us: int) -> Generation | None:
        """Return a generation, or None where it does not exist or is beyond the retention."""
        now_us = self.advance(now_us)
        found = self._generations.get(canonical_id(generation_id))
        if found is None or self.expired(found, now_us):
            return None
        return found

    def ended(self, first: int) -> list[Generation]:
        """Return the generations of `ends`, from number `first` on."""
        return [self._generations[generation_id] for generation_id in self.ends[first:]]

    def expired(self, generation: Generation, at_us: int) -> bool:
        """Return whether a generation is beyond the retention."""
        return generation.ended_us is not None and at_us - generation.ended_us > self.retention_us

    def in_flight(self, now_us: int, account: str | None = None) -> list[Generation]:
        """Return the generations in flight, of one account or of all, oldest first."""
        self.advance(now_us)
        every = (self._generations[generation_id] for generation_id in self._in_flight)
        return [generation for generation in every if account is None or generation.account == account]

    def wallet(self, account: str, now_us: int) -> Wallet:
        """Return the wallet of an account."""
        now_us = self.advance(now_us)
        wallet = self._jobs[account].wallet
        wallet.enter(now_us)
        return wallet

    def rotate_key(self, account: str, key: str) -> None:
        """Replace every key of the account by `key`; the former ones get 401 from now on."""
        for old in self.keys.of_account(account):
            self.keys.revoke(old)
        self.keys.add(account, key)

    def _schedule(self, at_us: int, event: _Event, generation_id: str) -> None:
        heapq.heappush(self._events, (at_us, self._scheduled, event, generation_id))
        self._scheduled += 1

    def _fill_slots(self, account: str, jobs: _Jobs, at_us: int) -> None:
        while jobs.waiting and jobs.running < self.accounts[account].plan.concurrent_jobs:
            generation_id = jobs.waiting.popleft()
            generation = replace(self._generations[generation_id], started_us=at_us)
            self._generations[generation_id] = generation
            jobs.running += 1
            self._schedule(at_us + generation.fate.rendering_us, _Event.END, generation_id)

    def _end(self, generation: Generation, jobs: _Jobs, at_us: int) -> None:
        self._generations[generation.id] = replace(generation, ended_us=at_us)
        del self._in_flight[generation.id]
        self.ends.append(generation.id)
        jobs.running -= 1
        jobs.wallet.settle(jobs.reservations.pop(generation.id), generation.fate.credits_used, at_us)
