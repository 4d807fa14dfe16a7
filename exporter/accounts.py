"""The accounts that are followed: how each is built from the configuration; how they come, change and go."""

import asyncio
import random
from dataclasses import dataclass

from exporter.account import FollowedAccount
from exporter.clock import MICROS, Clock, SystemClock
from exporter.config import Account, Config, RotatingSecrets
from exporter.config.reload import AccountChanges, account_changes
from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName
from exporter.errors import ConfigError, StoreError
from exporter.heartbeat import Heartbeat
from exporter.metrics.instruments import Instruments
from exporter.polling.account_info import AccountInfo
from exporter.polling.backoff import Backoff
from exporter.polling.budget import Budget
from exporter.polling.cadence import Cadence
from exporter.polling.follower import Follower
from exporter.polling.poller import ASSUMED_CALLS_PER_MINUTE, Poller, Terms
from exporter.polling.webhook_trust import WebhookTrust
from exporter.sources.idfiles import IdFiles
from exporter.sources.listing import Sources
from exporter.store import Store
from exporter.vivix.client import Client
from exporter.web.webhooks import Result

_TERMS = ("api_key", "api_key_env", "api_key_file", "base_url", "rate_limit_share", "calls_per_minute")
"""Keys of an account that say how it is called."""


@dataclass(slots=True)
class _Tasks:
    """What runs for one account."""

    polling: asyncio.Task[None]
    listing: asyncio.Task[None]


class Accounts:
    """`followed` holds those that are followed at present; others may read it, and see it change."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        instruments: Instruments,
        clock: Clock,
        heartbeat: Heartbeat,
        version: str,
    ) -> None:
        self.followed: dict[AccountName, FollowedAccount] = {}
        self._store = store
        self._ledger = ledger
        self._instruments = instruments
        self._clock = clock
        self._heartbeat = heartbeat
        self._version = version
        self._tasks: dict[AccountName, _Tasks] = {}
        self._removing: dict[AccountName, asyncio.Task[None]] = {}

    async def start(self, account: Account, config: Config, loops: asyncio.TaskGroup) -> None:
        """Follow one more account; returns once what is listed is taken up. Raises StoreError."""
        await self._begin(await self._prepare(account, config), loops)

    async def change(self, former: Config, config: Config, loops: asyncio.TaskGroup) -> AccountChanges:
        """Go over from one configuration to another: wholly, or not at all where ConfigError is raised. What
        accounts that stay follow is not disturbed."""
        changes = account_changes(former, config)
        try:
            added = [await self._prepare(account, config) for account in changes.added]
        except StoreError as error:
            raise ConfigError(f"the state cannot be read: {error}") from error
        for name in changes.removed:
            self._removing[name] = loops.create_task(self._remove(name))
        for account in changes.kept:
            await self._apply(account, former, config, loops)
        for one in added:
            await self._begin(one, loops)
        return changes

    async def _prepare(self, account: Account, config: Config) -> FollowedAccount:
        """Build an account's parts, and load what the store holds for it. Raises StoreError."""
        name = AccountName(account.name)
        leaving = self._removing.pop(name, None)
        if leaving is not None:
            await leaving
        poller = self._poller(account, config)
        self._ledger.load(
            name, *await self._store.write(lambda tx: (list(tx.totals(name)), list(tx.admissions(name))))
        )
        await poller.follower.load()
        await poller.load()
        sources = self._sources(account, config, poller)
        return FollowedAccount(account, poller, sources, self._webhook_secrets(account, config))

    async def _begin(self, account: FollowedAccount, loops: asyncio.TaskGroup) -> None:
        """Take up what is listed, and begin to call."""
        name = account.poller.account
        listing = loops.create_task(account.sources.run())
        await account.sources.applied.wait()
        self.followed[name] = account
        self._tasks[name] = _Tasks(loops.create_task(account.poller.run()), listing)

    async def _remove(self, name: AccountName) -> None:
        """Follow an account no longer; its totals stay in the store."""
        account, tasks = self.followed.pop(name), self._tasks.pop(name)
        tasks.listing.cancel()
        account.poller.drain()
        await tasks.polling
        self._instruments.forget(name)

    async def _apply(self, new: Account, former: Config, config: Config, loops: asyncio.TaskGroup) -> None:
        """Let an account that stays be followed as the new configuration says."""
        account = self.followed[AccountName(new.name)]
        old, account.config = account.config, new
        poller, follower = account.poller, account.poller.follower
        changed = {key for key in _TERMS if getattr(old, key) != getattr(new, key)}
        if changed or former.polling != config.polling:
            follower.cadence.aim(*_aims(config))
            other_api = "base_url" in changed
            await poller.change(_terms(new, config), self._client(new, config), other_api=other_api)
        account.webhook_secrets = self._webhook_secrets(new, config)
        was_relied_on = follower.webhook_trust.relied_on
        follower.webhook_trust.configured = account.webhook_secrets is not None
        if was_relied_on and not follower.webhook_trust.relied_on:
            follower.poll_all()
            poller.wake()
        if (old.generations, old.generation_files) != (new.generations, new.generation_files):
            tasks = self._tasks[poller.account]
            tasks.listing.cancel()
            account.sources = self._sources(new, config, poller)
            tasks.listing = loops.create_task(account.sources.run())
            await account.sources.applied.wait()

    def _poller(self, account: Account, config: Config) -> Poller:
        follower = Follower(
            AccountName(account.name),
            self._store,
            Cadence(*_aims(config), config.metrics.max_models),
            self._clock,
            self._instruments,
            WebhookTrust(account.webhook_secret_source(config.folder) is not None),
        )
        return Poller(
            follower=follower,
            store=self._store,
            client=self._client(account, config),
            budget=Budget(ASSUMED_CALLS_PER_MINUTE, account.rate_limit_share),
            backoff=Backoff(random.Random()),
            account_info=AccountInfo(),
            clock=self._clock,
            heartbeat=self._heartbeat,
            terms=_terms(account, config),
        )

    def _client(self, account: Account, config: Config) -> Client:
        timeout = config.polling.request_timeout / MICROS
        name = AccountName(account.name)
        return Client(name, account.base_url, timeout, self._clock, self._instruments, self._version)

    def _sources(self, account: Account, config: Config, poller: Poller) -> Sources:
        # Files are not written faster where simulated time runs faster.
        clock, globs = SystemClock(), account.generation_files
        files = IdFiles(poller.account, config.folder, globs, clock, self._heartbeat)
        return Sources(poller, account.ids, files, self._clock)

    def _webhook_secrets(self, account: Account, config: Config) -> RotatingSecrets | None:
        source = account.webhook_secret_source(config.folder)
        if source is None:
            return None
        self._instruments.expect_deliveries(AccountName(account.name), Result)
        return RotatingSecrets(source, f"the webhook secret of {account.name}", SystemClock().monotonic)


def _aims(config: Config) -> tuple[float, float, float]:
    polling = config.polling
    return polling.target_lag / MICROS, polling.min_interval / MICROS, polling.max_interval / MICROS


def _terms(account: Account, config: Config) -> Terms:
    polling, key = config.polling, account.key_source(config.folder)
    return Terms(
        read_key=lambda: key.read().reveal(),
        rate_limit_share=account.rate_limit_share,
        calls_per_minute=account.calls_per_minute,
        request_timeout_us=polling.request_timeout,
        not_found_grace_us=polling.not_found_grace,
        give_up_after_us=polling.give_up_after,
    )
