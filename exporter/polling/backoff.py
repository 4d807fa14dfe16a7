"""How an account stands with the API: whether it may be called at present, and after how long otherwise.

While the API or the key is in trouble, one call at a time goes out, each after a longer pause, until one is
answered. Times are seconds of a monotonic clock.
"""

import random

from exporter.polling.witnesses import Owner

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds, for 5xx and everything unreachable: the vendor's table of errors."""
FIRST_LOCKOUT, LONGEST_LOCKOUT = 5.0, 300.0
"""Seconds, while the key does not work."""
LONGEST_ASKED = 60.0
"""Seconds waited at the API's wish while it is in trouble: the vendor's, for PROVIDER_DOWN. A longer wish may
be that of a few ids alone."""
RATE_LIMIT_PAUSE = 60.0
"""Seconds, on a 429 that does not say how long: every window of the limit is over by then."""
CERTAIN = 3
"""Calls in a row that fail, each after its pause, before an API that never answered these ids is `down`."""

JITTER = 0.25


class Backoff:
    """`up` and `key_valid` are None until a call has decided them."""

    def __init__(self, rng: random.Random) -> None:
        self.up: bool | None = None
        self.key_valid: bool | None = None
        self._rng = rng
        self._failures = 0
        self._lockouts = 0
        self._limited = 0
        self._paused_until = float("-inf")
        self._paused_at = float("-inf")

    @property
    def locked_out(self) -> bool:
        """Whether the key does not work."""
        return self.key_valid is False

    @property
    def troubled(self) -> bool:
        """Whether only one call at a time should go out, to find out whether the API answers again."""
        return self._failures > 0 or self._lockouts > 0 or self._limited > 0

    @property
    def paused_until(self) -> float:
        """No call before this."""
        return self._paused_until

    def answered(self) -> None:
        """Note an answer with this key; also one by which the API refuses an id."""
        self.up = self.key_valid = True
        self._failures = self._lockouts = self._limited = 0

    def unlocked(self) -> None:
        """Note an answer that is not a lock-out, though not one to a valid key either."""
        if self.locked_out:
            self.key_valid = None

    def failed(
        self,
        owner: Owner,
        started: float,
        now: float,
        retry_after: float | None = None,
        *,
        certain: bool = True,
    ) -> float:
        """Note the failure of a call that went out at `started`, if its id or endpoint is not to blame.

        Returns the pause that follows, in seconds. Unless `certain`, the API counts as down only once some
        more calls have failed, and is not waited for as long as it asks.
        """
        if owner is Owner.BUDGET:
            self._failures = 0
            if self._limited and started < self._paused_at:
                return max(0.0, self._paused_until - now)
            # A wait that was too short, or none at all, is not what the API meant.
            pause = self._lengthened(FIRST_PAUSE, RATE_LIMIT_PAUSE, self._limited)
            self._limited += 1
            return self._pause(now, max(pause, RATE_LIMIT_PAUSE if retry_after is None else retry_after))
        under_way = self.troubled and started < self._paused_at
        if owner is Owner.KEY:
            self.up = self.key_valid = False
            if under_way and self._lockouts:
                return max(0.0, self._paused_until - now)
            pause = self._lengthened(FIRST_LOCKOUT, LONGEST_LOCKOUT, self._lockouts)
            self._lockouts += 1
        else:
            if certain or self._failures >= CERTAIN:
                self.up = False
            if under_way and self._failures:
                # It was sent before the trouble began, and is no news of how long that lasts.
                return max(0.0, self._paused_until - now)
            pause = self._lengthened(FIRST_PAUSE, LONGEST_PAUSE, self._failures)
            self._failures += 1
            if not certain:
                # It may be trouble of these ids alone, which others need not wait for.
                retry_after = None
        return self._pause(now, max(pause, min(retry_after or 0.0, LONGEST_ASKED)))

    def new_key(self, now: float) -> None:
        """Allow a call at once, since the key was replaced."""
        self._failures, self._lockouts = min(self._failures, 1), min(self._lockouts, 1)
        self._paused_until = now

    def _lengthened(self, first: float, longest: float, times: int) -> float:
        return min(longest, first * 2.0 ** min(times, 30)) * (1 + JITTER * self._rng.random())

    def _pause(self, now: float, seconds: float) -> float:
        self._paused_at = now
        self._paused_until = max(self._paused_until, now + seconds)
        return seconds
