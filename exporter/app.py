"""Builds everything from a configuration and connects it; the only module that sees the whole of both."""

import asyncio
import os
import platform
import random
from collections.abc import Sequence
from importlib.metadata import version
from socket import socket

import structlog

from exporter.budget import Budget
from exporter.cadence import Cadence
from exporter.catalogue import Catalogue
from exporter.client import Client
from exporter.clock import MICROS, Clock, SystemClock
from exporter.collector import Collector
from exporter.config import Account, Config
from exporter.exemplars import Exemplars
from exporter.follower import Follower
from exporter.heartbeat import Heartbeat
from exporter.instruments import Instruments
from exporter.ledger import Ledger
from exporter.poller import ASSUMED_CALLS_PER_MINUTE, Poller
from exporter.serving import serve
from exporter.standing import Standing
from exporter.store import Database, Store
from exporter.store.reading import DueSpans
from exporter.tracing import Delivery, Sender, choose, open_sender, server_of, trace_of
from exporter.tracing.spans import Trace
from exporter.values import AccountName, GenerationId, NewGeneration, Source
from exporter.web import Pages

VERSION = version("vivix-exporter")

_log = structlog.get_logger("exporter")


class _Stop(Exception):
    """Ends a task group in which everything is as it should be."""


class App:
    """One running exporter. `clock` is the time it lives in, which a demo or a test lets run faster."""

    def __init__(self, config: Config, database: Database, clock: Clock | None = None) -> None:
        """`database` must be the one that `config.state` names, opened as its owner. `run` closes it. Raises
        ConfigError where the `OTEL_*` variables make no sense, and StoreError."""
        self._config = config
        self._clock = clock or SystemClock()
        self._heartbeat = Heartbeat(SystemClock())
        self._instruments = Instruments(VERSION, platform.python_version())
        self._database = database
        tracing = choose(config.tracing, os.environ)
        self._sender = open_sender(tracing, VERSION) if tracing.traced else None
        metrics = config.metrics
        self._ledger = Ledger(metrics.duration_buckets, metrics.max_models, metrics.max_failure_reasons)
        self._store = Store(
            database, self._ledger, self._clock, self._instruments, self._heartbeat, traced=tracing.traced
        )
        self._instruments.watch_pending_spans(lambda: self._store.spans_pending)
        self._exemplars = Exemplars(self._ledger)
        self._pollers: dict[AccountName, Poller] = {}
        self.ready = asyncio.Event()
        """Set once the state is loaded and the loops run."""
        collector = Collector(
            self._instruments.registry, self._ledger, self._pollers, self._exemplars, self._clock
        )
        self._pages = Pages(collector.collect, self.ready.is_set, self._heartbeat, VERSION)

    async def run(self, listeners: Sequence[socket], stop: asyncio.Event) -> None:
        """Follow and serve until `stop` is set, then finish the writes under way. A loop that dies takes
        the others with it, and its exception is raised in a group."""
        if self._database.restart_histograms(self._ledger.bounds_us):
            _log.warning("metrics.duration_buckets has changed: the histograms of durations start anew")
        clients: list[Client] = []
        try:
            async with asyncio.TaskGroup() as outlasting:
                store = outlasting.create_task(self._store.run())
                try:
                    async with asyncio.TaskGroup() as loops:
                        loops.create_task(_stopped(stop))
                        loops.create_task(serve(self._pages.app(), listeners))
                        loops.create_task(self._store.prune(self._config.state.retention))
                        for account in self._config.accounts:
                            client = self._client(account)
                            clients.append(client)
                            await self._start(account, client, loops)
                        if self._sender is not None:
                            loops.create_task(self._delivery(self._sender).run())
                        self._instruments.config_loaded(self._clock.now_us(), len(self._pollers))
                        self.ready.set()
                        _log.info("following", accounts=len(self._pollers))
                except* _Stop:
                    _log.info("stopping")
                store.cancel()
        finally:
            for client in clients:
                await client.aclose()
            self._store.close()

    async def register(self, account: AccountName, ids: Sequence[GenerationId]) -> None:
        """Follow `ids` from now on; they are safely stored once this returns. Raises StoreError."""
        poller = self._pollers[account]
        await poller.follower.discover(Source.API, [NewGeneration(id) for id in ids])
        poller.wake()

    def followed(self) -> dict[AccountName, int]:
        """How many generations of each account are followed at present."""
        return {name: len(poller.follower.agenda) for name, poller in self._pollers.items()}

    async def _start(self, account: Account, client: Client, loops: asyncio.TaskGroup) -> None:
        name = AccountName(account.name)
        self._ledger.load(name, await self._store.write(lambda tx: list(tx.totals(name))))
        poller = self._poller(account, client)
        await poller.follower.load(account.ids)
        await poller.load()
        self._pollers[name] = poller
        loops.create_task(poller.run())

    def _delivery(self, sender: Sender) -> Delivery:
        return Delivery(
            self._store,
            sender,
            self._trace,
            lambda: all(poller.catalogue.knows_models for poller in self._pollers.values()),
            self._exemplars.arrived,
            self._clock,
            self._heartbeat,
            self._instruments,
            random.Random(),
        )

    def _trace(self, due: DueSpans) -> Trace:
        generation = due.generation
        poller = self._pollers.get(generation.account)
        urls = {AccountName(account.name): account.base_url for account in self._config.accounts}
        url = urls.get(generation.account)
        return trace_of(
            generation,
            poller.catalogue.category(generation.model) if poller and generation.model else None,
            server_of(url) if url else None,
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
            capture_output_urls=self._config.tracing.capture_output_urls and self._sender is not None,
        )

    def _poller(self, account: Account, client: Client) -> Poller:
        polling = self._config.polling
        key = account.key_source(self._config.folder)
        follower = Follower(
            AccountName(account.name),
            self._store,
            Cadence(
                polling.target_lag / MICROS,
                polling.min_interval / MICROS,
                polling.max_interval / MICROS,
                self._config.metrics.max_models,
            ),
            self._clock,
            self._instruments,
            polling.max_interval / MICROS,
        )
        return Poller(
            follower=follower,
            store=self._store,
            client=client,
            budget=Budget(ASSUMED_CALLS_PER_MINUTE, account.rate_limit_share),
            standing=Standing(random.Random()),
            catalogue=Catalogue(),
            clock=self._clock,
            heartbeat=self._heartbeat,
            read_key=lambda: key.read().reveal(),
            rate_limit_share=account.rate_limit_share,
            calls_per_minute=account.calls_per_minute,
            request_timeout_us=polling.request_timeout,
            not_found_grace_us=polling.not_found_grace,
            give_up_after_us=polling.give_up_after,
        )


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stop
