"""`/metrics` as a table: name, help and labels of each metric, and the source of its values."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

from exporter.clock import MICROS
from exporter.domain.ledger import Family
from exporter.domain.spend import Spend
from exporter.domain.values import DropReason, Source, Status
from exporter.polling.poller import Poller
from exporter.polling.webhook_trust import WebhookTrust
from exporter.sources.listing import Sources
from exporter.vivix.payload import Plan

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]


class Followed(Protocol):
    """The parts of an account that a scrape reads."""

    @property
    def poller(self) -> Poller: ...
    @property
    def sources(self) -> Sources: ...


@dataclass(slots=True)
class InFlight:
    """The generations that an account has in flight, summed up for one scrape: by model and status, and by
    model."""

    count: dict[tuple[str, Status], int] = field(default_factory=lambda: defaultdict(int))
    oldest: dict[tuple[str, Status], float] = field(default_factory=dict)
    credits: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One account at the moment of a scrape; `now` is monotonic. `tier` and `models` are labels, bounded."""

    poller: Poller
    broken_files: int
    in_flight: InFlight
    plan: Plan | None
    spend: Spend | None
    tier: str | None
    models: Sequence[Labels]
    now: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric of the present. `labels` are those besides `account`."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Snapshot], Values]


@dataclass(frozen=True, slots=True)
class Known:
    """What an account's durable series can be known from beforehand: models and reasons seen so far."""

    models: Sequence[str]
    reasons: Iterable[str]


@dataclass(frozen=True, slots=True)
class Durable:
    """A metric that is the sum over all facts ever; `scale` is how many of the ledger's units make one.

    `expected` are the labels besides `account` that are shown as zero before they are counted: a counter that
    first appears with a 1 has no increase that a query could see.
    """

    name: str
    help: str
    labels: Labels
    family: Family
    expected: Callable[[Known], Iterable[Labels]]
    scale: int = 1


def _one(read: Callable[[Snapshot], float | bool | None]) -> Callable[[Snapshot], Values]:
    """A gauge without further labels, absent while its value is not known."""

    def values(snapshot: Snapshot) -> Values:
        value = read(snapshot)
        return [] if value is None else [((), float(value))]

    return values


def _of_plan(read: Callable[[Plan], float | None]) -> Callable[[Snapshot], Values]:
    return _one(lambda snapshot: None if snapshot.plan is None else read(snapshot.plan))


DOCUMENTED_REASONS = frozenset({"PROVIDER_ERROR", "INSUFFICIENT_CREDITS"})
"""Reasons of failures that the API's documents name: the status endpoint's, and its table of errors."""

_ENDS = tuple(status.value for status in Status if status.ended)


def _models(known: Known) -> Iterable[Labels]:
    return product(known.models)


def _models_and_ends(known: Known) -> Iterable[Labels]:
    return product(known.models, _ENDS)


def _relied_on(trust: WebhookTrust) -> bool | None:
    return trust.relied_on if trust.configured else None


GAUGES = (
    Gauge(
        "vivix_generations_in_flight",
        "Generations followed that are queued ('pending') or being rendered ('processing').",
        ("model", "status"),
        lambda s: [((model, status.value), n) for (model, status), n in s.in_flight.count.items()],
    ),
    Gauge(
        "vivix_generations_unseen",
        "Generations followed for which the API has not answered yet.",
        (),
        _one(lambda s: s.in_flight.unseen),
    ),
    Gauge(
        "vivix_credits_in_flight",
        "Credits that the generations in flight will cost, by the API's estimate.",
        ("model",),
        lambda s: [((model,), credits) for model, credits in s.in_flight.credits.items()],
    ),
    Gauge(
        "vivix_generation_oldest_in_flight_seconds",
        "Age of the oldest generation in flight; absent while there is none.",
        ("model", "status"),
        lambda s: [((model, status.value), age) for (model, status), age in s.in_flight.oldest.items()],
    ),
    Gauge(
        "vivix_account_up",
        "Whether the API answers for this account; 0 also while its key is refused.",
        (),
        _one(lambda s: s.poller.backoff.up),
    ),
    Gauge(
        "vivix_account_key_valid",
        "Whether the API accepts the account's key and plan; 0 after 401 or TIER_LOCKED.",
        (),
        _one(lambda s: s.poller.backoff.key_valid),
    ),
    Gauge(
        "vivix_account_credits_balance",
        "Credits in the account's wallet.",
        (),
        _of_plan(lambda plan: plan.balance),
    ),
    Gauge(
        "vivix_account_credits_spent",
        "Credits spent in this billing cycle, by the API; it starts again with each cycle.",
        (),
        _of_plan(lambda plan: plan.spent),
    ),
    Gauge(
        "vivix_account_credits_granted",
        "Credits granted for this billing cycle.",
        (),
        _of_plan(lambda plan: plan.granted),
    ),
    Gauge(
        "vivix_account_cycle_reset_timestamp_seconds",
        "When the billing cycle ends, in Unix time.",
        (),
        _of_plan(lambda plan: None if plan.cycle_resets_us is None else plan.cycle_resets_us / MICROS),
    ),
    Gauge(
        "vivix_account_spend_observed_credits",
        "Credits that the wallet has spent since the exporter first read it, through all cycles; as of the "
        "read before the last.",
        (),
        _one(lambda s: None if s.spend is None else s.spend.observed / MICROS),
    ),
    Gauge(
        "vivix_account_spend_followed_credits",
        "The part of them that the generations followed explain, as of the same read.",
        (),
        _one(lambda s: None if s.spend is None else s.spend.followed / MICROS),
    ),
    Gauge(
        "vivix_account_calls_per_minute_limit",
        "Calls a minute that the account's plan allows, the applications' own included.",
        (),
        _of_plan(lambda plan: plan.calls_per_minute),
    ),
    Gauge(
        "vivix_account_calls_remaining",
        "Calls left in the current minute, by the API's last answer; absent without one in the last minute.",
        (),
        _one(lambda s: s.poller.account_info.calls_remaining(s.now)),
    ),
    Gauge(
        "vivix_account_concurrent_jobs_limit",
        "Generations that the account's plan renders at once.",
        (),
        _of_plan(lambda plan: plan.concurrent_jobs),
    ),
    Gauge(
        "vivix_account_info",
        "1, with the account's tier.",
        ("tier",),
        lambda s: [] if s.tier is None else [((s.tier,), 1)],
    ),
    Gauge(
        "vivix_model_info",
        "1, with category and creator of each model that the account may use.",
        ("model", "category", "creator"),
        lambda s: [(labels, 1) for labels in s.models],
    ),
    Gauge(
        "vivix_exporter_webhooks_relied_on",
        "Whether ends are expected by webhook, so that polling is left to a safety net; 0 after several in a "
        "row did not come.",
        (),
        _one(lambda s: _relied_on(s.poller.follower.webhook_trust)),
    ),
    Gauge(
        "vivix_generation_files_broken",
        "Files of ids that cannot be read at present; what they last listed still holds.",
        (),
        _one(lambda s: s.broken_files),
    ),
    Gauge(
        "vivix_exporter_poll_budget_calls_per_minute",
        "Calls a minute that the exporter may spend on this account at present.",
        (),
        _one(lambda s: s.poller.budget.rate(s.now)),
    ),
    Gauge(
        "vivix_exporter_poll_stretch_ratio",
        "Factor by which pauses between polls are longer than wanted, to keep within the budget; 1 is none.",
        (),
        _one(lambda s: s.poller.stretch()),
    ),
)

DURABLES = (
    Durable(
        "vivix_generations",
        "Generations that ended.",
        ("model", "status"),
        Family.GENERATIONS,
        _models_and_ends,
    ),
    Durable(
        "vivix_generation_failures",
        "Generations that failed, by the API's error code.",
        ("model", "reason"),
        Family.FAILURES,
        lambda known: product(known.models, DOCUMENTED_REASONS.union(known.reasons)),
    ),
    Durable(
        "vivix_generation_duration_seconds",
        "Time from creation to end, the queue included.",
        ("model", "status"),
        Family.DURATION,
        _models_and_ends,
        MICROS,
    ),
    Durable(
        "vivix_generation_queue_seconds",
        "Time from creation until a poll first found the generation being rendered.",
        ("model",),
        Family.QUEUE,
        _models,
        MICROS,
    ),
    Durable(
        "vivix_credits_used",
        "Credits that ended generations cost; failures are refunded and cost none.",
        ("model",),
        Family.CREDITS,
        _models,
        MICROS,
    ),
    Durable(
        "vivix_generation_outputs",
        "Pictures, videos and sounds that completed generations brought.",
        ("model",),
        Family.OUTPUTS,
        _models,
    ),
    Durable(
        "vivix_generations_discovered",
        "Generations that the exporter learnt of, by source.",
        ("source",),
        Family.DISCOVERED,
        lambda _: product(Source),
    ),
    Durable(
        "vivix_generations_dropped",
        "Generations no longer followed although their end was not seen.",
        ("reason",),
        Family.DROPPED,
        lambda _: product(DropReason),
    ),
    Durable(
        "vivix_generations_backfilled",
        "Of the generations that ended, those that had ended more than 5 min before the exporter was told of "
        "them.",
        ("model", "status"),
        Family.BACKFILLED,
        _models_and_ends,
    ),
    Durable(
        "vivix_credits_estimated",
        "The API's estimates of the credits that ended generations would cost, where it gave one.",
        ("model", "status"),
        Family.ESTIMATES,
        _models_and_ends,
        MICROS,
    ),
    Durable(
        "vivix_credits_used_where_estimated",
        "Credits used by those completed generations of which the API had given an estimate.",
        ("model",),
        Family.CHARGED,
        _models,
        MICROS,
    ),
)
