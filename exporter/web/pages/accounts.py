"""How an account stands at present, as the process that follows it knows, and tells replicas that do not."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from exporter.domain.values import AccountName
from exporter.polling.poller import Poller
from exporter.store.overview import Owner


class Followed(Protocol):
    """The part of an account that pages read."""

    @property
    def poller(self) -> Poller: ...


@dataclass(frozen=True, slots=True)
class Present:
    """One account; None is not known yet, and `webhooks` also where it has none."""

    key_valid: bool | None
    up: bool | None
    tier: str | None
    jobs_limit: int | None
    balance: float | None
    calls_limit: int | None
    calls_budget: float
    stretch: float
    webhooks: bool | None

    def to_json(self) -> str:
        """Return it for replicas that do not follow the account."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Present | None":
        """Return what another replica told; None where its version tells other things."""
        told = json.loads(text)
        names = [field.name for field in fields(cls)]
        return cls(**{name: told[name] for name in names}) if told.keys() >= set(names) else None


def present(accounts: Mapping[AccountName, Followed], now: float) -> dict[AccountName, Present]:
    """Return how accounts stand at `now`, in monotonic seconds. To be called on the event loop."""
    return {name: _present(account.poller, now) for name, account in accounts.items()}


def told(owners: Iterable[Owner]) -> dict[AccountName, Present]:
    """Return how accounts stand by what their owners have told."""
    found = {one.account: Present.from_json(one.told) for one in owners if one.told is not None}
    return {account: one for account, one in found.items() if one is not None}


def _present(poller: Poller, now: float) -> Present:
    plan = poller.account_info.plan(now)
    trust = poller.follower.webhook_trust
    return Present(
        key_valid=poller.backoff.key_valid,
        up=poller.backoff.up,
        tier=None if plan is None else plan.tier,
        jobs_limit=None if plan is None else plan.concurrent_jobs,
        balance=None if plan is None else plan.balance,
        calls_limit=None if plan is None else plan.calls_per_minute,
        calls_budget=poller.budget.rate(now),
        stretch=poller.stretch(),
        webhooks=trust.relied_on if trust.configured else None,
    )
