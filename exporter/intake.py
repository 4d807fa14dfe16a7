"""What others hand over: ids to follow, and ends that are pushed. Both are stored before this says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.account import FollowedAccount
from exporter.clock import Clock
from exporter.domain.values import AccountName, GenerationId, NewGeneration, Observation, Source, Transition
from exporter.store import Store, Transaction
from exporter.store.transaction import Entered


@dataclass(frozen=True, slots=True)
class Registered:
    """How many of the ids that were handed over were new, and how many had been handed over before."""

    new: int
    known: int


class Intake:
    """The way in for ids and ends that do not come from configuration, files or polling."""

    def __init__(
        self,
        store: Store,
        accounts: Mapping[AccountName, FollowedAccount],
        clock: Clock,
        retention_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._retention_us = retention_us

    async def register(self, registrations: Mapping[AccountName, Sequence[NewGeneration]]) -> Registered:
        """Follow these ids from now on: all, or none where StoreError is raised."""
        at_us = self._clock.now_us()

        def discover(tx: Transaction) -> dict[AccountName, Entered]:
            return {
                account: tx.discover(account, Source.API, new, at_us, listed=False)
                for account, new in registrations.items()
            }

        entered = await self._store.write(discover)
        for account, found in entered.items():
            if account in self._accounts:  # a reload may have been faster
                poller = self._accounts[account].poller
                poller.follower.take(found)
                poller.wake()
        new = sum(len(found.new) for found in entered.values())
        asked = sum(len({item.id for item in items}) for items in registrations.values())
        return Registered(new, asked - new)

    async def deliver(
        self, account: FollowedAccount, id: GenerationId, observation: Observation
    ) -> Transition | None:
        """Take in an end; see `Follower.deliver`. Raises StoreError."""
        return await account.poller.follower.deliver(id, observation, self._retention_us())
