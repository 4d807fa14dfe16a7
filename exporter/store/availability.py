"""Whether the state can be written, for everyone who depends on that; the one place that logs it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from exporter.clock import Clock
from exporter.errors import StoreError

TRY_EVERY = 3.0
"""Seconds between two attempts to write while that fails."""
LONGEST_PAUSE = 20.0
"""Seconds between them where the state comes and goes: twice as long each time, up to this."""
RELAPSE = 60.0
"""Seconds within which another outage continues the last one."""

_log = structlog.get_logger("exporter.store")


class StoreMeter(Protocol):
    """Counts writes, and those that failed."""

    def store_write(self, seconds: float) -> None: ...
    def store_error(self) -> None: ...


@dataclass(slots=True)
class _Outage:
    """`causes` are those that were logged."""

    since: float
    cause: StoreError
    causes: set[str] = field(default_factory=set)
    failed: int = 0


class Availability:
    """Availability of the state for writing, as shown by the writes themselves."""

    def __init__(
        self, clock: Clock, meter: StoreMeter, action: Callable[[str], str], *, jitter: bool = False
    ) -> None:
        """`action` says what to do about a cause; with `jitter`, pauses differ from those of others."""
        self._action = action
        self._jitter = jitter
        self.writable = asyncio.Event()
        """Set while the state can be written, as far as is known."""
        self.writable.set()
        self._clock = clock
        self._meter = meter
        self._outage: _Outage | None = None
        self._ended = float("-inf")
        self._relapses = 0

    @property
    def pause(self) -> float:
        """Seconds to wait before the next attempt during an outage."""
        pause = min(LONGEST_PAUSE, TRY_EVERY * 2.0 ** min(self._relapses, 10))
        return pause * random.uniform(0.5, 1.0) if self._jitter else pause

    def check(self) -> None:
        """Raise StoreError during an outage; whoever asks counts as a write that failed."""
        if self._outage is not None:
            self._count(self._outage)
            raise StoreError(str(self._outage.cause)) from self._outage.cause

    def failed(self, cause: StoreError, writes: int = 1) -> None:
        """Note that so many writes failed for a reason that every other one would meet as well."""
        outage = self._outage or self._begin(cause)
        outage.cause = cause
        self._count(outage, writes)
        text = str(cause)
        if text not in outage.causes:
            also = {"after_seconds": self._lasted(outage)} if outage.causes else {}
            outage.causes.add(text)
            _log.error(
                "the state cannot be written; no calls are made until it can",
                error=text,
                action=self._action(text),
                **also,
            )

    def succeeded(self) -> None:
        """Note that a write was committed."""
        outage = self._outage
        if outage is None:
            return
        self._outage, self._ended = None, self._clock.monotonic()
        self.writable.set()
        _log.info("the state can be written again", seconds=self._lasted(outage), writes_failed=outage.failed)

    def _begin(self, cause: StoreError) -> _Outage:
        now = self._clock.monotonic()
        self._relapses = self._relapses + 1 if now - self._ended < RELAPSE else 0
        self._outage = _Outage(now, cause)
        self.writable.clear()
        return self._outage

    def _count(self, outage: _Outage, writes: int = 1) -> None:
        outage.failed += writes
        for _ in range(writes):
            self._meter.store_error()

    def _lasted(self, outage: _Outage) -> float:
        return round(self._clock.monotonic() - outage.since, 1)
