"""How an account stands with the API: whether it may be called now, and after how long otherwise.

Trouble is an account's, not a generation's: after a failure one call at a time goes out, each after a longer
pause, until one is answered. Times are seconds of a monotonic clock.
"""

import random

from exporter.errors import ApiError, ApiErrorKind

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds, for 5xx and everything unreachable: the vendor's table of errors."""
FIRST_LOCKOUT, LONGEST_LOCKOUT = 5.0, 300.0
"""Seconds, while the key does not work."""
RATE_LIMIT_PAUSE = 60.0
"""Seconds, on a 429 that does not say how long: every window of the limit is over by then."""

JITTER = 0.25


class Backoff:
    """`up` and `key_valid` are None until a call has told."""

    def __init__(self, rng: random.Random) -> None:
        self.up: bool | None = None
        self.key_valid: bool | None = None
        self._rng = rng
        self._failures = 0
        self._paused_until = float("-inf")
        self._paused_at = float("-inf")

    @property
    def locked_out(self) -> bool:
        """Whether the key does not work."""
        return self.key_valid is False

    @property
    def troubled(self) -> bool:
        """Whether only one call at a time should go out, to see if things are well again."""
        return self._failures > 0

    @property
    def paused_until(self) -> float:
        """No call before this."""
        return self._paused_until

    def answered(self) -> None:
        """A call was answered by the API, for this key; also if the answer was that an id is not known."""
        self.up = self.key_valid = True
        self._failures = 0

    def failed(self, error: ApiError, started: float, now: float) -> float:
        """A call that went out at `started` failed. Returns the pause that follows, in seconds."""
        if error.kind is ApiErrorKind.RATE_LIMITED:
            asked = RATE_LIMIT_PAUSE if error.retry_after is None else error.retry_after
            return self._pause(now, max(FIRST_PAUSE, asked))
        self.up = False
        first, longest = FIRST_PAUSE, LONGEST_PAUSE
        if error.kind is ApiErrorKind.LOCKED_OUT:
            if self.key_valid is not False:
                self._failures = 0
            self.key_valid = False
            first, longest = FIRST_LOCKOUT, LONGEST_LOCKOUT
        if self._failures and started < self._paused_at:
            # It was under way when the trouble began, and tells nothing new about it.
            return max(0.0, self._paused_until - now)
        pause = min(longest, first * 2.0**self._failures) * (1 + JITTER * self._rng.random())
        self._failures = min(self._failures + 1, 30)
        return self._pause(now, max(pause, error.retry_after or 0.0))

    def new_key(self, now: float) -> None:
        """The key was replaced: try it at once."""
        self._failures = min(self._failures, 1)
        self._paused_until = now

    def _pause(self, now: float, seconds: float) -> float:
        self._paused_at = now
        self._paused_until = max(self._paused_until, now + seconds)
        return seconds
