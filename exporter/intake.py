"""Ids that are registered over HTTP, and ends that webhooks report.

Both are stored before they are acknowledged: applied where this process owns the account, otherwise put into
the inbox of whoever does.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

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
from exporter.errors import NotOwnerError
from exporter.polling.webhook_trust import WebhookTrust
from exporter.store import Store, Transaction
from exporter.store.letters import Kind, Letter, end, registration
from exporter.store.reading import LoggedObservation
from exporter.store.transaction import Entered
from exporter.web.webhooks import Result, WebhookMeter

LETTERS = 500
"""Letters that are read from the inbox at once."""


class Intake:
    """The way in for ids and ends that do not come from configuration, files or polling."""

    def __init__(
        self,
        store: Store,
        accounts: Mapping[AccountName, FollowedAccount],
        webhook_secrets: Callable[[], Mapping[AccountName, RotatingSecrets]],
        clock: Clock,
        retention_us: Callable[[], int],
        meter: WebhookMeter,
        *,
        keeps_output_urls: bool,
    ) -> None:
        """`accounts` are those that are followed here, `webhook_secrets` those of all that are configured."""
        self._store = store
        self._accounts = accounts
        self._webhook_secrets = webhook_secrets
        self._clock = clock
        self._retention_us = retention_us
        self._meter = meter
        self._keeps_output_urls = keeps_output_urls
        self._trust_of_others: dict[AccountName, WebhookTrust] = {}

    async def register(self, registrations: Mapping[AccountName, Sequence[NewGeneration]]) -> Registered:
        """Follow these ids from now on, dropped ones again: all, or none where StoreError is raised."""
        owned = [account for account in registrations if self._owns(account)]
        try:
            new = await self._register(registrations, owned)
        except NotOwnerError:
            new = await self._register(registrations, [])
        asked = sum(len({item.id for item in items}) for items in registrations.values())
        return Registered(new, asked - new)

    async def _register(
        self, registrations: Mapping[AccountName, Sequence[NewGeneration]], owned: Sequence[AccountName]
    ) -> int:
        """Enter the ids of `owned` accounts, and let the owners of the others do so. Returns how many are
        new."""
        at_us = self._clock.now_us()

        def enter(tx: Transaction) -> tuple[dict[AccountName, Entered], int]:
            entered = {
                account: tx.discover(account, Source.API, registrations[account], at_us, listed=False)
                for account in owned
            }
            posted = 0
            for account in registrations.keys() - set(owned):
                posted += tx.count_new(account, registrations[account])
                tx.inbox.put(registration(account, registrations[account], at_us))
            return entered, posted

        entered, posted = await self._store.write(enter, *owned)
        for account, found in entered.items():
            self._follow(account, found)
        return posted + sum(len(found.new) for found in entered.values())

    def _follow(self, account: AccountName, entered: Entered) -> None:
        if account in self._accounts:  # a reload may have been faster
            poller = self._accounts[account].poller
            poller.follower.take(entered)
            poller.wake()

    def find(self, account: AccountName, id: GenerationId) -> Generation | None:
        """Return what memory holds of a generation that is followed."""
        followed = self._accounts.get(account)
        return None if followed is None else followed.poller.follower.find(id)

    def unanswered(self, account: AccountName, id: GenerationId) -> list[LoggedObservation]:
        """Return the lines about polls without a usable answer that memory has and the history lacks yet."""
        followed = self._accounts.get(account)
        return [] if followed is None else followed.poller.follower.unanswered(id)

    def webhook_secrets(self, account: AccountName) -> RotatingSecrets | None:
        """Return the secrets of an account's webhooks; None where it has none."""
        return self._webhook_secrets().get(account)

    def webhook_trust(self, account: AccountName) -> WebhookTrust:
        """Return what is known of how far an account's webhooks can be relied on."""
        followed = self._accounts.get(account)
        if followed is not None:
            return followed.poller.follower.webhook_trust
        return self._trust_of_others.setdefault(account, WebhookTrust(True))

    async def deliver(
        self, account: AccountName, id: GenerationId, observation: Observation
    ) -> Result | None:
        """Apply an end that a webhook reported; see `Follower.deliver`. None where the owner of the account
        will, and count the delivery. Raises StoreError."""
        if self._owns(account):
            try:
                return await self._deliver(account, id, observation)
            except NotOwnerError:
                pass
        if not self._keeps_output_urls:
            observation = replace(observation, output_urls=())
        letter = end(account, id, observation)
        await self._store.write(lambda tx: tx.inbox.put(letter))
        return None

    async def _deliver(
        self,
        account: AccountName,
        id: GenerationId,
        observation: Observation,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> Result:
        follower = self._followed(account).poller.follower
        return _result(await follower.deliver(id, observation, self._retention_us(), also))

    def _followed(self, account: AccountName) -> FollowedAccount:
        """Raises NotOwnerError where the account is not followed here any more."""
        followed = self._accounts.get(account)
        if followed is None:
            raise NotOwnerError
        return followed

    def _owns(self, account: AccountName) -> bool:
        return account in self._accounts and self._store.owns(account)

    async def collect(self, account: AccountName) -> None:
        """Apply what waits in the inbox of an account that is followed here, until nothing does. What cannot
        be applied now stays there."""
        while self._owns(account):
            letters = await self._store.read(lambda reading: reading.letters(account, LETTERS))
            # They enter one transaction in their order.
            applied = [asyncio.ensure_future(self._apply(letter)) for letter in letters]
            outcomes = await asyncio.gather(*applied, return_exceptions=True)
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if errors:
                raise errors[0]
            if len(letters) < LETTERS:
                return

    async def _apply(self, letter: Letter) -> None:
        account = letter.account
        self._followed(account)
        match letter.kind:
            case Kind.REGISTRATION:
                new = letter.registration()

                def enter(tx: Transaction) -> Entered:
                    tx.inbox.remove(letter)
                    return tx.discover(account, Source.API, new, letter.at_us, listed=False)

                self._follow(account, await self._store.write(enter, account))
            case Kind.END:
                id, observation = letter.end()
                result = await self._deliver(account, id, observation, lambda tx: tx.inbox.remove(letter))
                self._meter.webhook_delivery(account, result.value)


def _result(after: Transition | None) -> Result:
    if after is None:
        return Result.STALE
    return Result.ACCEPTED if after.facts else Result.REPEAT
