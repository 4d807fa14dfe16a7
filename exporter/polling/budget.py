"""An account's allowance of calls: a hard one, evenly spent, and smaller while its applications need theirs.

What is promised to applications:
- Never more than the limit (`share` of the plan) is called in any 60 s window as the server counts, whatever
  the latency. So an application that needs no more than the rest of the plan is never refused because of the
  exporter, however windows fall and however slow anything is.
- One that needs more is given way as far as answers report it in time: below AMPLE of the plan's calls left,
  the exporter calls less the fewer are left, below SCARCE only as often as it takes to notice a new window.
  Where half the plan is its share, an application that spreads its calls can so have five eighths. How much
  of a burst is served depends on what was left before it: that is not promised.

A call holds a slot from when it is sent until 60 s after its answer came, and is sent only while fewer
slots are held than the limit has. Proof that this keeps the first promise: let a window (w, w+60] of
arrivals hold limit+1 calls, and call j be the last of them to be sent. Each other one i arrived after w, so
it was answered after w; j was sent at most at w+60; so at that moment i still held its slot, and j found
limit slots held, and was not sent.

Times are seconds of a monotonic clock.
"""

import math
from collections import deque

WINDOW = 60.0
"""Seconds of the API's rate limit (plans are in calls per minute)."""
AMPLE, SCARCE = 0.4, 0.1
"""Shares of the plan's calls left, below which the exporter calls less, and hardly at all."""
PROBES = 6.0
"""Calls per minute while few are left, of which each reports how many."""
BURST = 1 / 6
"""Share of a minute's calls that may go out at once after a quiet time."""


class Slot:
    """The right to make one call. Exactly one of `release` and `cancel` must be called."""

    __slots__ = ("_budget", "_done")

    def __init__(self, budget: "Budget") -> None:
        self._budget = budget
        self._done = False

    def release(self, now: float) -> None:
        """Note that the call was answered, or failed, at `now`."""
        self._settle()
        self._budget._answered(now)

    def cancel(self) -> None:
        """Note that the call was never sent."""
        self._settle()
        self._budget._unsent()

    def _settle(self) -> None:
        if self._done:
            raise RuntimeError("a slot was given back twice")
        self._done = True


class Budget:
    """`calls_per_minute` is the plan's, `share` the part of it that the exporter may use."""

    def __init__(self, calls_per_minute: int, share: float) -> None:
        self._answered_at: deque[float] = deque()
        self._out = 0
        self._tokens = 1.0
        self._tokens_at: float | None = None
        self._remaining: int | None = None
        self._remaining_at = float("-inf")
        self.set_plan(calls_per_minute, share)

    def set_plan(self, calls_per_minute: int, share: float, reported: int | None = None) -> None:
        """Change the allowance; calls made already count against it. It is at least one call a minute.

        `reported` is the API's own plan, where that is known: what the API reports as left is left of that.
        """
        self._plan = calls_per_minute if reported is None else min(calls_per_minute, reported)
        # 100 * 0.29 is 28.999… and means 29.
        self.limit = max(1, math.floor(calls_per_minute * share + 1e-9))

    def spent_before(self, calls: int, at: float) -> None:
        """Count calls that an earlier process may have made, up to the moment `at`, in order of time."""
        self._answered_at.extend([at] * calls)

    def observe_remaining(self, remaining: int, now: float) -> None:
        """Note how many of the plan's calls in this minute are left for everyone, as the API reports."""
        self._remaining, self._remaining_at = remaining, now

    def rate(self, now: float) -> float:
        """Return the calls per minute that may be spent at present."""
        if self._remaining is None or now - self._remaining_at >= WINDOW:
            return float(self.limit)
        if self._remaining <= 0:
            return 0.0
        ample = (self._remaining / self._plan - SCARCE) / (AMPLE - SCARCE)
        return max(min(PROBES, self.limit), self.limit * min(1.0, ample))

    def try_take(self, now: float) -> Slot | None:
        """Return a slot for a call to be sent at once, or None where none may be sent now."""
        self._refill(now)
        if self._tokens < 1.0 or self._held(now) >= self.limit or self.rate(now) <= 0:
            return None
        self._tokens -= 1.0
        self._out += 1
        if self._remaining is not None:
            self._remaining -= 1
        return Slot(self)

    def next_possible(self, now: float) -> float:
        """Return when to ask again: `now` if a slot is free, and never later than one can be."""
        self._refill(now)
        at = now
        rate = self.rate(now)
        renewed = max(now, self._remaining_at + WINDOW)
        if rate <= 0:
            at = renewed
        elif self._tokens < 1.0:
            at = now + (1.0 - self._tokens) * WINDOW / rate
            if rate < self.limit:
                at = min(at, renewed)
        if self._held(now) >= self.limit:
            # With every slot out on calls under way, it depends on when the next answer comes.
            at = max(at, self._answered_at[0] + WINDOW if self._answered_at else now + 1.0)
        return at

    def _refill(self, now: float) -> None:
        if self._tokens_at is not None and now > self._tokens_at:
            self._tokens += (now - self._tokens_at) * self.rate(now) / WINDOW
        self._tokens_at = now if self._tokens_at is None else max(now, self._tokens_at)
        self._tokens = min(self._tokens, max(1.0, self.rate(now) * BURST))

    def _held(self, now: float) -> int:
        while self._answered_at and self._answered_at[0] + WINDOW < now:
            self._answered_at.popleft()
        return self._out + len(self._answered_at)

    def _answered(self, now: float) -> None:
        self._out -= 1
        self._answered_at.append(now)

    def _unsent(self) -> None:
        self._out -= 1
        self._tokens += 1.0
        if self._remaining is not None:
            self._remaining += 1
