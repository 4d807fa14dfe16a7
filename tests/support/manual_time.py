"""Time that stands still until a test moves it."""

import asyncio

from exporter.clock import MICROS, Clock

ORIGIN_US = 1_778_416_496 * MICROS


class ManualClock(Clock):
    """Wall and monotonic time agree, and begin at ORIGIN_US and zero."""

    def __init__(self) -> None:
        self.now = 0.0

    def now_us(self) -> int:
        return ORIGIN_US + round(self.now * MICROS)

    def monotonic(self) -> float:
        return self.now

    def to_real(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        raise NotImplementedError
