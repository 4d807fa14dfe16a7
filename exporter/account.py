"""One account that is followed: its parts, and how they are built from the configuration."""

import random
from dataclasses import dataclass

from exporter.clock import MICROS, Clock, SystemClock
from exporter.config import Account, Config, RotatingSecrets
from exporter.domain.values import AccountName
from exporter.heartbeat import Heartbeat
from exporter.metrics.instruments import Instruments
from exporter.polling.account_info import AccountInfo
from exporter.polling.backoff import Backoff
from exporter.polling.budget import Budget
from exporter.polling.cadence import Cadence
from exporter.polling.follower import Follower
from exporter.polling.poller import ASSUMED_CALLS_PER_MINUTE, Poller
from exporter.polling.terms import Terms
from exporter.polling.webhook_trust import WebhookTrust
from exporter.sources.idfiles import IdFiles
from exporter.sources.listing import Sources
from exporter.store import Store
from exporter.vivix.client import Client


@dataclass(slots=True)
class FollowedAccount:
    """The parts; a reload replaces what has changed."""

    config: Account
    poller: Poller
    sources: Sources


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds the parts of accounts; building changes nothing else."""

    store: Store
    instruments: Instruments
    clock: Clock
    heartbeat: Heartbeat
    version: str

    def account(self, account: Account, config: Config) -> FollowedAccount:
        """All parts of an account, not yet loaded."""
        poller = self._poller(account, config)
        sources = self.sources(account, config, poller)
        return FollowedAccount(account, poller, sources)

    def client(self, account: Account, config: Config) -> Client:
        """The API as the account sees it, without its key."""
        timeout = config.polling.request_timeout / MICROS
        name = AccountName(account.name)
        return Client(name, account.base_url, timeout, self.clock, self.instruments, self.version)

    def sources(
        self, account: Account, config: Config, poller: Poller, former: Sources | None = None
    ) -> Sources:
        """What lists ids for the account, instead of `former` ones."""
        # Files are not written faster where simulated time runs faster.
        clock, globs = SystemClock(), account.generation_files
        known = None if former is None else former.files
        files = IdFiles(poller.account, config.folder, globs, clock, self.heartbeat, former=known)
        return Sources(poller, account.ids, files, self.store, self.clock)

    def _poller(self, account: Account, config: Config) -> Poller:
        follower = Follower(
            AccountName(account.name),
            self.store,
            Cadence(*aims(config), config.metrics.max_models),
            self.clock,
            self.instruments,
            WebhookTrust(account.webhook_secret_source(config.folder) is not None),
        )
        return Poller(
            follower=follower,
            store=self.store,
            client=self.client(account, config),
            budget=Budget(ASSUMED_CALLS_PER_MINUTE, account.rate_limit_share),
            backoff=Backoff(random.Random()),
            account_info=AccountInfo(),
            clock=self.clock,
            heartbeat=self.heartbeat,
            terms=terms(account, config),
        )


def webhook_secrets(account: Account, config: Config) -> RotatingSecrets | None:
    """The secrets of an account's webhooks, None where it has none."""
    source = account.webhook_secret_source(config.folder)
    if source is None:
        return None
    return RotatingSecrets(source, f"the webhook secret of {account.name}", SystemClock().monotonic)


def aims(config: Config) -> tuple[float, float, float]:
    """What polling aims at, in seconds: mean lag, shortest and longest interval."""
    polling = config.polling
    return polling.target_lag / MICROS, polling.min_interval / MICROS, polling.max_interval / MICROS


def terms(account: Account, config: Config) -> Terms:
    """How an account is called."""
    polling, key = config.polling, account.key_source(config.folder)
    return Terms(
        read_key=lambda: key.read().reveal(),
        rate_limit_share=account.rate_limit_share,
        calls_per_minute=account.calls_per_minute,
        request_timeout_us=polling.request_timeout,
        not_found_grace_us=polling.not_found_grace,
        give_up_after_us=polling.give_up_after,
    )
