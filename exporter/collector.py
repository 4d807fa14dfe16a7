"""`/metrics`: what is shown, as a table, and how it is read off the ledger and the accounts at a scrape.

A row of the tables is a metric: name, help, labels and where its values come from. Nothing is kept up to date
between scrapes, so nothing can drift.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from exporter.clock import MICROS, Clock
from exporter.ledger import HISTOGRAMS, INFINITE, SUM, VALUE, Family, Ledger, Series, bucket_cell
from exporter.payload import Plan
from exporter.poller import Poller
from exporter.values import UNKNOWN, AccountName, Status

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]


@dataclass(slots=True)
class InFlight:
    """What an account has in flight, summed up for one scrape: by model and status, and by model."""

    count: dict[tuple[str, Status], int] = field(default_factory=lambda: defaultdict(int))
    oldest: dict[tuple[str, Status], float] = field(default_factory=dict)
    credits: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One account at the moment of a scrape; `now` is monotonic."""

    poller: Poller
    in_flight: InFlight
    plan: Plan | None
    now: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric that is what it is now. `labels` are those besides `account`."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Snapshot], Values]


@dataclass(frozen=True, slots=True)
class Durable:
    """A metric that is the sum over all facts ever; `scale` is how many of the ledger's units make one."""

    name: str
    help: str
    labels: Labels
    family: Family
    scale: int = 1


def _one(read: Callable[[Snapshot], float | bool | None]) -> Callable[[Snapshot], Values]:
    """A gauge without further labels, absent while its value is not known."""

    def values(snapshot: Snapshot) -> Values:
        value = read(snapshot)
        return [] if value is None else [((), float(value))]

    return values


def _of_plan(read: Callable[[Plan], float | None]) -> Callable[[Snapshot], Values]:
    return _one(lambda snapshot: None if snapshot.plan is None else read(snapshot.plan))


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
        "Whether the last call for this account was answered by the API.",
        (),
        _one(lambda s: s.poller.standing.up),
    ),
    Gauge(
        "vivix_account_key_valid",
        "Whether the API accepts the account's key and plan; 0 after 401 or TIER_LOCKED.",
        (),
        _one(lambda s: s.poller.standing.key_valid),
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
        "vivix_account_calls_per_minute_limit",
        "Calls a minute that the account's plan allows, the applications' own included.",
        (),
        _of_plan(lambda plan: plan.calls_per_minute),
    ),
    Gauge(
        "vivix_account_calls_remaining",
        "Calls left in the current minute, by the API's last answer; absent without one in the last minute.",
        (),
        _one(lambda s: s.poller.catalogue.calls_remaining(s.now)),
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
        lambda s: [((s.plan.tier,), 1)] if s.plan is not None and s.plan.tier is not None else [],
    ),
    Gauge(
        "vivix_model_info",
        "1, with category and creator of each model that the account may use.",
        ("model", "category", "creator"),
        lambda s: [((m.slug, m.category, m.creator), 1) for m in s.poller.catalogue.models(s.now)],
    ),
    Gauge(
        "vivix_exporter_poll_budget_calls_per_minute",
        "Calls a minute that the exporter may spend on this account at present.",
        (),
        _one(lambda s: s.poller.budget.rate(s.now)),
    ),
    Gauge(
        "vivix_exporter_poll_stretch_ratio",
        "Factor by which pauses between looks are longer than wished, to keep within the budget; 1 is none.",
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
    ),
    Durable(
        "vivix_generation_failures",
        "Generations that failed, by the API's error code.",
        ("model", "reason"),
        Family.FAILURES,
    ),
    Durable(
        "vivix_generation_duration_seconds",
        "Time from creation to end, the queue included.",
        ("model", "status"),
        Family.DURATION,
        MICROS,
    ),
    Durable(
        "vivix_generation_queue_seconds",
        "Time from creation until a look first found the generation being rendered.",
        ("model",),
        Family.QUEUE,
        MICROS,
    ),
    Durable(
        "vivix_credits_used",
        "Credits that ended generations cost; failures are refunded and cost none.",
        ("model",),
        Family.CREDITS,
        MICROS,
    ),
    Durable(
        "vivix_generation_outputs",
        "Pictures, videos and sounds that completed generations brought.",
        ("model",),
        Family.OUTPUTS,
    ),
    Durable(
        "vivix_generations_discovered",
        "Generations that the exporter was told of, by who told it first.",
        ("source",),
        Family.DISCOVERED,
    ),
    Durable(
        "vivix_generations_dropped",
        "Generations no longer followed although their end was not seen.",
        ("reason",),
        Family.DROPPED,
    ),
)

_OVERFLOW = (
    "vivix_exporter_label_overflow",
    "Counted under 'other' because the account had reached its limit of values for this label.",
)


class Collector:
    """Reads everything that is shown. `collect` is quick and must be called on the event loop; the families
    that it returns belong to the caller."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ledger: Ledger,
        pollers: Mapping[AccountName, Poller],
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._ledger = ledger
        self._pollers = pollers
        self._clock = clock

    def collect(self) -> list[Metric]:
        """All families, in the order of the contract's table, then the exporter's own."""
        snapshots = [self._snapshot(poller) for poller in self._pollers.values()]
        return [
            *(self._durable(durable) for durable in DURABLES),
            *(self._gauge(gauge, snapshots) for gauge in GAUGES),
            self._overflow(),
            *map(_without_created, self._registry.collect()),
        ]

    def _gauge(self, gauge: Gauge, snapshots: Iterable[Snapshot]) -> Metric:
        family = GaugeMetricFamily(gauge.name, gauge.help, labels=("account", *gauge.labels))
        for snapshot in snapshots:
            for labels, value in gauge.read(snapshot):
                family.add_metric((snapshot.poller.account, *labels), value)
        return family

    def _durable(self, durable: Durable) -> Metric:
        labels = ("account", *durable.labels)
        series = (
            ((account, *series.labels), cells)
            for account in self._pollers
            for series, cells in self._started(account, durable.family)
        )
        if durable.family not in HISTOGRAMS:
            counter = CounterMetricFamily(durable.name, durable.help, labels=labels)
            for values, cells in series:
                counter.add_metric(values, cells.get(VALUE, 0) / durable.scale)
            return counter
        histogram = HistogramMetricFamily(durable.name, durable.help, labels=labels)
        for values, cells in series:
            histogram.add_metric(values, self._buckets(cells), cells.get(SUM, 0) / durable.scale)
        return histogram

    def _started(self, account: AccountName, family: Family) -> Iterator[tuple[Series, Mapping[str, int]]]:
        """The account's series, and a zero for each that its known models will have: a counter that first
        appears with a 1 has no increase that a query could see."""
        shown = dict(self._ledger.series(account, family))
        for labels in self._expected(account, family):
            shown.setdefault(Series(account, family, labels), {})
        yield from shown.items()

    def _expected(self, account: AccountName, family: Family) -> Iterator[Labels]:
        statuses = [status.value for status in Status if status.ended]
        for model in self._ledger.known_models(account):
            if family in (Family.GENERATIONS, Family.DURATION):
                yield from ((model, status) for status in statuses)
            elif family in (Family.CREDITS, Family.OUTPUTS, Family.QUEUE):
                yield (model,)

    def _buckets(self, cells: Mapping[str, int]) -> list[tuple[str, float]]:
        bounds = self._ledger.bounds_us
        counts = accumulate([*(cells.get(bucket_cell(bound), 0) for bound in bounds), cells.get(INFINITE, 0)])
        names = [*(str(bound / MICROS) for bound in bounds), "+Inf"]
        return list(zip(names, map(float, counts), strict=True))

    def _overflow(self) -> Metric:
        name, text = _OVERFLOW
        family = CounterMetricFamily(name, text, labels=("account", "label"))
        for account in self._pollers:
            for label in ("model", "reason"):
                family.add_metric((account, label), self._ledger.overflow[account, label])
        return family

    def _snapshot(self, poller: Poller) -> Snapshot:
        now, now_us = self._clock.monotonic(), self._clock.now_us()
        in_flight = InFlight()
        for model in self._ledger.known_models(poller.account):
            in_flight.credits[model] = 0.0
            for one in (Status.PENDING, Status.PROCESSING):
                in_flight.count[model, one] = 0
        for generation in poller.follower.generations:
            status = generation.status
            if status is None:
                in_flight.unseen += 1
                continue
            model = self._ledger.models.fold(poller.account, generation.model or UNKNOWN)
            in_flight.count[model, status] += 1
            in_flight.credits[model] += (generation.credits_estimate_micro or 0) / MICROS
            since_us = generation.created_us or generation.discovered_us
            age = max(0.0, (now_us - since_us) / MICROS)
            in_flight.oldest[model, status] = max(age, in_flight.oldest.get((model, status), 0.0))
        return Snapshot(poller, in_flight, poller.catalogue.plan(now), now)


def _without_created(metric: Metric) -> Metric:
    """The library adds a gauge with the time of creation to each of its counters, which nobody asked for."""
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric
