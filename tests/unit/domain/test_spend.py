"""What a wallet spends beside what followed generations explain, on one that charges and refunds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

import pytest

from exporter.clock import MICROS
from exporter.domain.spend import Charge, Spend, WalletRead, is_same_window, window
from exporter.simulator.wallet import CYCLE_US, Reservation, Wallet

MINUTE = 60 * MICROS
SETTLED_US = 600 * MICROS


@dataclass
class Job:
    """A generation as the vendor has it; `seen_us` is when the exporter learns of its end."""

    created_us: int
    ended_us: int
    seen_us: int
    used: int
    reservation: Reservation
    followed: bool

    def charge(self, now_us: int) -> Charge:
        """What the exporter knows of it, with the API's times."""
        created_us = self.created_us // MICROS * MICROS
        estimate = self.reservation.credits * MICROS
        if self.seen_us > now_us:
            return Charge(created_us, estimate, None, 0)
        return Charge(created_us, estimate, created_us + self.ended_us - self.created_us, self.used * MICROS)


@dataclass
class Life:
    """A wallet, what is submitted to it, and an exporter that reads it once a minute."""

    rng: Random
    start_us: int
    foreign: float = 0.0
    wallet: Wallet = field(default_factory=lambda: Wallet(10**9))
    jobs: list[Job] = field(default_factory=list)
    spend: Spend | None = None
    waiting: WalletRead | None = None
    counted: set[int] = field(default_factory=set)
    moments: list[tuple[int, int, Job | None]] = field(default_factory=list)

    def run(self, minutes: int, each: Callable[["Life", int], None]) -> None:
        """Let time pass; `each` is called after every read."""
        at_us = self.start_us
        for _ in range(minutes * 15):
            at_us += round(self.rng.expovariate(1 / 4) * MICROS) + 1
            heappush(self.moments, (at_us, len(self.jobs) + len(self.moments), None))
        for minute in range(3, minutes):
            read_us = self.start_us + minute * MINUTE + self.rng.randrange(MINUTE)
            heappush(self.moments, (read_us, -minute, None))
        while self.moments:
            now_us, number, job = heappop(self.moments)
            if job is not None:
                self.wallet.settle(job.reservation, job.used, now_us)
            elif number < 0:
                self._read(now_us)
                each(self, now_us)
            else:
                ending = self._submit(now_us)
                heappush(self.moments, (ending.ended_us, number, ending))

    def _submit(self, now_us: int) -> Job:
        estimate = self.rng.randint(5, 200)
        reservation = self.wallet.reserve(estimate, now_us)
        assert reservation is not None
        ended_us = now_us + self.rng.randint(1, 90) * MICROS + self.rng.randrange(MICROS)
        used = self.rng.choice([0, estimate, self.rng.randint(1, estimate)])
        followed = self.rng.random() >= self.foreign
        job = Job(now_us, ended_us, ended_us + self.rng.randrange(5 * MICROS), used, reservation, followed)
        self.jobs.append(job)
        return job

    def _read(self, at_us: int) -> None:
        self.wallet.enter(at_us)
        entered, spent = self.waiting, self.wallet.spent * MICROS
        self.waiting = WalletRead(
            spent, self.wallet.resets_us(at_us), at_us - MICROS // 5, at_us + MICROS // 5
        )
        if self.spend is None:
            entered = self.waiting
        if entered is not None:
            self._enter(entered, at_us)

    def _enter(self, read: WalletRead, now_us: int) -> None:
        """As the store does, which adds each end once."""
        followed = [job for job in self.jobs if job.followed]
        if self.spend is None or not is_same_window(self.spend, read):
            self.spend = window(self.spend, read)
            long_ago_us = read.asked_us - SETTLED_US
            self.counted = {job.created_us for job in followed if job.seen_us <= long_ago_us}
        for job in followed:
            if job.seen_us <= now_us and job.created_us not in self.counted:
                self.spend = self.spend.with_ended(job.charge(now_us))
                self.counted.add(job.created_us)
        latest = [job.charge(now_us) for job in followed if job.seen_us >= read.asked_us - SETTLED_US]
        self.spend = self.spend.with_read(read, latest)

    def reads_alike(self) -> None:
        assert self.spend is not None
        assert self.spend.followed == self.spend.observed


@pytest.mark.parametrize("seed", range(8))
def test_where_all_is_followed_all_is_explained_at_every_read(seed: int) -> None:
    life = Life(Random(seed), 5 * CYCLE_US + 86_400 * MICROS)
    life.run(60, lambda life, _: life.reads_alike())
    assert life.spend is not None
    assert life.spend.observed > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_cycle_that_ends_leaves_out_of_both_what_no_read_can_show(seed: int) -> None:
    life = Life(Random(seed), 6 * CYCLE_US - 20 * MINUTE)
    life.run(60, lambda life, _: life.reads_alike())
    true = sum(job.used for job in life.jobs) * MICROS
    assert life.spend is not None
    assert life.spend.whole
    assert life.spend.observed > 0.8 * true


@pytest.mark.parametrize("seed", range(4))
def test_what_others_spend_is_not_explained(seed: int) -> None:
    life = Life(Random(seed), 5 * CYCLE_US + 86_400 * MICROS, foreign=0.3)
    life.run(180, lambda life, _: None)
    assert life.spend is not None
    begun_us = life.spend.begun_first_us
    others = sum(job.used for job in life.jobs if not job.followed and job.created_us > begun_us) * MICROS
    assert life.spend.observed - life.spend.followed == pytest.approx(others, rel=0.05)


def test_an_old_generation_that_is_registered_late_explains_nothing() -> None:
    read = WalletRead(500 * MICROS, 6 * CYCLE_US, 5 * CYCLE_US + MINUTE, 5 * CYCLE_US + MINUTE)
    spend = window(None, read)
    old = Charge(5 * CYCLE_US - 90 * MINUTE, None, 5 * CYCLE_US - 89 * MINUTE, 70 * MICROS)
    spend = spend.with_ended(old).with_read(read, [])
    assert (spend.observed, spend.followed) == (0, 0)


def test_another_wallet_begins_anew_and_keeps_the_sums() -> None:
    first = WalletRead(0, 6 * CYCLE_US, 5 * CYCLE_US + MINUTE, 5 * CYCLE_US + MINUTE)
    spend = window(None, first).with_read(first, [])
    later = WalletRead(40 * MICROS, 6 * CYCLE_US, 5 * CYCLE_US + 2 * MINUTE, 5 * CYCLE_US + 2 * MINUTE)
    spend = spend.with_read(later, [])
    other = WalletRead(
        9_000 * MICROS, 6 * CYCLE_US, 5 * CYCLE_US + 3 * MINUTE, 5 * CYCLE_US + 3 * MINUTE, anew=True
    )
    assert not is_same_window(spend, other)
    spend = window(spend, other).with_read(other, [])
    assert (spend.observed, spend.followed) == (40 * MICROS, 0)
    assert Spend.from_cells(spend.cells()) == spend
