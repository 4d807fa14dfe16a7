"""Whole pages are what the client library's encoder writes of the same facts, whatever was written before."""

from collections.abc import Iterable
from itertools import accumulate

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from exporter.clock import MICROS
from exporter.domain.ledger import (
    HISTOGRAMS,
    INFINITE,
    SUM,
    VALUE,
    Additions,
    Label,
    Ledger,
    Series,
    bucket_cell,
)
from exporter.domain.values import (
    AccountName,
    Discovered,
    Dropped,
    DropReason,
    End,
    Ended,
    Generation,
    GenerationId,
    Source,
    Started,
    Status,
    Via,
)
from exporter.metrics.collector import Facts
from exporter.metrics.exemplars import Exemplars
from exporter.metrics.families import DURABLES, GAUGES, Known
from exporter.metrics.rendering import Families, Rendering

S = 1_000_000
STUDIO, ODD = AccountName("studio"), AccountName('odd "name" \\ of\nlines, ünd {more}')
ACCEPTED = [
    "",
    "text/plain; version=0.0.4",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8",
    "application/openmetrics-text; version=1.0.0; escaping=dots",
    "application/openmetrics-text; version=1.0.0; escaping=values",
]


class World:
    """A ledger, exemplars, gauges and instruments that change between scrapes."""

    def __init__(self) -> None:
        self.ledger = Ledger((S // 2, S, 2_500_000, 600 * S), 3, 3)
        self.exemplars = Exemplars(self.ledger)
        self.registry = CollectorRegistry()
        self.calls = Counter("vivix_calls", "Calls\nof \\ all.", ["account"], registry=self.registry)
        self.took = Histogram("vivix_took_seconds", "Time.", ["account"], registry=self.registry)
        self.bare = Gauge("vivix_bare", "Without labels.", registry=self.registry)
        self.accounts = [STUDIO, ODD]
        self.gauge = 0.0

    def end(self, account: AccountName, model: str, seconds: float, reason: str | None = None) -> None:
        status = Status.FAILED if reason else Status.COMPLETED
        end = End(
            status, 5 * S, 1_762_000_014_250_000, Via.POLL, round(seconds * S), 4_250_001, 2, reason, ""
        )
        additions = Additions()
        self.ledger.enter(account, Ended(model, end), additions)
        self.ledger.enter(account, Started(model, 70_000), additions)
        self.ledger.enter(account, Discovered(Source.API), additions)
        self.ledger.enter(account, Dropped(DropReason.GAVE_UP), additions)
        self.ledger.commit(additions)
        id = GenerationId(f"{model}-{seconds}")
        self.exemplars.arrived(
            Generation(account, id, Source.API, 0, status=status, model=model, created_us=0, end=end)
        )

    def facts(self) -> list[Facts]:
        values = [-1.5, float("inf"), 3e-07, 1234567.0, 2.0**70, self.gauge]
        return [
            Facts(
                account,
                Known(self.ledger.known_models(account), self.ledger.known_reasons(account)),
                self.ledger.totals(account),
                self.exemplars.of(account),
                [
                    [(tuple(f'{label}="{n}"\\' for label in gauge.labels), value)]
                    for n, (gauge, value) in enumerate(zip(GAUGES, values * 9, strict=False))
                ],
                {label: self.ledger.overflow[account, label] for label in Label},
            )
            for account in self.accounts
        ]

    def families(self) -> Iterable[Metric]:
        """The same as the library's families."""
        facts = self.facts()
        for durable in DURABLES:
            names = ("account", *durable.labels)
            counter = CounterMetricFamily(durable.name, durable.help, labels=names)
            histogram = HistogramMetricFamily(durable.name, durable.help, labels=names)
            for one in facts:
                shown = {s: cells for s, cells in one.totals.items() if s.family is durable.family}
                for labels in durable.expected(one.known):
                    shown.setdefault(Series(one.account, durable.family, labels), {})
                for series, cells in shown.items():
                    of = one.exemplars.get(series, {})
                    values = (series.account, *series.labels)
                    counter.add_metric(values, cells.get(VALUE, 0) / durable.scale, exemplar=of.get(VALUE))
                    keys = [*map(bucket_cell, self.ledger.bounds_us), INFINITE]
                    bounds = [*(str(bound / MICROS) for bound in self.ledger.bounds_us), "+Inf"]
                    counts = accumulate(cells.get(key, 0) for key in keys)
                    buckets = [
                        (bound, count, of[key]) if key in of else (bound, count)
                        for bound, key, count in zip(bounds, keys, counts, strict=True)
                    ]
                    histogram.add_metric(values, buckets, cells.get(SUM, 0) / durable.scale)
            yield histogram if durable.family in HISTOGRAMS else counter
        for place, gauge in enumerate(GAUGES):
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=("account", *gauge.labels))
            for one in facts:
                for labels, value in one.gauges[place]:
                    family.add_metric((one.account, *labels), value)
            yield family
        overflow = CounterMetricFamily(
            "vivix_exporter_label_overflow",
            "Counted under 'other' because the account had reached its limit of values for this label.",
            labels=("account", "label"),
        )
        for one in facts:
            for label, count in one.overflow.items():
                overflow.add_metric((one.account, label), count)
        yield overflow
        for metric in self.registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


@pytest.mark.parametrize("accept", ACCEPTED)
def test_a_page_is_what_the_encoder_writes_each_time(accept: str) -> None:
    world = World()
    encode, content_type = choose_encoder(accept)
    escaping = content_type.rpartition("escaping=")[2] if "escaping=" in content_type else "underscores"
    rendering = Rendering(
        encode, world.ledger.bounds_us, escaping, openmetrics=content_type.startswith("application")
    )

    def compare() -> bytes:
        page = rendering.page(world.facts(), world.registry.collect())
        assert page == encode(Families(world.families()))
        return page

    first = compare()
    assert compare() == first
    world.end(STUDIO, "m", 0.4)
    world.end(STUDIO, "n", 3.0)
    second = compare()
    world.end(STUDIO, "n", 3.1)
    world.end(STUDIO, "n", 900.0, reason="NSFW")
    world.end(ODD, 'm"\\\n', 1.0, reason="PROVIDER_ERROR")
    world.calls.labels(ODD).inc(10_000_000)
    world.took.labels(STUDIO).observe(0.3)
    world.gauge = 17.25
    assert compare() not in (first, second)
    for model in "opqr":
        world.end(STUDIO, model, 2.0)
    world.bare.set(3)
    compare()
    world.accounts.remove(STUDIO)
    compare()
    world.accounts.insert(0, STUDIO)
    compare()


def test_series_whose_total_did_not_change_are_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world, written = World(), []
    encode, _ = choose_encoder("")
    rendering = Rendering(encode, world.ledger.bounds_us, "underscores", openmetrics=False)
    original = Rendering._durable

    def durable(self: Rendering, of: object, series: Series, *rest: object) -> str:
        written.append(series)
        return original(self, of, series, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Rendering, "_durable", durable)
    world.end(STUDIO, "m", 0.4)
    world.end(STUDIO, "n", 0.4)
    rendering.page(world.facts(), [])
    written.clear()
    rendering.page(world.facts(), [])
    assert written == []
    world.end(STUDIO, "m", 0.4)
    rendering.page(world.facts(), [])
    assert {series.labels for series in written} == {("m",), ("m", "completed"), ("api",), ("gave_up",)}
