"""Calls that are reserved in the store before they are made, so that a next process counts them, even after
a kill; and the plan that they were made on."""

import asyncio
from contextlib import suppress

from exporter.clock import MICROS, Clock
from exporter.domain.values import AccountName
from exporter.errors import StoreError
from exporter.polling.budget import WINDOW, Budget
from exporter.store import Store

PARTS = 10
"""Parts in which a minute's calls are reserved."""
RETURN_WITHIN = 2.0
"""Seconds that a stop waits for the unspent part of a reservation to be returned."""


class Reservation:
    """`left` is how many of the reserved calls were not made yet; `plan` the calls per minute that the API
    has last reported, to this process or to one before, None where it never has."""

    def __init__(self, account: AccountName, store: Store, clock: Clock) -> None:
        self.left = 0
        self.plan: int | None = None
        self._account = account
        self._store = store
        self._clock = clock

    async def load(self, budget: Budget, lasting_us: int) -> None:
        """Count the calls that an earlier process may have made in the last minute, each lasting `lasting_us`
        at most, and learn on which plan. Raises StoreError."""
        account, now_us, now = self._account, self._clock.now_us(), self._clock.monotonic()
        since_us = now_us - round(WINDOW * MICROS) - lasting_us
        self.plan, reserved = await self._store.write(
            lambda tx: (tx.calls.plan(account), tx.calls.reserved(account, since_us)), account
        )
        if not reserved:
            return
        # A reservation was spent before the next was made, by calls that lasted as long as they may; the last
        # one perhaps up to the moment that the process ended. One that lost the account may live on, and what
        # it sent still be under way.
        last_us = now_us + lasting_us if self._store.shared else now_us
        until = [min(now_us, at_us + lasting_us) for at_us, _ in reserved[1:]] + [last_us]
        for (_, calls), at_us in zip(reserved, until, strict=True):
            budget.spent_before(calls, now - (now_us - at_us) / MICROS)

    async def renew(self, budget: Budget, lasting_us: int) -> None:
        """Reserve some more calls. Raises StoreError."""
        account, at_us = self._account, self._clock.now_us()
        calls = max(1, budget.limit // PARTS)
        keep_us = at_us - round(2 * WINDOW * MICROS) - lasting_us
        await self._store.write(lambda tx: tx.calls.reserve(account, calls, at_us, keep_us), account)
        self.left = calls

    async def note_plan(self, calls_per_minute: int) -> None:
        """Let the next process know the plan that the API reports."""
        account = self._account
        if calls_per_minute != self.plan:
            # A plan that could not be kept is reported again.
            with suppress(StoreError):
                await self._store.write(lambda tx: tx.calls.note_plan(account, calls_per_minute), account)
                self.plan = calls_per_minute

    async def give_back(self) -> None:
        """Let the next process make the calls that were reserved and not made."""
        account, calls, self.left = self._account, self.left, 0
        if calls:
            # A store that cannot write must not hold up the stop.
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(RETURN_WITHIN):
                    await self._store.write(lambda tx: tx.calls.give_back(account, calls), account)
