"""Whether an account's webhooks can be relied on, so that polling may be left to a safety net.

They are, until several ends in a row are found by polling alone: then something is wrong with them, and
waiting for the net would make everything late. The next delivery restores the trust. Deliveries whose
signature is wrong change nothing about it, whoever sends them; they are counted, since a wrong secret makes
all of them so.
"""

PATIENCE = 10.0
"""Seconds after an end that a delivery may take before a poll that finds the end counts as missed. Deliveries
typically take 200 ms (the API's page on webhooks); the status endpoint's times are whole seconds."""
MISSES = 3
"""Ends in a row, found by polling alone, after which webhooks are no longer relied on."""
HINT = "the configured webhook secret against the endpoint's on the vendor's dashboard"
"""What to do where deliveries are refused for their signature."""
QUIET = 600.0
"""Seconds between two times that refused deliveries are worth a line, so that forgers cannot fill the log."""


class WebhookTrust:
    """One account's trust. `configured` is whether it has webhooks at all; a reload may change it. Times are
    seconds of a monotonic clock."""

    def __init__(self, configured: bool) -> None:
        self.configured = configured
        self.refusals = 0
        """Deliveries refused for their signature since the last genuine one."""
        self._misses = 0
        self._logged = False
        self._quiet_until = float("-inf")

    @property
    def relied_on(self) -> bool:
        """Whether ends are expected to be reported by webhooks."""
        return self.configured and self._misses < MISSES

    def refused(self, now: float) -> bool:
        """Count a delivery whose signature is wrong. Returns whether to log that such have begun."""
        self.refusals += 1
        if self._logged or now < self._quiet_until:
            return False
        self._logged, self._quiet_until = True, now + QUIET
        return True

    def genuine(self) -> int | None:
        """Note a delivery with a valid signature. Returns how many were refused before it, None where that
        they had begun was not logged."""
        refusals, logged = self.refusals, self._logged
        self.refusals, self._logged = 0, False
        return refusals if logged else None

    def delivered(self) -> None:
        """Note that a delivery has reported an end."""
        self._misses = 0

    def missed(self) -> bool:
        """Note an end found by polling although its delivery had had its time. Returns whether that ends the
        trust."""
        relied_on = self.relied_on
        self._misses += 1
        return relied_on and not self.relied_on
