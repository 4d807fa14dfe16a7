"""Rate limit and log of calls. Times are monotonic simulated microseconds."""

from array import array
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from exporter.clock import MICROS

WINDOW_US = 60 * MICROS


class Caller(StrEnum):
    """Kind of call: reads are the exporter's, submits the application's."""

    READ = "read"
    SUBMIT = "submit"


@dataclass(frozen=True, slots=True)
class Admission:
    """Outcome of a call; `retry_after_s` is None within the limit, else whole seconds to wait."""

    remaining: int
    retry_after_s: int | None


class RateLimit:
    """Calls per key in fixed windows of 60 s; every request counts as one hit."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[int, int]] = {}

    def admit(self, key: str, calls_per_minute: int, at_us: int) -> Admission:
        """Count a call, and return whether it is within the limit."""
        window, calls = at_us // WINDOW_US, 0
        if key in self._windows and self._windows[key][0] == window:
            calls = self._windows[key][1]
        self._windows[key] = (window, calls + 1)
        if calls < calls_per_minute:
            return Admission(calls_per_minute - calls - 1, None)
        left_us = (window + 1) * WINDOW_US - at_us
        return Admission(0, max(-(-left_us // MICROS), 1))


class CallLog:
    """Log of calls with a valid key, and of refusals by reason."""

    def __init__(self) -> None:
        self.limited: Counter[tuple[str, Caller]] = Counter()
        """429 for calls beyond the plan, by (account, caller)."""
        self.spurious: Counter[tuple[str, Caller]] = Counter()
        """429 served by a fault, by (account, caller)."""
        self.locked_out: Counter[str] = Counter()
        """401 answers by account, or by "" where the key belongs to none."""
        self._arrivals: dict[tuple[str, Caller], array[int]] = {}

    def add(self, account: str, caller: Caller, at_us: int) -> None:
        """Add an arrival; calls are added in the order of their times."""
        self._arrivals.setdefault((account, caller), array("q")).append(at_us)

    def arrivals_us(self, account: str, caller: Caller) -> list[int]:
        """Return the arrivals of calls of this kind, in order."""
        return list(self._arrivals.get((account, caller), ()))

    def calls(self, account: str, caller: Caller) -> int:
        """Return the number of calls of this kind."""
        return len(self._arrivals.get((account, caller), ()))

    def max_calls_in_any_window(
        self, account: str, caller: Caller | None = Caller.READ, window_s: float = 60
    ) -> int:
        """Return the maximum number of calls in any span of `window_s` seconds; None is every caller."""
        callers = list(Caller) if caller is None else [caller]
        arrivals = sorted(at_us for one in callers for at_us in self.arrivals_us(account, one))
        span_us = round(window_s * MICROS)
        most = first = 0
        for last, at_us in enumerate(arrivals):
            while at_us - arrivals[first] >= span_us:
                first += 1
            most = max(most, last - first + 1)
        return most
