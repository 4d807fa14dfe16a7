"""`/metrics`: the table of families, read from the ledger and the accounts at each scrape.

Nothing is kept up to date between scrapes, so nothing can drift.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.samples import Exemplar

from exporter.clock import MICROS, Clock
from exporter.domain.ledger import HISTOGRAMS, INFINITE, SUM, VALUE, Label, Ledger, Series, bucket_cell
from exporter.domain.values import UNKNOWN, AccountName, Status
from exporter.metrics.exemplars import Exemplars
from exporter.metrics.families import DURABLES, GAUGES, Durable, Followed, Gauge, InFlight, Known, Snapshot
from exporter.metrics.info_labels import InfoLabels

_OVERFLOW = (
    "vivix_exporter_label_overflow",
    "Counted under 'other' because the account had reached its limit of values for this label.",
)


class Collector:
    """What a scrape shows. `collect` must be called on the event loop; the families that it returns belong to
    the caller."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ledger: Ledger,
        accounts: Mapping[AccountName, Followed],
        exemplars: Exemplars,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._ledger = ledger
        self._accounts = accounts
        self._exemplars = exemplars
        self._clock = clock
        self._info_labels = InfoLabels(ledger)

    def collect(self) -> list[Metric]:
        """Return all families, in the order of the contract's table, then the exporter's own."""
        snapshots = [self._snapshot(account) for account in self._accounts.values()]
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
        shown = [series for account in self._accounts for series in self._series(account, durable)]
        if durable.family not in HISTOGRAMS:
            counter = CounterMetricFamily(durable.name, durable.help, labels=labels)
            for series, cells in shown:
                value = cells.get(VALUE, 0) / durable.scale
                exemplar = self._exemplar(series, cells, VALUE)
                counter.add_metric((series.account, *series.labels), value, exemplar=exemplar)
            return counter
        histogram = HistogramMetricFamily(durable.name, durable.help, labels=labels)
        for series, cells in shown:
            histogram.add_metric(
                (series.account, *series.labels),
                self._buckets(series, cells),
                cells.get(SUM, 0) / durable.scale,
            )
        return histogram

    def _exemplar(self, series: Series, cells: Mapping[str, int], cell: str) -> Exemplar | None:
        """Return the exemplar of a cell that holds something; the buckets may have changed since."""
        return self._exemplars.of(series, cell) if cells.get(cell) else None

    def _series(self, account: AccountName, durable: Durable) -> Iterable[tuple[Series, Mapping[str, int]]]:
        shown = dict(self._ledger.series(account, durable.family))
        known = Known(self._ledger.known_models(account), self._ledger.known_reasons(account))
        for labels in durable.expected(known):
            shown.setdefault(Series(account, durable.family, labels), {})
        return shown.items()

    def _buckets(
        self, series: Series, cells: Mapping[str, int]
    ) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        bounds = self._ledger.bounds_us
        keys = [*map(bucket_cell, bounds), INFINITE]
        names = [*(str(bound / MICROS) for bound in bounds), "+Inf"]
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for name, key, count in zip(names, keys, accumulate(cells.get(key, 0) for key in keys), strict=True):
            exemplar = self._exemplar(series, cells, key)
            buckets.append((name, count) if exemplar is None else (name, count, exemplar))
        return buckets

    def _overflow(self) -> Metric:
        name, text = _OVERFLOW
        family = CounterMetricFamily(name, text, labels=("account", "label"))
        for account in self._accounts:
            for label in Label:
                family.add_metric((account, label), self._ledger.overflow[account, label])
        return family

    def _snapshot(self, account: Followed) -> Snapshot:
        poller = account.poller
        now = self._clock.monotonic()
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
            model = self._ledger.shown_model(poller.account, generation.model or UNKNOWN)
            in_flight.count[model, status] += 1
            in_flight.credits[model] += (generation.credits_estimate_micro or 0) / MICROS
            age = poller.follower.age(generation.id)
            in_flight.oldest[model, status] = max(age, in_flight.oldest.get((model, status), 0.0))
        plan = poller.account_info.plan(now)
        tier = plan.tier if plan is not None else None
        return Snapshot(
            poller=poller,
            broken_files=account.sources.broken_files,
            in_flight=in_flight,
            plan=plan,
            tier=None if tier is None else self._info_labels.tier(poller.account, tier),
            models=self._info_labels.models(poller.account, poller.account_info.models(now)),
            now=now,
        )


def _without_created(metric: Metric) -> Metric:
    """Return the metric without the times of creation that the library adds to its counters."""
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric
