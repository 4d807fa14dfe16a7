"""The text of `/metrics` in one format, byte for byte what the client library's encoder writes.

A series is written anew when its total has changed; a scrape joins what is there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType

from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import escape_label_name
from prometheus_client.registry import Collector as PrometheusCollector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from exporter.clock import MICROS
from exporter.domain.ledger import HISTOGRAMS, INFINITE, SUM, VALUE, Series, Totals, bucket_cell
from exporter.domain.values import AccountName
from exporter.metrics.collector import Facts
from exporter.metrics.exemplars import OfCells
from exporter.metrics.families import DURABLES, GAUGES, Durable, Known

_OVERFLOW = Metric(
    "vivix_exporter_label_overflow",
    "Counted under 'other' because the account had reached its limit of values for this label.",
    "counter",
)
_number: Callable[[float], str] = floatToGoString
_NOTHING: Mapping[str, int] = MappingProxyType({})
_NONE: OfCells = MappingProxyType({})
_EOF = b"# EOF\n"


class Families(PrometheusCollector):
    """Families that have been collected already, as the client library's encoders need them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@dataclass(frozen=True, slots=True)
class _Written:
    """The text of one series, and what it was written from."""

    cells: Mapping[str, int]
    exemplars: OfCells
    text: bytes


@dataclass(slots=True)
class _Account:
    """The text of an account's totals, a block of series for each durable metric, and what it was written
    from."""

    totals: Totals = field(default_factory=dict)
    exemplars: Mapping[Series, OfCells] = field(default_factory=dict)
    known: Known | None = None
    series: dict[Series, _Written] = field(default_factory=dict)
    blocks: list[list[bytes]] = field(default_factory=list)


class Rendering:
    """The page in one format, and what of it can be used again. For one thread at a time."""

    def __init__(
        self,
        encode: Callable[[PrometheusCollector], bytes],
        bounds_us: Sequence[int],
        escaping: str,
        *,
        openmetrics: bool,
    ) -> None:
        """`encode` is the library's encoder of the format, and `escaping` what it makes of names; `bounds_us`
        are those of the ledger."""
        self._encode = encode
        self._escaping = escaping
        self._openmetrics = openmetrics
        self._cells = [*map(bucket_cell, bounds_us), INFINITE]
        self._bounds = [*(str(bound / MICROS) for bound in bounds_us), "+Inf"]
        self._accounts: dict[AccountName, _Account] = {}
        self._heads: dict[str, bytes] = {}
        self._names: dict[str, str] = {}
        self._beginnings: dict[tuple[str, tuple[str, ...]], str] = {}
        self._used: dict[tuple[str, tuple[str, ...]], str] = {}

    def page(self, accounts: Sequence[Facts], others: Iterable[Metric]) -> bytes:
        """Return the page: the families of the contract's table, then the exporter's own and the `others`."""
        self._accounts = {facts.account: self._account(facts) for facts in accounts}
        self._used = {}
        page = b"".join(self._parts(accounts, others))
        self._beginnings = self._used
        return page

    def _parts(self, accounts: Sequence[Facts], others: Iterable[Metric]) -> Iterator[bytes]:
        for place, durable in enumerate(DURABLES):
            kind = "histogram" if durable.family in HISTOGRAMS else "counter"
            yield self._head(Metric(durable.name, durable.help, kind))
            for facts in accounts:
                yield from self._accounts[facts.account].blocks[place]
        for place, gauge in enumerate(GAUGES):
            yield self._head(Metric(gauge.name, gauge.help, "gauge"))
            names = ("account", *gauge.labels)
            yield "".join(
                self._line(gauge.name, names, (facts.account, *labels), value)
                for facts in accounts
                for labels, value in facts.gauges[place]
            ).encode()
        yield self._head(_OVERFLOW)
        yield "".join(
            self._line(f"{_OVERFLOW.name}_total", ("account", "label"), (facts.account, label), count)
            for facts in accounts
            for label, count in facts.overflow.items()
        ).encode()
        for metric in others:
            yield self._head(metric)
            # The library adds times of creation to its counters, which are no metrics of ours.
            yield "".join(
                self._line(sample.name, tuple(sample.labels), tuple(sample.labels.values()), sample.value)
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ).encode()
        if self._openmetrics:
            yield _EOF

    def _head(self, metric: Metric) -> bytes:
        head = self._heads.get(metric.name)
        if head is None:
            alone = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            head = self._heads[metric.name] = self._encode(Families([alone])).removesuffix(_EOF)
        return head

    def _line(self, name: str, names: Sequence[str], values: tuple[str, ...], value: float) -> str:
        key = name, values
        beginning = self._beginnings.get(key)
        if beginning is None:
            beginning = self._beginning(name, zip(names, values, strict=True))
        self._used[key] = beginning
        return f"{beginning}{_number(value)}\n"

    def _beginning(self, name: str, labels: Iterable[tuple[str, str]]) -> str:
        """Return all of a line that comes before its value."""
        written = ",".join(
            f'{escape_label_name(label, self._escaping)}="{_escaped(value)}"'
            for label, value in sorted(labels)
        )
        return f"{self._name(name)}{f'{{{written}}}' if written else ''} "

    def _name(self, name: str) -> str:
        """Return the name of a sample as the encoder writes it, which is not always as in the head."""
        written = self._names.get(name)
        if written is None:
            metric = Metric(name, "", "unknown")
            metric.add_sample(name, {}, 0)
            line = self._encode(Families([metric])).removesuffix(_EOF).splitlines()[-1]
            written = self._names[name] = line.split()[0].decode()
        return written

    def _account(self, facts: Facts) -> _Account:
        before = self._accounts.get(facts.account, _Account())
        if (
            before.totals is facts.totals
            and before.exemplars is facts.exemplars
            and before.known == facts.known
        ):
            return before
        after = _Account(facts.totals, facts.exemplars, facts.known)
        shown: defaultdict[str, dict[Series, Mapping[str, int]]] = defaultdict(dict)
        for series, cells in facts.totals.items():
            shown[series.family][series] = cells
        for durable in DURABLES:
            for labels in durable.expected(facts.known):
                shown[durable.family].setdefault(Series(facts.account, durable.family, labels), _NOTHING)
            written = []
            for series, cells in shown[durable.family].items():
                exemplars = facts.exemplars.get(series, _NONE) if self._openmetrics else _NONE
                one = before.series.get(series)
                if one is None or one.cells is not cells or one.exemplars is not exemplars:
                    one = _Written(
                        cells, exemplars, self._durable(durable, series, cells, exemplars).encode()
                    )
                after.series[series] = one
                written.append(one.text)
            after.blocks.append(written)
        return after

    def _durable(self, durable: Durable, series: Series, cells: Mapping[str, int], exemplars: OfCells) -> str:
        labels = list(zip(("account", *durable.labels), (series.account, *series.labels), strict=True))
        if durable.family not in HISTOGRAMS:
            beginning = self._beginning(f"{durable.name}_total", labels)
            value = cells.get(VALUE, 0) / durable.scale
            return f"{beginning}{_number(value)}{_exemplar(cells, exemplars, VALUE)}\n"
        counts = list(accumulate(cells.get(cell, 0) for cell in self._cells))
        lines = [
            f"{self._beginning(f'{durable.name}_bucket', [*labels, ('le', bound)])}{_number(count)}"
            f"{_exemplar(cells, exemplars, cell)}\n"
            for bound, cell, count in zip(self._bounds, self._cells, counts, strict=True)
        ]
        total = cells.get(SUM, 0) / durable.scale
        lines.append(f"{self._beginning(f'{durable.name}_count', labels)}{_number(counts[-1])}\n")
        lines.append(f"{self._beginning(f'{durable.name}_sum', labels)}{_number(total)}\n")
        return "".join(lines)


def _exemplar(cells: Mapping[str, int], exemplars: OfCells, cell: str) -> str:
    """Return what follows the value of a cell that holds something; the buckets may have changed since."""
    exemplar: Exemplar | None = exemplars.get(cell) if cells.get(cell) else None
    if exemplar is None:
        return ""
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(exemplar.labels.items()))
    return f" # {{{labels}}} {_number(exemplar.value)} {exemplar.timestamp}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
