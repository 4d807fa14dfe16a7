"""Clocks that agree with another one."""

from exporter.clock import TOLERANCE_US, AgreedClock, SystemClock


class Standing(SystemClock):
    def now_us(self) -> int:
        return 1_000_000_000


def test_an_agreed_clock_is_ahead_by_what_was_agreed_and_does_not_follow_what_is_within_the_error() -> None:
    clock = AgreedClock(Standing())
    assert clock.now_us() == 1_000_000_000
    clock.agree(180_000_000)
    assert clock.now_us() == 1_180_000_000
    clock.agree(180_000_000 + TOLERANCE_US)
    assert clock.now_us() == 1_180_000_000
    clock.agree(0)
    assert clock.now_us() == 1_000_000_000
