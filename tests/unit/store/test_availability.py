"""An outage of the state is logged when it begins, when its cause changes, and when it ends."""

import pytest
from structlog.testing import capture_logs

from exporter.clock import SystemClock
from exporter.errors import StoreError
from exporter.store.availability import LONGEST_PAUSE, RELAPSE, TRY_EVERY, Availability
from exporter.store.sqlite import action_for

FULL, IO = StoreError("state.db: database or disk is full"), StoreError("state.db: disk I/O error")


class SetClock(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Meter:
    errors = 0

    def store_write(self, seconds: float) -> None:
        raise AssertionError

    def store_error(self) -> None:
        self.errors += 1


def test_an_outage_has_two_lines_and_every_failed_write_is_counted() -> None:
    clock, meter = SetClock(), Meter()
    state = Availability(clock, meter, action_for)
    with capture_logs() as logs:
        state.succeeded()
        state.failed(FULL, 40)
        assert not state.writable.is_set()
        for _ in range(100):
            with pytest.raises(StoreError, match="disk is full"):
                state.check()
        clock.seconds = 12.34
        state.failed(FULL)
        state.succeeded()
        state.check()
    assert state.writable.is_set()
    assert meter.errors == 141
    lost, regained = logs
    assert (lost["log_level"], lost["error"]) == ("error", str(FULL))
    assert "free some space" in lost["action"]
    assert (regained["log_level"], regained["seconds"], regained["writes_failed"]) == ("info", 12.3, 141)


def test_each_cause_of_an_outage_is_logged_once() -> None:
    state = Availability(SetClock(), Meter(), action_for)
    with capture_logs() as logs:
        for _ in range(50):
            state.failed(IO)
            state.failed(FULL)
    assert [line["error"] for line in logs] == [str(IO), str(FULL)]


def test_a_state_that_comes_and_goes_is_tried_less_and_less_often() -> None:
    clock = SetClock()
    state = Availability(clock, Meter(), action_for)
    pauses = []
    for _ in range(5):
        state.failed(FULL)
        pauses.append(state.pause)
        clock.seconds += state.pause
        state.succeeded()
    assert pauses == [TRY_EVERY, 2 * TRY_EVERY, 4 * TRY_EVERY, LONGEST_PAUSE, LONGEST_PAUSE]
    clock.seconds += RELAPSE
    state.failed(FULL)
    assert state.pause == TRY_EVERY
