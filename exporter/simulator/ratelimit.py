"""Who called when, and whether the plan allowed it. Times are monotonic simulated microseconds."""

from array import array
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from exporter.clock import MICROS

WINDOW_US = 60 * MICROS


class Caller(StrEnum):
    """What kind of call it was: reads are the exporter's, submits the application's."""

    READ = "read"
    SUBMIT = "submit"


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call is within the limit; `retry_after_s` is None where it is, else whole seconds to wait."""

    remaining: int
    retry_after_s: int | None


class RateLimit:
    """Calls per key in fixed windows of 60 s; every request counts as one hit."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[int, int]] = {}

    def admit(self, key: str, calls_per_minute: int, at_us: int) -> Admission:
        """Count a call."""
        window, calls = at_us // WINDOW_US, 0
        if key in self._windows and self._windows[key][0] == window:
            calls = self._windows[key][1]
        self._windows[key] = (window, calls + 1)
        if calls < calls_per_minute:
            return Admission(calls_per_minute - calls - 1, None)
        left_us = (window + 1) * WINDOW_US - at_us
        return Admission(0, max(-(-left_us // MICROS), 1))


class CallLog:
    """Every call with a valid key: its arrival, and how many were refused with 429 and why."""

    def __init__(self) -> None:
        self.limited: Counter[tuple[str, Caller]] = Counter()
        """429 for calls beyond the plan, which the callers brought about, by (account, caller)."""
        self.spurious: Counter[tuple[str, Caller]] = Counter()
        """429 that a fault served, which nobody brought about, by (account, caller)."""
        self.locked_out: Counter[str] = Counter()
        """401 answers, whatever their cause, by account, or by "" where the key says nothing about it."""
        self._arrivals: dict[tuple[str, Caller], array[int]] = {}

    def add(self, account: str, caller: Caller, at_us: int) -> None:
        """Note an arrival; calls come in the order of their times."""
        self._arrivals.setdefault((account, caller), array("q")).append(at_us)

    def arrivals_us(self, account: str, caller: Caller) -> list[int]:
        """When calls of this kind arrived, in order."""
        return list(self._arrivals.get((account, caller), ()))

    def calls(self, account: str, caller: Caller) -> int:
        """How many calls of this kind there were."""
        return len(self._arrivals.get((account, caller), ()))

    def max_calls_in_any_window(
        self, account: str, caller: Caller | None = Caller.READ, window_s: float = 60
    ) -> int:
        """The most calls in any span of `window_s` seconds, wherever it begins; None is every caller."""
        callers = list(Caller) if caller is None else [caller]
        arrivals = sorted(at_us for one in callers for at_us in self.arrivals_us(account, one))
        span_us = round(window_s * MICROS)
        most = first = 0
        for last, at_us in enumerate(arrivals):
            while at_us - arrivals[first] >= span_us:
                first += 1
            most = max(most, last - first + 1)
        return most
