"""The allowance of the safety net behind webhooks: how often it may poll in vain.

A poll of the net is in vain where it finds a generation still in flight, whose delivery was not late at all:
the model is slower than was known, or a queue has grown. In any span of time there are at most `AT_MOST` such
polls, `EARNED` for each generation that was polled for the first time, and one each `EVERY` seconds; however
wrong expectations are, the net costs hardly more than the first polls do. One that finds an end is free.
"""

EARNED = 0.05
"""Polls that each generation adds to the allowance."""
AT_MOST = 4.0
"""Polls that can be saved up."""
EVERY = 300.0
"""Seconds in which one poll is added, so that the last generation of a day is not forgotten."""


class NetAllowance:
    """One account's allowance. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._polls = AT_MOST
        self._at: float | None = None

    @property
    def possible_at(self) -> float:
        """The earliest time at which a poll is allowed; minus infinity for one that is allowed at once."""
        if self._polls >= 1.0 or self._at is None:
            return float("-inf")
        return self._at + (1.0 - self._polls) * EVERY

    def earn(self) -> None:
        """Note the first poll of a generation."""
        self._polls = min(AT_MOST, self._polls + EARNED)

    def spend(self, now: float) -> None:
        """Note a poll of the net at `now`."""
        earned = 0.0 if self._at is None else max(0.0, now - self._at) / EVERY
        self._polls, self._at = min(AT_MOST, self._polls + earned) - 1.0, now

    def refund(self) -> None:
        """Note that a poll of the net has found an end."""
        self._polls = min(AT_MOST, self._polls + 1.0)
