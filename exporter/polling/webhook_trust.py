"""Whether an account's webhooks can be relied on, so that polling may be left to a safety net.

They are, until ends are found by polling alone several times in a row: then something is wrong with them, and
waiting for the net would make everything late. The next delivery restores the trust.
"""

from exporter.clock import MICROS

PATIENCE_US = 10 * MICROS
"""How long after an end a delivery may take before a poll that finds the end counts it as missed. Deliveries
typically take 200 ms (the API's page on webhooks); the status endpoint's times are whole seconds."""
MISSES = 3
"""Ends in a row, found by polling alone, after which webhooks are no longer relied on."""


class WebhookTrust:
    """One account's. `configured` says whether it has webhooks at all; it may change with a reload."""

    def __init__(self, configured: bool) -> None:
        self.configured = configured
        self._misses = 0

    @property
    def relied_on(self) -> bool:
        """Whether ends are expected to be pushed."""
        return self.configured and self._misses < MISSES

    def delivered(self) -> None:
        """A genuine delivery arrived."""
        self._misses = 0

    def missed(self) -> None:
        """An end was found by polling although its delivery had had its time."""
        self._misses += 1
