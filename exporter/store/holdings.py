"""What this process owns of a state that others write too, as far as it knows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from exporter.domain.values import AccountName
from exporter.store.leases import LIFE, Lease, Leases

MARGIN = 1.0
"""Seconds before this replica's life ends from which on it calls the API no more."""


class Holdings:
    """The leases that this process works with. Used on the event loop, but for `fence`."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._held: dict[AccountName, Lease] = {}
        self._renewed_at = float("-inf")

    @property
    def held(self) -> Mapping[AccountName, Lease]:
        """The leases by account."""
        return self._held

    def renewed(self, at: float) -> None:
        """Note a renewal that was sent at `at`, as `clock.elapsed` has it."""
        self._renewed_at = at

    def is_current(self, account: AccountName, now: float) -> bool:
        """Whether no other replica can have taken the account by now."""
        return account in self._held and now < self._renewed_at + LIFE - MARGIN

    def add(self, account: AccountName, lease: Lease) -> None:
        """Work with a lease from now on."""
        self._held[account] = lease

    def remove(self, account: AccountName) -> None:
        """Work with it no longer."""
        self._held.pop(account, None)

    def of(self, accounts: Iterable[AccountName]) -> dict[AccountName, Lease]:
        """The leases of those accounts that have one here."""
        return {account: self._held[account] for account in accounts if account in self._held}

    def fence(self, connection: Connection, leases: Mapping[AccountName, Lease]) -> set[AccountName]:
        """Begin the writes for these accounts; see `Leases.fence`."""
        return self._leases.fence(connection, leases) if leases else set()

    def written(self, used: Mapping[AccountName, Lease], confirmed: set[AccountName]) -> set[AccountName]:
        """Note what a committed transaction has used. Returns the accounts that have been lost by it: others
        own them, or the state is not the one that this process knows."""
        for account in confirmed:
            if self._held.get(account) == used[account]:
                self._held[account] = replace(used[account], writes=used[account].writes + 1)
        lost = {account for account in used if account not in confirmed}
        for account in lost:
            if self._held.get(account) == used[account]:  # it may have been taken anew
                self.remove(account)
        return lost
