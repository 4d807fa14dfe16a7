"""Ages, lags and graces by the monotonic clock, wherever the wall clock is set to."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain import transition
from exporter.domain.values import (
    AccountName,
    End,
    Generation,
    GenerationId,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.polling.followed import Followed, begin, resume

S = 1_000_000
REGISTERED = 1_778_416_496 * S
AHEAD = st.integers(-(10**6), 10**6)
"""Seconds by which a clock is wrong."""


def new() -> Generation:
    return Generation(AccountName("studio"), GenerationId("g"), Source.API, REGISTERED)


def answer(
    at_us: int,
    status: Status = Status.PENDING,
    *,
    created_us: int | None = None,
    completed_us: int | None = None,
    elapsed_us: int | None = None,
    duration_us: int | None = None,
) -> Observation:
    times = created_us, completed_us, elapsed_us, duration_us
    return Observation(at_us, Via.POLL, status, status.value, "m", *times)


def end_of(generation: Generation, observation: Observation) -> End:
    end = transition.observe(generation, observation).generation.end
    assert end is not None
    return end


def polled(followed: Followed, observation: Observation, now: float) -> None:
    followed.answered(observation, now)
    followed.generation = transition.observe(followed.generation, observation).generation


def test_the_age_is_that_of_the_registration_until_the_api_reports_one() -> None:
    followed = begin(new(), 1, 100.0)
    assert followed.age(103.0) == 3.0
    followed.answered(answer(REGISTERED, elapsed_us=30 * S), 104.0)
    assert followed.age(106.0) == 32.0
    assert followed.polled_age == 30.0


def test_the_age_is_that_of_the_timestamps_where_the_api_reports_only_those() -> None:
    followed = begin(new(), 1, 100.0)
    followed.answered(answer(REGISTERED + S, created_us=REGISTERED - 9 * S), 101.0)
    assert followed.age(103.0) == 12.0


@given(AHEAD, AHEAD)
def test_the_lag_of_one_seen_in_flight_depends_on_no_wall_clock(ours: int, theirs: int) -> None:
    followed = begin(new(), 1, 100.0)
    created_us = REGISTERED + theirs * S
    polled(followed, answer(REGISTERED, created_us=created_us, elapsed_us=4 * S), 104.0)
    at_us = REGISTERED + (14 + ours) * S
    end = end_of(
        followed.generation,
        answer(at_us, Status.COMPLETED, created_us=created_us, duration_us=12 * S),
    )
    assert followed.lag(end, 114.0) == 2.0


@given(AHEAD)
def test_no_lag_is_negative_nor_longer_than_the_generation_was_followed(ours: int) -> None:
    followed = begin(new(), 1, 100.0)
    end = end_of(
        new(), answer(REGISTERED + (20 + ours) * S, Status.COMPLETED, completed_us=REGISTERED + 10 * S)
    )
    lag = followed.lag(end, 120.0)
    assert lag is None or 0 <= lag <= 20
    assert ours or lag == 10


def test_one_registered_after_its_end_has_no_lag() -> None:
    followed = begin(new(), 1, 100.0)
    end = end_of(new(), answer(REGISTERED + 2 * S, Status.COMPLETED, completed_us=REGISTERED - S))
    assert followed.lag(end, 102.0) is None


def test_one_that_an_earlier_process_registered_is_as_old_as_the_store_says() -> None:
    followed = resume(new(), 1, 100.0, REGISTERED + 30 * S)
    assert followed.age(101.0) == 31.0
    followed = resume(replace(new(), created_us=REGISTERED - 5 * S), 1, 100.0, REGISTERED + 30 * S)
    assert followed.age(101.0) == 36.0
    end = end_of(new(), answer(REGISTERED + 40 * S, Status.COMPLETED, completed_us=REGISTERED + 15 * S))
    assert followed.lag(end, 110.0) == 25.0


def test_nothing_is_older_than_now_where_the_clock_was_set_back_between_processes() -> None:
    followed = resume(replace(new(), created_us=REGISTERED), 1, 100.0, REGISTERED - 9_000 * S)
    assert followed.age(100.0) == 0.0
    assert followed.missing_for(103.0) == 3.0


def test_one_never_known_is_missing_since_its_registration() -> None:
    followed = begin(new(), 1, 100.0)
    assert followed.missing_for(104.0) == 4.0
    assert followed.missing_for(109.0) == 9.0


def test_one_known_before_is_missing_since_it_first_was_not_found() -> None:
    followed = begin(replace(new(), status=Status.PENDING), 1, 100.0)
    assert followed.missing_for(104.0) == 0.0
    assert followed.missing_for(109.0) == 5.0
    followed.answered(answer(REGISTERED), 110.0)
    assert followed.missing_for(112.0) == 0.0


def test_an_answer_that_overtakes_the_one_being_stored_is_the_later_one() -> None:
    followed = begin(new(), 1, 100.0)
    followed.mark_asked(replace(answer(REGISTERED), asked_at=7.0))
    followed.mark_asked(replace(answer(REGISTERED), asked_at=5.0))
    assert followed.generation.asked_at == 7.0
