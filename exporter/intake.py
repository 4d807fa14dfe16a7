"""Ids that are registered over HTTP, and ends that webhooks report. Both are stored before they are
acknowledged."""

from collections.abc import Callable, Mapping, Sequence

from exporter.account import FollowedAccount
from exporter.clock import Clock
from exporter.config import RotatingSecrets
from exporter.domain.values import (
    AccountName,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Registered,
    Source,
    Transition,
)
from exporter.polling.webhook_trust import WebhookTrust
from exporter.store import Store, Transaction
from exporter.store.transaction import Entered


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
        """Follow these ids from now on, dropped ones again: all, or none where StoreError is raised."""
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

    def find(self, account: AccountName, id: GenerationId) -> Generation | None:
        """Return what memory holds of a generation that is followed."""
        followed = self._accounts.get(account)
        return None if followed is None else followed.poller.follower.find(id)

    def webhook_secrets(self, account: AccountName) -> RotatingSecrets | None:
        """Return the secrets of an account's webhooks; None where it has none."""
        followed = self._accounts.get(account)
        return None if followed is None else followed.webhook_secrets

    def webhook_trust(self, account: AccountName) -> WebhookTrust:
        """Return whether an account's webhooks are relied on. Raises KeyError where it is not followed."""
        return self._accounts[account].poller.follower.webhook_trust

    async def deliver(
        self, account: AccountName, id: GenerationId, observation: Observation
    ) -> Transition | None:
        """Apply an end that a webhook reported; see `Follower.deliver`. Raises StoreError."""
        follower = self._accounts[account].poller.follower
        return await follower.deliver(id, observation, self._retention_us())
