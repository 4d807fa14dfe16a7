"""Calls are spent evenly, never above the limit as the server counts, and fewer when others need them."""

import copy
import heapq
from collections.abc import Callable
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.budget import AMPLE, BURST, PROBES, SCARCE, WINDOW, Budget, Slot

TICK = 1 / 64
"""Seconds; times that are whole ticks are exact as floats."""
A_MOMENT = 1 / 1024

Step = tuple[int, int, float, bool]
"""Ticks until the next try, ticks until the answer, share of that until the arrival, whether it is sent."""

STEPS = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 64), st.integers(0, 4_000)),
        st.one_of(st.just(0), st.integers(0, 128), st.integers(0, 8_000)),
        st.floats(0, 1),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=120,
)


class Calls:
    """Calls under way, and what a server sees of them. Times are in seconds."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.arrivals: list[float] = []
        self._turn = count()
        self._out: list[tuple[float, int, Slot]] = []

    def send(self, slot: Slot, now: float, latency: float, share: float = 0.5) -> None:
        self.arrivals.append(now + round(latency * share / TICK) * TICK)
        heapq.heappush(self._out, (now + latency, next(self._turn), slot))

    def answer_until(self, now: float) -> float:
        """Answer what is answered by `now`; returns the time of the last answer."""
        last = now
        while self._out and self._out[0][0] <= now:
            last, _, slot = heapq.heappop(self._out)
            slot.release(last)
        return last

    def answer_all(self, now: float) -> float:
        latest = max((at for at, _, _ in self._out), default=now)
        self.answer_until(latest)
        return max(now, latest)


def take(budget: Budget, now: float) -> Slot:
    slot = budget.try_take(now)
    assert slot is not None
    return slot


def taken_at_once(budget: Budget, now: float) -> int:
    taken = 0
    while budget.try_take(now) is not None:
        taken += 1
    return taken


def saturate(budget: Budget, seconds: float, latency: float, now: float = 0.0) -> list[float]:
    """When calls go out if every chance is taken."""
    calls, sent, end = Calls(budget), [], now + seconds
    while now < end:
        calls.answer_until(now)
        slot = budget.try_take(now)
        if slot is not None:
            sent.append(now)
            calls.send(slot, now, latency)
        now = max(now, budget.next_possible(now)) + A_MOMENT
    return sent


@given(limit=st.integers(1, 8), steps=STEPS, earlier=st.integers(0, 10))
def test_no_minute_of_arrivals_holds_more_than_the_limit(limit: int, steps: list[Step], earlier: int) -> None:
    budget = Budget(limit, 1.0)
    calls, now = Calls(budget), 0.0
    budget.spent_before(min(earlier, limit), now)
    calls.arrivals += [now] * min(earlier, limit)
    for wait, latency, share, sent in steps:
        now += wait * TICK
        calls.answer_until(now)
        slot = budget.try_take(now)
        if slot is None:
            continue
        if sent:
            calls.send(slot, now, latency * TICK, share)
        else:
            slot.cancel()
    arrivals = sorted(calls.arrivals)
    gaps = [later - earlier for earlier, later in zip(arrivals, arrivals[limit:], strict=False)]
    assert all(gap > WINDOW for gap in gaps)


@given(
    limit=st.integers(1, 8),
    steps=STEPS,
    remaining=st.none() | st.integers(0, 20),
    lowered=st.none() | st.integers(1, 8),
)
def test_going_to_where_a_call_is_possible_next_always_ends_with_a_call(
    limit: int, steps: list[Step], remaining: int | None, lowered: int | None
) -> None:
    budget = Budget(limit, 1.0)
    calls, now = Calls(budget), 0.0
    for wait, latency, share, _ in steps:
        now += wait * TICK
        calls.answer_until(now)
        slot = budget.try_take(now)
        if slot is not None:
            calls.send(slot, now, latency * TICK, share)
    if lowered is not None:
        budget.set_plan(lowered, 1.0)
    if remaining is not None:
        budget.observe_remaining(remaining, now)
    now = calls.answer_all(now)
    tries = 0
    while budget.try_take(now) is None:
        at = budget.next_possible(now)
        assert at >= now
        if at - now > 2 * A_MOMENT:
            assert copy.deepcopy(budget).try_take(at - A_MOMENT) is None, "it was possible earlier"
        now = at + A_MOMENT
        tries += 1
        assert tries < 20


def test_with_every_slot_out_it_asks_again_soon_and_gets_a_slot_a_minute_after_the_answer() -> None:
    budget = Budget(1, 1.0)
    slot = take(budget, 0.0)
    assert 0.0 < budget.next_possible(100.0) - 100.0 <= 1.0
    slot.release(100.0)
    assert budget.next_possible(100.0) == 100.0 + WINDOW
    assert budget.try_take(100.0 + WINDOW) is None
    assert budget.try_take(100.0 + WINDOW + A_MOMENT) is not None


@pytest.mark.parametrize("latency", [0.03125, 0.25, 1.0])
def test_a_saturated_budget_is_nearly_all_spent_and_evenly(latency: float) -> None:
    minutes = 30
    sent = saturate(Budget(240, 0.5), minutes * 60, latency)
    assert len(sent) >= 0.95 * 120 * minutes
    later = [at for at in sent if at >= 60]
    assert max(b - a for a, b in pairwise(later)) <= 3


def test_after_a_quiet_time_a_burst_is_a_small_part_of_the_minute() -> None:
    budget = Budget(240, 0.5)
    take(budget, 0.0).release(0.0)
    assert taken_at_once(budget, 1_000.0) == int(120 * BURST)


def test_an_allowance_is_never_less_than_one_call_a_minute() -> None:
    budget = Budget(1, 0.1)
    assert budget.limit == 1
    assert len(saturate(budget, 600, 0.25)) >= 9


def test_fewer_calls_go_out_while_few_remain_for_the_applications() -> None:
    budget = Budget(240, 0.5)
    half_way = int(240 * (AMPLE + SCARCE) / 2)
    budget.observe_remaining(240, 0.0)
    assert budget.rate(0.0) == 120
    budget.observe_remaining(half_way, 0.0)
    assert budget.rate(0.0) == pytest.approx(60)
    assert len(saturate(budget, 30, 0.25)) < 30
    budget.observe_remaining(1, 0.0)
    assert budget.rate(0.0) == PROBES


class Plan:
    """A server's limit in fixed windows of a minute, shared by an application and the exporter."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._window, self._used = -1, 0

    def call(self, at: float) -> int | None:
        """Return how many calls are left, or None for one that is refused."""
        window = int(at // WINDOW)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        return self.calls - self._used if self._used <= self.calls else None


def refusals(needs: int, share: float, latency: float, begin: float, minutes: int = 4) -> int:
    """How many calls of an application that makes `needs` a minute are refused beside an exporter that wants
    all that it may have, beginning `begin` seconds into a window of a plan of 240."""
    plan, budget = Plan(240), Budget(240, share)
    out: list[tuple[float, Slot, int | None]] = []
    refused = made = 0
    now = begin
    while now < begin + minutes * WINDOW:
        while out and out[0][0] <= now:
            at, slot, remaining = out.pop(0)
            slot.release(at)
            if remaining is not None:
                budget.observe_remaining(remaining, at)
        if now >= begin + made * WINDOW / needs:
            made += 1
            refused += plan.call(now) is None
        taken = budget.try_take(now)
        if taken is not None:
            out.append((now + latency, taken, plan.call(now)))
        now += TICK
    return refused


@pytest.mark.parametrize("begin", [0.0, 11.0, 29.5, 47.0])
@pytest.mark.parametrize("latency", [0.03125, 0.5, 8.0])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_an_application_that_needs_no_more_than_the_rest_is_never_refused(
    share: float, latency: float, begin: float
) -> None:
    assert refusals(int(240 * (1 - share)) - 1, share, latency, begin) == 0


@pytest.mark.parametrize("begin", [0.0, 11.0, 29.5, 47.0])
@pytest.mark.parametrize("latency", [0.03125, 0.5])
def test_an_application_can_have_five_eighths_of_the_plan_where_half_of_it_is_the_share(
    latency: float, begin: float
) -> None:
    assert refusals(150, 0.5, latency, begin) == 0


@pytest.mark.parametrize("idle", [0.0, 1_000.0])
def test_no_call_goes_out_while_none_remains_however_long_it_was_idle(idle: float) -> None:
    budget = Budget(240, 0.5)
    take(budget, 0.0).release(0.0)
    now = idle + budget.next_possible(idle)
    take(budget, now).cancel()
    budget.observe_remaining(0, now)
    assert budget.rate(now) == 0
    assert budget.try_take(now) is None
    assert budget.next_possible(now) == now + WINDOW
    assert budget.try_take(now + WINDOW - A_MOMENT) is None


def test_what_remained_is_forgotten_after_a_minute() -> None:
    budget = Budget(240, 0.5)
    budget.observe_remaining(0, 0.0)
    assert budget.rate(WINDOW - A_MOMENT) == 0
    assert budget.rate(WINDOW) == 120
    assert budget.try_take(WINDOW) is not None


def test_calls_since_the_last_answer_count_against_what_remained() -> None:
    budget = Budget(240, 0.5)
    budget.observe_remaining(1, 0.0)
    slot = take(budget, 0.0)
    assert budget.rate(0.0) == 0
    slot.cancel()
    assert budget.rate(0.0) > 0


def test_a_lowered_plan_counts_the_calls_that_are_out_already() -> None:
    budget = Budget(600, 1.0)
    take(budget, 0.0)
    taken = 1 + taken_at_once(budget, 600.0)
    assert taken > 10
    budget.set_plan(10, 1.0)
    assert budget.limit == 10
    assert budget.try_take(10_000.0) is None


def test_a_raised_plan_applies_at_once() -> None:
    budget = Budget(1, 1.0)
    take(budget, 0.0)
    assert budget.try_take(30.0) is None
    budget.set_plan(60, 1.0)
    assert budget.try_take(32.0) is not None


def test_calls_of_an_earlier_process_count() -> None:
    budget = Budget(10, 1.0)
    budget.spent_before(10, 0.0)
    assert budget.try_take(1.0) is None
    assert budget.next_possible(1.0) == WINDOW
    assert budget.try_take(WINDOW + A_MOMENT) is not None


def test_a_call_that_was_not_sent_costs_nothing() -> None:
    budget = Budget(1, 1.0)
    for _ in range(10):
        take(budget, 0.0).cancel()
    take(budget, 0.0).release(0.0)
    assert budget.try_take(1.0) is None


def release(slot: Slot) -> None:
    slot.release(1.0)


@pytest.mark.parametrize("first", [release, Slot.cancel], ids=["released", "cancelled"])
@pytest.mark.parametrize("second", [release, Slot.cancel], ids=["release", "cancel"])
def test_a_slot_cannot_be_given_back_twice(
    first: Callable[[Slot], None], second: Callable[[Slot], None]
) -> None:
    budget = Budget(1, 1.0)
    slot = take(budget, 0.0)
    first(slot)
    with pytest.raises(RuntimeError, match="twice"):
        second(slot)
    assert budget.next_possible(1_000.0) == 1_000.0
    take(budget, 1_000.0)
    assert budget.try_take(2_000.0) is None, "the second time counted for nothing"


def test_what_is_left_is_measured_by_the_plan_that_the_api_reports_not_by_one_that_is_configured() -> None:
    budget = Budget(6_000, 0.5)
    budget.set_plan(6_000, 0.5, reported=600)
    budget.observe_remaining(500, 0.0)
    assert budget.rate(0.0) == 3_000
    budget.observe_remaining(30, 0.0)
    assert budget.rate(0.0) == PROBES
