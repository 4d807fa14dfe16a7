from hypothesis import given
from hypothesis import strategies as st

from exporter.clock import MICROS
from exporter.simulator.ratelimit import WINDOW_US, Caller, CallLog, RateLimit


def test_calls_within_the_plan_are_admitted_and_counted_down() -> None:
    limit = RateLimit()
    assert [limit.admit("key", 3, 0).remaining for _ in range(3)] == [2, 1, 0]


def test_the_call_beyond_the_plan_waits_for_the_next_window() -> None:
    limit = RateLimit()
    limit.admit("key", 1, 0)
    assert limit.admit("key", 1, 59 * MICROS + 1).retry_after_s == 1
    assert limit.admit("key", 1, 10 * MICROS).retry_after_s == 50
    assert limit.admit("key", 1, WINDOW_US).retry_after_s is None


def test_keys_are_limited_apart() -> None:
    limit = RateLimit()
    limit.admit("one", 1, 0)
    assert limit.admit("other", 1, 0).retry_after_s is None


def test_a_burst_across_two_windows_is_seen_by_the_log() -> None:
    log = CallLog()
    for at_us in (WINDOW_US - 2, WINDOW_US - 1, WINDOW_US, WINDOW_US + 1, 3 * WINDOW_US):
        log.add("studio", Caller.READ, at_us)
    assert log.max_calls_in_any_window("studio") == 4
    assert log.max_calls_in_any_window("studio", window_s=0.000_002) == 2
    assert log.max_calls_in_any_window("atelier") == 0


def test_reads_and_submits_are_logged_apart_and_can_be_taken_together() -> None:
    log = CallLog()
    log.add("studio", Caller.SUBMIT, 1)
    log.add("studio", Caller.READ, 2)
    log.add("studio", Caller.SUBMIT, 3)
    assert log.max_calls_in_any_window("studio", Caller.SUBMIT) == 2
    assert log.max_calls_in_any_window("studio", None) == 3
    assert log.arrivals_us("studio", Caller.READ) == [2]
    assert log.calls("studio", Caller.SUBMIT) == 2


@given(st.lists(st.integers(0, 300), max_size=50), st.integers(1, 100))
def test_the_fullest_window_is_found(arrivals: list[int], window_s: int) -> None:
    log = CallLog()
    for second in sorted(arrivals):
        log.add("studio", Caller.READ, second * MICROS)
    counted = [sum(first <= one < first + window_s for one in arrivals) for first in arrivals]
    assert log.max_calls_in_any_window("studio", window_s=window_s) == max(counted, default=0)
