"""How an account stands at present, as the process that follows it knows, and tells replicas that do not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from exporter.domain.values import AccountName
from exporter.polling.poller import Poller


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


_NAMES = {field.name for field in fields(Present)}


def present(accounts: Mapping[AccountName, Followed], now: float) -> dict[AccountName, Present]:
    """Return how accounts stand at `now`, in monotonic seconds. To be called on the event loop."""
    return {name: _present(account.poller, now) for name, account in accounts.items()}


def to_json(accounts: Mapping[AccountName, Present]) -> str:
    """Return how accounts stand, for replicas that do not follow them."""
    return json.dumps({name: asdict(one) for name, one in accounts.items()})


def from_json(owners: Mapping[AccountName, str], told: Mapping[str, str]) -> dict[AccountName, Present]:
    """Return how accounts stand by what their owners have told; without those of which another version tells
    other things."""
    said = {replica: json.loads(text) for replica, text in told.items()}
    found = {account: said.get(replica, {}).get(account, {}) for account, replica in owners.items()}
    return {
        account: Present(**{name: one[name] for name in _NAMES})
        for account, one in found.items()
        if one.keys() >= _NAMES
    }


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
