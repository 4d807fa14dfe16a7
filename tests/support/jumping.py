"""Simulated time whose wall clock can be set, as an administrator or NTP does; intervals do not notice."""

from exporter.clock import MICROS, ScaledClock, SystemClock


class JumpingClock(ScaledClock):
    """Runs `speed` times as fast as the machine's."""

    def __init__(self, speed: float) -> None:
        super().__init__(speed, SystemClock().now_us())
        self._ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back where `seconds` is negative."""
        self._ahead_us += round(seconds * MICROS)
