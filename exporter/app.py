"""Builds everything from a configuration and connects it; the only module that sees the whole of both."""

import asyncio
import os
import platform
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from socket import socket

import structlog

from exporter.account import FollowedAccount
from exporter.api import Api
from exporter.budget import Budget
from exporter.cadence import Cadence
from exporter.catalogue import Catalogue
from exporter.client import Client
from exporter.clock import MICROS, Clock, SystemClock
from exporter.collector import Collector
from exporter.config import Account, Config, RotatingSecrets, SecretSource
from exporter.config.reload import account_changes, check_reloadable
from exporter.errors import ConfigError, StoreError
from exporter.exemplars import Exemplars
from exporter.follower import Follower
from exporter.heartbeat import Heartbeat
from exporter.idfiles import IdFiles
from exporter.instruments import Instruments
from exporter.intake import Intake
from exporter.ledger import Ledger
from exporter.poller import ASSUMED_CALLS_PER_MINUTE, Poller, Terms
from exporter.reliance import Reliance
from exporter.serving import serve
from exporter.sources import Sources
from exporter.standing import Standing
from exporter.store import Database, Store
from exporter.store.reading import DueSpans
from exporter.tracing import Delivery, Sender, choose, open_sender, server_of, trace_of
from exporter.tracing.spans import Trace
from exporter.values import AccountName, GenerationId, NewGeneration
from exporter.web import Pages
from exporter.webhooks import Result, Webhooks

VERSION = version("vivix-exporter")

_log = structlog.get_logger("exporter")


class _Stop(Exception):
    """Ends a task group in which everything is as it should be."""


@dataclass(slots=True)
class _Tasks:
    """What runs for one account."""

    polling: asyncio.Task[None]
    listing: asyncio.Task[None]


class App:
    """One running exporter. `clock` is the time it lives in, which a demo or a test lets run faster."""

    def __init__(
        self,
        config: Config,
        database: Database,
        clock: Clock | None = None,
        *,
        load: Callable[[], Config] | None = None,
        lifecycle: bool = False,
    ) -> None:
        """`database` must be the one that `config.state` names, opened as its owner. `run` closes it. `load`
        reads the configuration anew and may raise ConfigError; `lifecycle` lets HTTP ask for that. Raises
        ConfigError where the `OTEL_*` variables make no sense, and StoreError."""
        self._config = config
        self._load = load or (lambda: config)
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(SystemClock())
        self._instruments = Instruments(VERSION, platform.python_version())
        self._database = database
        tracing = choose(config.tracing, os.environ)
        self._traces_to = tracing.destination
        self._sender = open_sender(tracing, VERSION) if tracing.traced else None
        metrics = config.metrics
        self._ledger = Ledger(metrics.duration_buckets, metrics.max_models, metrics.max_failure_reasons)
        self._store = Store(
            database,
            self._ledger,
            self._clock,
            self._instruments,
            self._heartbeat,
            traced=tracing.traced,
            keeps_output_urls=config.tracing.capture_output_urls,
        )
        self._instruments.watch_pending_spans(lambda: self._store.spans_pending)
        self._exemplars = Exemplars(self._ledger)
        self._accounts: dict[AccountName, FollowedAccount] = {}
        self._tasks: dict[AccountName, _Tasks] = {}
        self._leaving: dict[AccountName, asyncio.Task[None]] = {}
        self._reloads: asyncio.Queue[asyncio.Future[ConfigError | None]] = asyncio.Queue()
        self.ready = asyncio.Event()
        """Set once the state is loaded and the loops run."""
        self._intake = Intake(self._store, self._accounts, self._clock, lambda: self._config.state.retention)
        self._token = self._registration_token(config)
        self._pages = self._build_pages(lifecycle=lifecycle)

    async def run(self, listeners: Sequence[socket], stop: asyncio.Event) -> None:
        """Follow and serve until `stop` is set, then finish the writes under way. A loop that dies takes
        the others with it, and its exception is raised in a group."""
        if self._database.restart_histograms(self._ledger.bounds_us):
            _log.warning("metrics.duration_buckets has changed: the histograms of durations start anew")
        try:
            async with asyncio.TaskGroup() as outlasting:
                store = outlasting.create_task(self._store.run())
                try:
                    async with asyncio.TaskGroup() as loops:
                        loops.create_task(_stopped(stop))
                        loops.create_task(serve(self._pages.app(), listeners))
                        loops.create_task(self._store.prune(lambda: self._config.state.retention))
                        for account in self._config.accounts:
                            await self._start(await self._prepare(account), loops)
                        if self._sender is not None:
                            loops.create_task(self._delivery(self._sender).run())
                        self._instruments.config_loaded(self._clock.now_us(), len(self._accounts))
                        self.ready.set()
                        _log.info("following", accounts=len(self._accounts), traces=self._traces_to.value)
                        loops.create_task(self._reload_when_asked(loops))
                except* _Stop:
                    _log.info("stopping")
                store.cancel()
        finally:
            self._store.close()

    async def register(self, account: AccountName, ids: Sequence[GenerationId]) -> None:
        """Follow `ids` from now on; they are safely stored once this returns. Raises StoreError."""
        await self._intake.register({account: [NewGeneration(id) for id in ids]})

    def followed(self) -> dict[AccountName, int]:
        """How many generations of each account are followed at present."""
        return {name: len(account.poller.follower.agenda) for name, account in self._accounts.items()}

    def ask_to_reload(self) -> "asyncio.Future[ConfigError | None]":
        """Read the configuration anew, soon. The result is why it was refused, or None."""
        asked: asyncio.Future[ConfigError | None] = asyncio.get_running_loop().create_future()
        self._reloads.put_nowait(asked)
        return asked

    async def _reload_when_asked(self, loops: asyncio.TaskGroup) -> None:
        while True:
            asked = await self._reloads.get()
            refused: ConfigError | None = None
            try:
                await self._reload(loops)
            except ConfigError as error:
                refused = error
                self._instruments.config_refused()
                _log.error("the configuration is refused, the old one stays", error=str(error))
            if not asked.done():
                asked.set_result(refused)

    async def _reload(self, loops: asyncio.TaskGroup) -> None:
        """Take up the configuration as it is now: all of it, or nothing where ConfigError is raised."""
        config = await asyncio.to_thread(self._load)
        check_reloadable(self._config, config)
        changes = account_changes(self._config, config)
        former, self._config = self._config, config
        try:
            added = [await self._prepare(account) for account in changes.added]
        except StoreError as error:
            self._config = former
            raise ConfigError(f"the state cannot be read: {error}") from error
        self._token = self._registration_token(config)
        for name in changes.removed:
            self._leaving[name] = loops.create_task(self._leave(name))
        for account in changes.kept:
            await self._change(account, former, loops)
        for one in added:
            await self._start(one, loops)
        self._instruments.config_loaded(self._clock.now_us(), len(self._accounts))
        _log.info(
            "the configuration was reloaded",
            accounts=len(self._accounts),
            added=len(added),
            removed=len(changes.removed),
        )

    async def _prepare(self, account: Account) -> FollowedAccount:
        """Build an account's parts, and load what the store holds for it. Raises StoreError."""
        name = AccountName(account.name)
        leaving = self._leaving.pop(name, None)
        if leaving is not None:
            await leaving
        poller = self._poller(account)
        self._ledger.load(name, await self._store.write(lambda tx: list(tx.totals(name))))
        await poller.follower.load()
        await poller.load()
        return FollowedAccount(
            account, poller, self._sources(account, poller), self._webhook_secrets(account)
        )

    async def _start(self, account: FollowedAccount, loops: asyncio.TaskGroup) -> None:
        """Take up what is listed, and begin to call."""
        name = account.poller.account
        listing = loops.create_task(account.sources.run())
        await account.sources.taken_up.wait()
        self._accounts[name] = account
        self._tasks[name] = _Tasks(loops.create_task(account.poller.run()), listing)

    async def _leave(self, name: AccountName) -> None:
        """Follow an account no longer; its totals stay in the store."""
        account, tasks = self._accounts.pop(name), self._tasks.pop(name)
        tasks.listing.cancel()
        account.poller.drain()
        await tasks.polling
        self._instruments.forget(name)

    async def _change(self, new: Account, former: Config, loops: asyncio.TaskGroup) -> None:
        """Let an account that stays be followed by the configuration in force. What it follows is not
        disturbed."""
        account = self._accounts[AccountName(new.name)]
        old, account.config = account.config, new
        poller, follower = account.poller, account.poller.follower
        terms = ("api_key", "api_key_env", "api_key_file", "base_url", "rate_limit_share", "calls_per_minute")
        changed = {key for key in terms if getattr(old, key) != getattr(new, key)}
        if changed or former.polling != self._config.polling:
            follower.cadence.aim(*self._aims())
            other_api = "base_url" in changed
            await poller.change(self._terms(new), self._client(new), other_api=other_api)
        account.webhook_secrets = self._webhook_secrets(new)
        was_relied_on = follower.reliance.relied_on
        follower.reliance.configured = account.webhook_secrets is not None
        if was_relied_on and not follower.reliance.relied_on:
            follower.look_at_all()
            poller.wake()
        if (old.generations, old.generation_files) != (new.generations, new.generation_files):
            tasks = self._tasks[poller.account]
            tasks.listing.cancel()
            account.sources = self._sources(new, poller)
            tasks.listing = loops.create_task(account.sources.run())
            await account.sources.taken_up.wait()

    def _build_pages(self, *, lifecycle: bool) -> Pages:
        instruments, accounts = self._instruments, self._accounts
        collector = Collector(instruments.registry, self._ledger, accounts, self._exemplars, self._clock)
        api = Api(self._intake, self._store, accounts, self.ready.is_set, lambda: self._token)
        webhooks = Webhooks(self._intake, accounts, self._clock, instruments, self.ready.is_set)
        return Pages(
            collector.collect,
            self.ready.is_set,
            self._heartbeat,
            VERSION,
            reload=self.ask_to_reload if lifecycle else None,
            routes=[*api.routes(), *webhooks.routes()],
        )

    def _poller(self, account: Account) -> Poller:
        follower = Follower(
            AccountName(account.name),
            self._store,
            Cadence(*self._aims(), self._config.metrics.max_models),
            self._clock,
            self._instruments,
            Reliance(account.webhook_secret_source(self._config.folder) is not None),
        )
        return Poller(
            follower=follower,
            store=self._store,
            client=self._client(account),
            budget=Budget(ASSUMED_CALLS_PER_MINUTE, account.rate_limit_share),
            standing=Standing(random.Random()),
            catalogue=Catalogue(),
            clock=self._clock,
            heartbeat=self._heartbeat,
            terms=self._terms(account),
        )

    def _aims(self) -> tuple[float, float, float]:
        polling = self._config.polling
        return polling.target_lag / MICROS, polling.min_interval / MICROS, polling.max_interval / MICROS

    def _terms(self, account: Account) -> Terms:
        polling, key = self._config.polling, account.key_source(self._config.folder)
        return Terms(
            read_key=lambda: key.read().reveal(),
            rate_limit_share=account.rate_limit_share,
            calls_per_minute=account.calls_per_minute,
            request_timeout_us=polling.request_timeout,
            not_found_grace_us=polling.not_found_grace,
            give_up_after_us=polling.give_up_after,
        )

    def _delivery(self, sender: Sender) -> Delivery:
        return Delivery(
            self._store,
            sender,
            self._trace,
            lambda: all(account.poller.catalogue.knows_models for account in self._accounts.values()),
            self._exemplars.arrived,
            self._clock,
            self._heartbeat,
            self._instruments,
            random.Random(),
        )

    def _trace(self, due: DueSpans) -> Trace:
        generation = due.generation
        account = self._accounts.get(generation.account)
        if account is None:
            return trace_of(generation, output_urls=due.output_urls)
        return trace_of(
            generation,
            account.poller.catalogue.category(generation.model) if generation.model else None,
            server_of(account.config.base_url),
            due.output_urls,
        )

    def _client(self, account: Account) -> Client:
        return Client(
            AccountName(account.name),
            account.base_url,
            self._config.polling.request_timeout / MICROS,
            self._clock,
            self._instruments,
            VERSION,
        )

    def _sources(self, account: Account, poller: Poller) -> Sources:
        files = IdFiles(
            poller.account,
            self._config.folder,
            account.generation_files,
            SystemClock(),
            self._heartbeat,
        )
        return Sources(poller, account.ids, files, self._clock)

    def _webhook_secrets(self, account: Account) -> RotatingSecrets | None:
        source = account.webhook_secret_source(self._config.folder)
        if source is not None:
            self._instruments.expect_deliveries(AccountName(account.name), Result)
        return self._rotating(source, f"the webhook secret of {account.name}")

    def _registration_token(self, config: Config) -> RotatingSecrets | None:
        return self._rotating(config.web.token_source(config.folder), "the registration token")

    def _rotating(self, source: SecretSource | None, what: str) -> RotatingSecrets | None:
        # A file is not written faster where simulated time runs faster.
        return None if source is None else RotatingSecrets(source, what, SystemClock().monotonic)


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stop
