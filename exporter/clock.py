"""Time as a parameter: no rule reads the machine's clock.

Two readings are kept apart: wall time, comparable with the API's timestamps, and monotonic time, which
intervals are measured with because it never goes backwards.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

MICROS = 1_000_000

TOLERANCE_US = 250_000
"""What is taken for the time that a question to another clock was under way."""

_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999


def iso8601(at_us: int) -> str:
    """Return Unix microseconds as ISO 8601 in UTC with milliseconds; a time beyond the year 9999, or before
    the year 1, as the end of that."""
    seconds, micros = divmod(at_us, MICROS)
    within = min(max(seconds, _FIRST_SECOND), _LAST_SECOND)
    moment = datetime.fromtimestamp(within, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='seconds')}.{micros // 1_000:03d}Z"


def elapsed() -> float:
    """Real seconds from an arbitrary start, those included in which the machine was suspended: what others
    have seen pass, too."""
    return time.clock_gettime(_ELAPSED)


class Clock(Protocol):
    """Both readings, and waiting by them."""

    def now_us(self) -> int:
        """Wall time in Unix microseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going backwards."""
        ...

    def to_real(self, seconds: float) -> float:
        """How long `seconds` of this clock last on the event loop, in seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Return true once `event` is set, or false after `seconds` of this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    def to_real(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.to_real(seconds))

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            async with asyncio.timeout(self.to_real(seconds)):
                return await event.wait()
        except TimeoutError:
            return False


class AgreedClock:
    """A clock whose wall time is that of others, such as a database's, by how far they are ahead of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lead_us = 0
        self.to_real, self.sleep, self.wait = clock.to_real, clock.sleep, clock.wait
        self.monotonic = clock.monotonic

    def agree(self, lead_us: int) -> None:
        """Be this far ahead from now on, unless the difference is within what a measurement is off by."""
        if abs(lead_us - self._lead_us) > TOLERANCE_US:
            self._lead_us = lead_us

    def now_us(self) -> int:
        return self._clock.now_us() + self._lead_us


class ScaledClock(SystemClock):
    """Simulated time: it agrees with the machine's at `origin_us` and runs `speed` times as fast.

    Processes that are given the same speed and origin share one simulated time.
    """

    def __init__(self, speed: float, origin_us: int) -> None:
        self.speed = speed
        self.origin_us = origin_us

    def now_us(self) -> int:
        return self.origin_us + round((time.time_ns() // 1_000 - self.origin_us) * self.speed)

    def monotonic(self) -> float:
        return time.monotonic() * self.speed

    def to_real(self, seconds: float) -> float:
        return seconds / self.speed
