from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.clock import MICROS
from exporter.domain.values import Status
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.generation import Generation
from exporter.simulator.models import BY_SLUG, MODELS
from exporter.simulator.wallet import CYCLE_US
from exporter.simulator.world import DAY_US, InsufficientCreditsError, World

IMAGE = BY_SLUG["grok-imagine-image-quality"]
START = 1_778_416_496_000_000
LATER = START + DAY_US
PRO = SimulatedAccount("studio", "key-studio")
ULTIMATE = SimulatedAccount("atelier", "key-atelier", "ultimate")


def world(failure_ratio: float = 0.08, pickup_us: int = 0, seed: int = 7, granted: int = 1_000_000) -> World:
    pro = SimulatedAccount(PRO.name, PRO.key, granted=granted)
    return World(seed, [pro, ULTIMATE], failure_ratio, pickup_us=pickup_us)


def test_a_generation_is_pending_then_processing_then_ended() -> None:
    simulated = world(failure_ratio=0, pickup_us=3 * MICROS)
    submitted = simulated.submit("studio", IMAGE, 1, START)
    started = START + submitted.fate.pickup_us
    ended = started + submitted.fate.rendering_us
    statuses = []
    for now_us in (started - 1, started, ended - 1, ended):
        found = simulated.find(submitted.id, now_us)
        assert found is not None
        statuses.append(found.status)
    assert statuses == [Status.PENDING, Status.PROCESSING, Status.PROCESSING, Status.COMPLETED]


def test_no_more_jobs_run_at_once_than_the_plan_allows() -> None:
    simulated = world()
    for _ in range(30):
        simulated.submit("studio", IMAGE, 1, START)
        simulated.submit("atelier", IMAGE, 1, START)
    statuses = Counter((one.account, one.status) for one in simulated.in_flight(START))
    assert statuses["studio", Status.PROCESSING] == 5
    assert statuses["studio", Status.PENDING] == 25
    assert statuses["atelier", Status.PROCESSING] == 20


def test_the_next_generation_starts_at_the_very_end_of_one_before() -> None:
    simulated = world()
    for _ in range(12):
        simulated.submit("studio", IMAGE, 1, START)
    simulated.advance(LATER)
    ends = {one.ended_us for one in simulated}
    assert all(one.started_us in ends for one in list(simulated)[5:])


def test_the_queue_is_first_in_first_out() -> None:
    simulated = world(pickup_us=3 * MICROS)
    for second in range(40):
        simulated.submit("studio", IMAGE, 1, START + second * MICROS // 10)
    simulated.advance(LATER)
    starts = [one.started_us or 0 for one in simulated]
    assert starts == sorted(starts)


def test_the_duration_covers_creation_to_end_with_the_queue() -> None:
    simulated = world()
    ids = [simulated.submit("studio", IMAGE, 1, START).id for _ in range(6)]
    queued = simulated.find(ids[-1], LATER)
    assert queued is not None
    assert queued.started_us is not None
    assert queued.duration_ms == (queued.started_us - START + queued.fate.rendering_us) // 1_000


def test_a_failure_refunds_its_credits() -> None:
    simulated = world(failure_ratio=1)
    failing = simulated.submit("studio", IMAGE, 4, START)
    wallet = simulated.wallet("studio", START)
    assert (wallet.balance, wallet.spent) == (
        1_000_000 - failing.fate.credits_estimate,
        failing.fate.credits_estimate,
    )
    wallet = simulated.wallet("studio", LATER)
    assert (wallet.balance, wallet.spent) == (1_000_000, 0)


def test_a_completion_is_charged_what_it_used() -> None:
    simulated = world(failure_ratio=0)
    fates = [simulated.submit("studio", IMAGE, 1, START).fate for _ in range(50)]
    assert simulated.wallet("studio", LATER).spent == sum(fate.credits_used for fate in fates)
    assert any(fate.credits_used < fate.credits_estimate for fate in fates)
    assert all(0 < fate.credits_used <= fate.credits_estimate for fate in fates)


def test_an_empty_wallet_refuses_and_the_refusal_changes_no_later_fate() -> None:
    poor, rich = world(granted=0), world()
    with pytest.raises(InsufficientCreditsError):
        poor.submit("studio", IMAGE, 1, START)
    poor.wallet("studio", START).balance = 1_000
    assert poor.submit("studio", IMAGE, 1, START).id == rich.submit("studio", IMAGE, 1, START).id


def test_a_new_cycle_refills_the_wallet() -> None:
    simulated = world(failure_ratio=0)
    simulated.submit("studio", IMAGE, 1, START)
    wallet = simulated.wallet("studio", START + CYCLE_US)
    assert (wallet.balance, wallet.spent) == (1_000_000, 0)


def test_about_the_given_ratio_fails() -> None:
    simulated = world(failure_ratio=0.08)
    for number in range(2_000):
        simulated.submit("atelier", BY_SLUG["runware:101@1"], 1, START + number * MICROS)
    simulated.advance(LATER)
    assert 100 < sum(one.status is Status.FAILED for one in simulated) < 220


def test_the_fate_depends_on_seed_and_number_not_on_time() -> None:
    early, late, other = world(), world(), world(seed=8)
    first = [early.submit("studio", IMAGE, 1, START + second).fate for second in range(10)]
    assert first == [late.submit("studio", IMAGE, 1, LATER + 7 * second).fate for second in range(10)]
    assert first != [other.submit("studio", IMAGE, 1, START + second).fate for second in range(10)]


def test_beyond_the_retention_a_generation_is_not_found() -> None:
    simulated = world()
    submitted = simulated.submit("studio", IMAGE, 1, START)
    ended = simulated.find(submitted.id, LATER)
    assert ended is not None
    assert ended.ended_us is not None
    assert simulated.find(submitted.id, ended.ended_us + simulated.retention_us) is not None
    assert simulated.find(submitted.id, ended.ended_us + simulated.retention_us + 1) is None


def test_a_backlog_of_ended_generations_can_be_added_with_any_id() -> None:
    simulated = world()
    simulated.add_ended("studio", IMAGE, "a/b%2F", START - DAY_US, 5_000_000, START, credits_used=9)
    simulated.add_ended("studio", IMAGE, "old", START - 40 * DAY_US, 5_000_000, START, reason="TIMEOUT")
    found = simulated.find("a/b%2F", START)
    assert found is not None
    assert (found.status, found.duration_ms, found.fate.credits_used) == (Status.COMPLETED, 5_000, 9)
    assert simulated.find("old", START) is None
    with pytest.raises(ValueError, match="exists already"):
        simulated.add_ended("studio", IMAGE, "old", START, 1, START)


def test_a_rotated_key_replaces_every_key_before_it() -> None:
    simulated = world()
    simulated.keys.add("studio", "second")
    simulated.rotate_key("studio", "third")
    assert simulated.keys.of_account("studio") == ["third"]


def test_ends_are_listed_in_the_order_they_happened() -> None:
    simulated = world()
    for model in MODELS:
        simulated.submit("studio", model, 1, START)
    simulated.advance(LATER)
    ends = [one.ended_us for id_ in simulated.ends if (one := simulated.find(id_, LATER)) is not None]
    assert len(ends) == len(MODELS)
    assert ends == sorted(ends, key=lambda end: end or 0)


def test_nothing_happens_before_the_next_event() -> None:
    simulated = world(pickup_us=3 * MICROS)
    assert simulated.next_event_us() is None
    told: list[int | None] = []
    simulated.on_submitted.append(lambda: told.append(simulated.next_event_us()))
    submitted = simulated.submit("studio", IMAGE, 1, START)
    ready_us = START + submitted.fate.pickup_us
    end_us = ready_us + submitted.fate.rendering_us
    assert told == [ready_us] == [simulated.next_event_us()]
    simulated.advance(end_us - 1)
    assert simulated.next_event_us() == end_us
    assert simulated.ended(0) == []
    simulated.advance(end_us)
    assert simulated.next_event_us() is None
    assert [one.ended_us for one in simulated.ended(0)] == [end_us]
    assert simulated.ended(1) == []


@given(
    submissions=st.lists(
        st.tuples(st.integers(0, 60 * MICROS), st.sampled_from(MODELS), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    looks=st.lists(st.integers(0, 2_000 * MICROS), max_size=60),
    granted=st.sampled_from([3_000, 1_000_000]),
)
def test_looking_more_often_changes_nothing(
    submissions: list[tuple[int, object, bool]], looks: list[int], granted: int
) -> None:
    def outcome(looks: list[int]) -> tuple[list[Generation], list[str], list[tuple[int, int]]]:
        simulated = world(failure_ratio=0.3, pickup_us=3 * MICROS, granted=granted)
        ordered = sorted(submissions, key=lambda one: one[0])
        for at_us, model, ultimate in ordered:
            while looks and looks[0] <= at_us:
                simulated.advance(START + looks.pop(0))
            try:
                simulated.submit("atelier" if ultimate else "studio", model, 1, START + at_us)  # type: ignore[arg-type]
            except InsufficientCreditsError:
                continue
        for look in looks:
            simulated.advance(START + look)
        wallets = [simulated.wallet(name, LATER) for name in simulated.accounts]
        simulated.advance(LATER)
        return list(simulated), simulated.ends, [(wallet.balance, wallet.spent) for wallet in wallets]

    assert outcome([]) == outcome(sorted(looks))
