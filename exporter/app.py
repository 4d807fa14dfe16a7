"""Wiring: everything is built from the configuration and connected here, and nowhere else."""

import asyncio
import os
import platform
import random
from collections.abc import Callable, Sequence
from importlib.metadata import version
from socket import socket
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from exporter.account import Builder
from exporter.accounts import PATIENCE, Accounts
from exporter.clock import AgreedClock, Clock, SystemClock, elapsed
from exporter.config import Config, RotatingSecrets
from exporter.config.reload import check_reloadable
from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName, GenerationId, NewGeneration
from exporter.errors import ConfigError
from exporter.heartbeat import Heartbeat
from exporter.intake import Intake
from exporter.metrics.collector import Collector
from exporter.metrics.exemplars import Exemplars
from exporter.metrics.exposition import Exposition
from exporter.metrics.instruments import Instruments
from exporter.ownership import Ownership
from exporter.reloads import Refused, Reloads
from exporter.replica import Replica
from exporter.store import Database, Store
from exporter.store.holdings import Holdings
from exporter.store.leases import Leases
from exporter.store.reading import DueSpans
from exporter.threads import on_thread, share_one_arena
from exporter.tracing import Sender, SpanExport, choose, open_sender, server_of, trace_of
from exporter.tracing.spans import Trace
from exporter.web.api import Api
from exporter.web.conditions import file_broken
from exporter.web.endpoints import Endpoints
from exporter.web.lock.door import Door
from exporter.web.lock.tls import Tls
from exporter.web.pages.drawing import Drawing
from exporter.web.pages.handlers import Pages, Settings
from exporter.web.server import serve
from exporter.web.serving import Serving
from exporter.web.webhooks import Webhooks

VERSION = version("vivix-exporter")

_log = structlog.get_logger("exporter")


class _Stop(Exception):
    """Ends a task group without an error."""


class App:
    """One running exporter. `clock` is its time, which a demo or a test lets run faster."""

    def __init__(
        self,
        config: Config,
        database: Database,
        clock: Clock | None = None,
        *,
        load: Callable[[], Config] | None = None,
        lifecycle: bool = False,
        serving: Serving | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`database` must be the one that `config.state` names, opened as its owner. `run` closes it. `load`
        reads the configuration anew and may raise ConfigError; `lifecycle` lets HTTP ask for that;
        `serving` says how the server is reached and locked; `patience` is how many seconds a reload waits for
        files. Raises ConfigError where the `OTEL_*` variables or the web configuration make no
        sense, and StoreError."""
        share_one_arena()
        self._config = config
        self._load = load or (lambda: config)
        # Replicas compare times that others have stored: theirs are those of the database they share.
        self._clock = AgreedClock(clock or SystemClock())
        self._heartbeat = Heartbeat(SystemClock())
        self._instruments = Instruments(VERSION, platform.python_version())
        self._database = database
        tracing = choose(config.tracing, os.environ)
        self._traces_to = tracing.destination
        self._sender = open_sender(tracing, VERSION) if tracing.traced else None
        metrics = config.metrics
        self._ledger = Ledger(metrics.duration_buckets, metrics.max_models, metrics.max_failure_reasons)
        self._leases = Leases(database, uuid4().hex) if database.shared else None
        self._holdings = None if self._leases is None else Holdings(self._leases)
        self._store = Store(
            database,
            self._ledger,
            self._clock,
            self._instruments,
            self._heartbeat,
            traced=tracing.traced,
            keeps_output_urls=config.tracing.capture_output_urls,
            holdings=self._holdings,
        )
        self._instruments.watch_pending_spans(lambda: self._store.spans_pending)
        self._exemplars = Exemplars(self._ledger)
        builder = Builder(self._store, self._instruments, self._clock, self._heartbeat, VERSION)
        self._accounts = Accounts(self._store, self._instruments, builder, patience)
        self._accounts.configure(config)
        self._instruments.watch_owned_accounts(
            lambda: sum(map(self._store.surely_owns, self._accounts.followed))
        )
        self._patience = patience
        self._serving = serving or Serving()
        self._loops: asyncio.TaskGroup | None = None
        self._replica: Replica | None = None
        self._reloads = Reloads(self._reload, self._instruments.config_refused)
        self.ready = asyncio.Event()
        """Set once the state is loaded and the loops run."""
        self._intake = Intake(
            self._store,
            self._accounts.followed,
            lambda: self._accounts.webhook_secrets,
            self._clock,
            lambda: self._config.state.retention,
            self._instruments,
            keeps_output_urls=config.tracing.capture_output_urls,
        )
        self._token = _registration_token(config)
        self._webhooks = Webhooks(self._intake, self._clock, self._instruments, self.ready.is_set)
        self._endpoints = self._build_endpoints(lifecycle=lifecycle)

    async def run(
        self, listeners: Sequence[socket], stop: asyncio.Event, webhook_listeners: Sequence[socket] = ()
    ) -> None:
        """Follow and serve until `stop` is set, then finish the writes under way. A loop that fails ends the
        others, and its exception is raised in a group."""
        of_several = {} if self._leases is None else {"replica": self._leases.me}
        _log.info("starting", version=VERSION, state=self._database.name, **of_several)
        self._agree()
        try:
            async with asyncio.TaskGroup() as outlasting:
                store = outlasting.create_task(self._store.run())
                try:
                    async with asyncio.TaskGroup() as loops:
                        loops.create_task(_stopped(stop))
                        self._serve(loops, listeners, webhook_listeners)
                        loops.create_task(self._store.prune(lambda: self._config.state.retention))
                        await self._follow(loops)
                        if self._sender is not None:
                            loops.create_task(self._span_export(self._sender).run())
                        self._instruments.config_loaded(self._clock.now_us())
                        self.ready.set()
                        loops.create_task(self._reloads.run())
                except* _Stop:
                    _log.info("stopping")
                store.cancel()
        finally:
            self._store.close()

    def _serve(
        self, loops: asyncio.TaskGroup, listeners: Sequence[socket], webhook_listeners: Sequence[socket]
    ) -> None:
        """Serve everything on `listeners`; webhooks on those of their own and nowhere else, where given."""
        where = self._serving
        prefix, webhooks = where.route_prefix, self._webhooks.routes()
        inside = [] if webhook_listeners else webhooks
        app: ASGIApp = self._endpoints(inside).app(prefix, f"{where.link_prefix}/")
        outside: ASGIApp = Starlette(routes=[Mount(prefix, routes=webhooks)] if prefix else webhooks)
        tls = None
        if (file := where.web_config) is not None:
            broken = file_broken()
            app = Door(app, file, where.is_open, elapsed, broken)
            outside = Door(outside, file, where.is_open, elapsed, broken)
            tls = Tls(file, broken) if file.read().tls_server_config.enabled else None
        loops.create_task(serve(app, listeners, tls=tls, prefix=prefix))
        if webhook_listeners:
            loops.create_task(serve(outside, webhook_listeners, tls=tls, prefix=prefix))

    async def register(self, account: AccountName, ids: Sequence[GenerationId]) -> None:
        """Register ids; they are safely stored once this returns. Raises StoreError."""
        await self._intake.register({account: [NewGeneration(id) for id in ids]})

    def followed(self) -> dict[AccountName, int]:
        """Return how many generations of each account are followed at present."""
        return {
            name: len(account.poller.follower.schedule) for name, account in self._accounts.followed.items()
        }

    def ask_to_reload(self) -> "asyncio.Future[Refused]":
        """Read and apply the configuration anew, soon. The result is why it was refused, or None."""
        return self._reloads.ask()

    def _agree(self) -> None:
        """Use the state with these metrics. Raises StateUnusableError where other replicas have others."""
        metrics = self._config.metrics
        settings = {"max_models": metrics.max_models, "max_failure_reasons": metrics.max_failure_reasons}
        if self._leases is None:
            restarted = self._database.restart_histograms(self._ledger.bounds_us)
        else:
            restarted = self._leases.join(self._ledger.bounds_us, settings)
        if restarted:
            _log.warning("metrics.duration_buckets has changed: the histograms of durations start anew")

    async def _follow(self, loops: asyncio.TaskGroup) -> None:
        """Follow what the state and the configuration hold. Raises StoreError."""
        self._loops, config = loops, self._config
        replica = Replica(self._accounts, self._intake, self._store, lambda: self._config, loops, self._clock)
        self._replica = replica
        if self._leases is None or self._holdings is None:
            resumed = [await self._accounts.start(account, config, loops) for account in config.accounts]
            # A state that was moved here may bring what replicas had acknowledged and not applied yet.
            for account in list(self._accounts.followed):
                replica.collect(account)
        else:
            ownership = Ownership(
                self._store,
                self._leases,
                self._holdings,
                replica,
                lambda: list(self._accounts.configured),
                self._instruments,
                self._heartbeat,
                random.Random(),
                self._clock,
            )
            self._instruments.watch_replicas(lambda: ownership.replicas)
            await ownership.begin()
            loops.create_task(ownership.run())
            resumed = await replica.begun()
        _log.info(
            "following",
            accounts=len(resumed),
            generations=sum(self.followed().values()),
            resumed=sum(resumed),
            traces=self._traces_to.value,
        )

    async def _reload(self) -> None:
        """Apply the configuration as it is now: all of it, or nothing where ConfigError is raised."""
        loops, replica = self._loops, self._replica
        assert loops is not None, "reloads begin once the loops run"
        assert replica is not None
        try:
            async with asyncio.timeout(self._patience):
                config = await on_thread(self._load, "configuration")
        except TimeoutError:
            raise ConfigError(
                f"its file, or one that it names, could not be read within {self._patience:g} s"
            ) from None
        check_reloadable(self._config, config)
        changes = await self._accounts.change(self._config, config, loops)
        self._config = config
        self._token = _registration_token(config)
        # What was acknowledged for them may wait: see `_follow`.
        for account in changes.added:
            replica.collect(AccountName(account.name))
        self._instruments.config_loaded(self._clock.now_us())
        _log.info(
            "the configuration was reloaded",
            accounts=len(self._accounts.followed),
            added=len(changes.added),
            removed=len(changes.removed),
        )

    def _build_endpoints(self, *, lifecycle: bool) -> Callable[[Sequence[Route]], Endpoints]:
        instruments, accounts = self._instruments, self._accounts.followed
        collector = Collector(self._ledger, accounts, self._exemplars, self._clock)
        exposition = Exposition(collector, instruments, self._ledger.bounds_us)
        api = Api(
            self._intake,
            self._store,
            lambda: self._accounts.configured,
            self.ready.is_set,
            lambda: self._token,
        )
        pages = Pages(
            Drawing(VERSION, self._serving.link_prefix),
            self._store,
            self._intake,
            lambda: self._accounts.configured,
            accounts,
            self._shown_settings,
            self._ledger.bounds_us,
            self.ready.is_set,
            self._clock,
            external_url=self._serving.external_url or None,
        )
        return lambda webhooks: Endpoints(
            exposition.page,
            self.ready.is_set,
            self._heartbeat,
            reload=self.ask_to_reload if lifecycle else None,
            routes=[*pages.routes(), *api.routes(), *webhooks],
        )

    def _shown_settings(self) -> Settings:
        config = self._config
        return Settings(config.web.trace_url, config.state.retention, registers=self._token is not None)

    def _span_export(self, sender: Sender) -> SpanExport:
        return SpanExport(
            self._store,
            sender,
            self._trace,
            lambda: all(
                account.poller.account_info.knows_models for account in self._accounts.followed.values()
            ),
            self._exemplars.arrived,
            self._clock,
            self._heartbeat,
            self._instruments,
            random.Random(),
        )

    def _trace(self, due: DueSpans) -> Trace:
        generation = due.generation
        account = self._accounts.followed.get(generation.account)
        if account is None:
            return trace_of(generation, output_urls=due.output_urls)
        return trace_of(
            generation,
            account.poller.account_info.category(generation.model) if generation.model else None,
            server_of(account.config.base_url),
            due.output_urls,
        )


def _registration_token(config: Config) -> RotatingSecrets | None:
    source = config.web.token_source(config.folder)
    # A file is not written faster where simulated time runs faster.
    if source is None:
        return None
    return RotatingSecrets(source, "the registration token", SystemClock().monotonic)


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stop
