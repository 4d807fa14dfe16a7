"""Simulated time that a test can hold still while it does something that must not take any."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from exporter.clock import MICROS, ScaledClock


class PausableClock(ScaledClock):
    """Runs `speed` times as fast as the machine's, from its time on, but for the pauses."""

    def __init__(self, speed: float) -> None:
        super().__init__(speed, time.time_ns() // 1_000)
        self._began = time.monotonic()
        self._paused_for = 0.0
        self._paused_at: float | None = None

    def _elapsed(self) -> float:
        now = time.monotonic() if self._paused_at is None else self._paused_at
        return (now - self._began - self._paused_for) * self.speed

    def now_us(self) -> int:
        return self.origin_us + round(self._elapsed() * MICROS)

    def monotonic(self) -> float:
        return self._elapsed()

    @contextmanager
    def still(self) -> Iterator[None]:
        """No time passes inside."""
        self._paused_at = time.monotonic()
        try:
            yield
        finally:
            self._paused_for += time.monotonic() - self._paused_at
            self._paused_at = None
