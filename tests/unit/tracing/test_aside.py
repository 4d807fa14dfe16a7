"""When refused spans are retried: each time later, from a minute to an hour."""

from itertools import pairwise

from exporter.clock import MICROS
from exporter.domain.values import AccountName, Drop, DropReason, Generation, GenerationId, Source
from exporter.store.reading import DueSpans
from exporter.tracing.aside import retry_at_us

ENDED_US = 1_800_000_000 * MICROS
MINUTE, HOUR = 60 * MICROS, 3_600 * MICROS


def refused(due_us: int) -> DueSpans:
    drop = Drop(DropReason.GAVE_UP, ENDED_US)
    one = Generation(AccountName("studio"), GenerationId("g"), Source.API, 0, created_us=0, drop=drop)
    return DueSpans(one, due_us)


def attempts(first_us: int, count: int) -> list[int]:
    """When spans are tried that are always refused, as soon as they may be."""
    times, due_us = [first_us], ENDED_US
    while len(times) < count:
        times.append(retry_at_us(refused(due_us), times[-1]))
        due_us = -times[-1]
    return times


def test_the_pauses_of_a_generation_that_has_just_ended_double_from_a_minute_to_an_hour() -> None:
    pauses = [later - earlier for earlier, later in pairwise(attempts(ENDED_US + 2 * MICROS, 12))]
    assert pauses[0] == MINUTE
    assert all(1 <= later / earlier <= 2.1 for earlier, later in pairwise(pauses))
    assert pauses[-2:] == [HOUR, HOUR]


def test_one_that_ended_long_ago_is_retried_after_a_minute_too_and_then_after_an_hour() -> None:
    first = ENDED_US + 100 * HOUR
    assert attempts(first, 4) == [first, first + MINUTE, first + MINUTE + HOUR, first + MINUTE + 2 * HOUR]


def test_an_end_that_lies_ahead_of_this_clock_is_retried_after_a_minute() -> None:
    assert retry_at_us(refused(-5), ENDED_US - HOUR) == ENDED_US - HOUR + MINUTE
