"""The accounts that are followed: how they come, change and go."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from exporter.account import Builder, FollowedAccount, aims, terms, webhook_secrets
from exporter.config import Account, Config, RotatingSecrets
from exporter.config.reload import AccountChanges, account_changes
from exporter.domain.values import AccountName
from exporter.errors import ConfigError, NotOwnerError, StoreError
from exporter.metrics.instruments import Instruments
from exporter.polling.relisting import Relisted, Relisting
from exporter.sources.listing import Listing, Sources
from exporter.store import Store, Transaction
from exporter.vivix.client import Client
from exporter.web.webhooks import Result

PATIENCE = 60.0
"""Real seconds in which everything must have been read that a new configuration needs."""

DRAIN = 2.0
"""Real seconds in which calls under way may end for an account that goes to another replica."""

_CALLED = ("base_url", "api_key", "api_key_env", "api_key_file")
"""Keys of an account that say where it is called, and as whom."""
_TERMS = (*_CALLED, "rate_limit_share", "calls_per_minute")
"""Keys of an account that say how it is called."""
_LISTS = ("generations", "generation_files")
"""Keys of an account that list ids."""


@dataclass(slots=True)
class _Tasks:
    """What runs for one account."""

    polling: asyncio.Task[None]
    listing: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class _Calling:
    """How an account is called from now on."""

    key: str
    client: Client
    other_api: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """What lists an account's ids from now on, and the ids."""

    account: FollowedAccount
    sources: Sources
    listing: Listing

    def relisting(self) -> Relisting:
        follower = self.account.poller.follower
        return follower.relisting(self.listing.wanted, whole=self.listing.whole)


class Accounts:
    """`followed` holds those that are followed at present; others may read it, and see it change. `patience`
    is how many seconds files of ids may take to be read."""

    def __init__(
        self,
        store: Store,
        instruments: Instruments,
        builder: Builder,
        patience: float = PATIENCE,
    ) -> None:
        self.followed: dict[AccountName, FollowedAccount] = {}
        self.webhook_secrets: dict[AccountName, RotatingSecrets] = {}
        """Of every configured account that has webhooks."""
        self.configured: dict[AccountName, Account] = {}
        self._store = store
        self._instruments = instruments
        self._build = builder
        self.patience = patience
        self._tasks: dict[AccountName, _Tasks] = {}
        self._draining: dict[AccountName, asyncio.Task[None]] = {}

    def configure(self, config: Config) -> None:
        """Know which accounts there are, followed here or by another replica."""
        self.configured = {AccountName(account.name): account for account in config.accounts}
        secrets = {name: webhook_secrets(account, config) for name, account in self.configured.items()}
        self.webhook_secrets = {name: one for name, one in secrets.items() if one is not None}

    async def start(self, account: Account, config: Config, loops: asyncio.TaskGroup) -> int:
        """Follow one more account; returns once what is listed is stored, however long the state cannot be
        written. The result is how many generations the state held to be followed. Raises StoreError where it
        cannot be read."""
        one = await self._load_at_last(account, config)
        resumed = len(one.poller.follower.schedule)
        await one.sources.apply(await one.sources.read())
        self._begin(one, loops)
        return resumed

    async def take_up(self, account: Account, config: Config, loops: asyncio.TaskGroup) -> int | None:
        """As `start`, for an account of a shared state: it may be lost, or the configuration be replaced,
        meanwhile. Then nothing is followed, and the result is None. Raises TimeoutError where files of ids
        cannot be read within the patience."""
        one = await self._load(account, config)
        try:
            resumed = len(one.poller.follower.schedule)
            async with asyncio.timeout(self.patience):
                listing = await one.sources.read()
            await one.sources.apply(listing)
            name = one.poller.account
            if self.configured.get(name) is account and self._store.owns(name):
                self._begin(one, loops)
                return resumed
        finally:
            if self.followed.get(one.poller.account) is not one:
                await one.poller.retire()
        return None

    def leave(self, name: AccountName) -> "asyncio.Task[None] | None":
        """Stop following an account, for another replica. What is returned, if anything, ends once no call is
        under way for it; calls that take long are cancelled."""
        if name in self.followed:
            polling = self._tasks[name].polling
            self._remove(name)
            asyncio.get_running_loop().call_later(DRAIN, polling.cancel)
        return self._draining.get(name)

    async def change(self, former: Config, config: Config, loops: asyncio.TaskGroup) -> AccountChanges:
        """Apply another configuration: wholly, or not at all where ConfigError is raised. What accounts that
        stay follow is not disturbed. Of a shared state, accounts that are new are left to their owners, and
        those that are lost to another replica meanwhile to that one."""
        while True:
            try:
                return await self._try_to_change(former, config, loops)
            except NotOwnerError:
                continue

    async def _try_to_change(
        self, former: Config, config: Config, loops: asyncio.TaskGroup
    ) -> AccountChanges:
        changes = account_changes(former, config)
        coming = () if self._store.shared else changes.added
        kept = [(self.followed[name], new) for name, new in self._owned(changes.kept)]
        async with AsyncExitStack() as listings:
            try:
                async with asyncio.timeout(self.patience):
                    added = [await self._load(account, config) for account in coming]
                    called = [self._call(one, new, former, config) for one, new in kept]
                    listed = [_Listed(one, one.sources, await one.sources.read()) for one in added]
                    relisted = [await self._list(one, new, config) for one, new in kept]
                    lists = [*listed, *filter(None, relisted)]
                    for one in lists:
                        await listings.enter_async_context(one.account.poller.follower.listing)
                relistings = [one.relisting() for one in lists]
                owned = {relisting.account for relisting in relistings}
                stored = await self._store.write(lambda tx: self._write(tx, relistings), *owned)
            except NotOwnerError:
                raise
            except StoreError as error:
                raise ConfigError(f"the state cannot be written: {error}") from error
            except TimeoutError:
                raise ConfigError(
                    f"what it needs could not be read within {self.patience:g} s: files of ids that do not "
                    "answer, or an account that has been removed and still waits for answers; try again"
                ) from None
            # Nothing below fails or waits, so that nobody sees a part of it. What was lost to another replica
            # meanwhile is no longer ours to change.
            self.configure(config)
            removed = [self._remove(name) for name in changes.removed if name in self.followed]
            for (account, new), calling in zip(kept, called, strict=True):
                if self._is_followed(account):
                    self._change(account, new, calling, config, loops)
            for one, relisting, result in zip(lists, relistings, stored, strict=True):
                one.account.poller.follower.relisted(relisting, result)
                one.account.poller.wake()
            for one in filter(None, relisted):
                if self._is_followed(one.account):
                    self._change_sources(one, loops)
            for account in added:
                self._continue_budget(account, removed)
                self._begin(account, loops)
        return changes

    def _owned(self, accounts: Iterable[Account]) -> Iterator[tuple[AccountName, Account]]:
        """Those that are followed here and owned."""
        for account in accounts:
            name = AccountName(account.name)
            if name in self.followed and self._store.owns(name):
                yield name, account

    def _is_followed(self, account: FollowedAccount) -> bool:
        return self.followed.get(account.poller.account) is account

    async def _load_at_last(self, account: Account, config: Config) -> FollowedAccount:
        """As `_load`, but wait while the state cannot be written."""
        while True:
            try:
                return await self._load(account, config)
            except StoreError:
                if self._store.writable.is_set():
                    raise
                await self._store.writable.wait()

    async def _load(self, account: Account, config: Config) -> FollowedAccount:
        """Build an account's parts, and load what the store holds for it. Raises StoreError."""
        name = AccountName(account.name)
        if (draining := self._draining.get(name)) is not None:
            await asyncio.wait({draining})
        one = self._build.account(account, config)
        await self._store.load(name)
        await one.poller.follower.load()
        await one.poller.load()
        return one

    def _call(
        self, account: FollowedAccount, new: Account, former: Config, config: Config
    ) -> _Calling | None:
        """How an account that stays is to be called, None where that does not change. Raises ConfigError."""
        if former.polling == config.polling and not _differ(account.config, new, _TERMS):
            return None
        key = new.key_source(config.folder).read().reveal()
        other_api = account.config.base_url != new.base_url
        return _Calling(key, self._build.client(new, config), other_api)

    async def _list(self, account: FollowedAccount, new: Account, config: Config) -> _Listed | None:
        """What an account that stays lists, None where that is to be read as before."""
        if not _differ(account.config, new, _LISTS):
            return None
        sources = self._build.sources(new, config, account.poller, account.sources)
        return _Listed(account, sources, await sources.read())

    def _write(self, tx: Transaction, relistings: Sequence[Relisting]) -> Sequence[Relisted]:
        """Everything that a reload stores, and something in any case: it is not applied while what follows
        from it could not be kept."""
        at_us = self._build.clock.now_us()
        tx.prove_writable(at_us)
        return [relisting.write(tx, at_us) for relisting in relistings]

    def _begin(self, account: FollowedAccount, loops: asyncio.TaskGroup) -> None:
        """Begin to call, and to keep in step with what is listed."""
        name = account.poller.account
        self._expect_deliveries(name)
        self.followed[name] = account
        polling, listing = loops.create_task(account.poller.run()), loops.create_task(account.sources.run())
        self._tasks[name] = _Tasks(polling, listing)

    def _remove(self, name: AccountName) -> FollowedAccount:
        """Stop following an account; its totals stay in the store, and calls under way end by themselves."""
        account, tasks = self.followed.pop(name), self._tasks.pop(name)
        tasks.listing.cancel()
        account.poller.drain()

        async def drained() -> None:
            await asyncio.wait({tasks.polling})
            self._instruments.forget(name)

        # Not one of the loops: as the exporter stops, those take no more tasks.
        draining = self._draining[name] = asyncio.ensure_future(drained())
        draining.add_done_callback(lambda _: self._draining.pop(name))
        return account

    def _change(
        self,
        account: FollowedAccount,
        new: Account,
        calling: _Calling | None,
        config: Config,
        loops: asyncio.TaskGroup,
    ) -> None:
        """Let an account that stays be followed as the configuration says, but for what it lists."""
        account.config = new
        poller, follower = account.poller, account.poller.follower
        if calling is not None:
            follower.cadence.aim(*aims(config))
            former = poller.change(
                terms(new, config), calling.client, calling.key, other_api=calling.other_api
            )
            loops.create_task(former.retire())
        self._expect_deliveries(poller.account)
        was_relied_on = follower.webhook_trust.relied_on
        follower.webhook_trust.configured = poller.account in self.webhook_secrets
        if was_relied_on and not follower.webhook_trust.relied_on:
            follower.poll_all()
            poller.wake()

    def _change_sources(self, listed: _Listed, loops: asyncio.TaskGroup) -> None:
        tasks = self._tasks[listed.account.poller.account]
        tasks.listing.cancel()
        listed.account.sources = listed.sources
        tasks.listing = loops.create_task(listed.sources.run())

    def _continue_budget(self, new: FollowedAccount, removed: Sequence[FollowedAccount]) -> None:
        """An account that was renamed has made the calls of the last minute under its former name."""
        for former in removed:
            if not _differ(former.config, new.config, _CALLED):
                new.poller.share_budget(former.poller)

    def _expect_deliveries(self, account: AccountName) -> None:
        if account in self.webhook_secrets:
            self._instruments.expect_deliveries(account, Result)


def _differ(one: Account, other: Account, keys: Sequence[str]) -> bool:
    return any(getattr(one, key) != getattr(other, key) for key in keys)
