"""An event loop that begins in the past, skips the time in which nothing happens, and arrives in the present:
so a day can be lived in minutes, by everything that waits on the loop."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from exporter.clock import MICROS, SystemClock

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class SkippingLoop(asyncio.SelectorEventLoop):
    """Runs `behind` seconds after the machine's clock, and ever fewer, since it skips its waits for timers.

    Sockets of this process and work handed to an executor hold the time up: what they bring comes first.
    """

    def __init__(self, behind: float) -> None:
        self.behind = behind
        self.arrived = asyncio.Event()
        """Set once it is the present."""
        self._working = 0
        super().__init__(_Selector(self._may_skip, self._skip))

    def time(self) -> float:
        return super().time() - self.behind

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        work = super().run_in_executor(executor, func, *args)
        self._working += 1
        work.add_done_callback(self._worked)
        return work

    def _worked(self, _work: "asyncio.Future[Any]") -> None:
        self._working -= 1

    def _may_skip(self) -> bool:
        return self.behind > 0 and self._working == 0

    def _skip(self, seconds: float) -> None:
        self.behind = max(self.behind - seconds, 0.0)
        if self.behind == 0:
            self.arrived.set()


class _Selector(selectors.DefaultSelector):
    """Does not wait for a timer where `skip` may be called with what there is to wait."""

    def __init__(self, may_skip: Callable[[], bool], skip: Callable[[float], None]) -> None:
        super().__init__()
        self._may_skip, self._skip = may_skip, skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0 or not self._may_skip():
            return super().select(timeout)
        events = super().select(0)
        if not events:
            self._skip(timeout)
        return events


class SkippingClock(SystemClock):
    """The time of a loop that skips, on the wall too."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._loop = loop

    def now_us(self) -> int:
        return super().now_us() - round(self._loop.behind * MICROS)

    def monotonic(self) -> float:
        return self._loop.time()
