"""Exemplars: for each bucket and each failure reason, the trace of a generation that was counted there.

Only of traces that the collector has, so that no exemplar leads to a trace that does not exist.
"""

from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.samples import Exemplar

from exporter.clock import MICROS
from exporter.domain.ledger import SUM, Additions, Family, Ledger, Series
from exporter.domain.traceid import trace_id
from exporter.domain.values import UNKNOWN, AccountName, Ended, Generation

OfCells = Mapping[str, Exemplar]
"""The exemplars of one series."""


class Exemplars:
    """The latest exemplar of each cell of the ledger; so there are never more than it has cells."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._latest: defaultdict[AccountName, dict[Series, OfCells]] = defaultdict(dict)
        self._copies: dict[AccountName, Mapping[Series, OfCells]] = {}

    def arrived(self, generation: Generation) -> None:
        """Record that the collector has the trace of this generation."""
        end = generation.end
        if end is None or not self._ledger.is_loaded(generation.account):
            return
        # Where it was counted is where its end would be entered once more.
        counted = Additions()
        self._ledger.enter(generation.account, Ended(generation.model or UNKNOWN, end), counted)
        labels = {"trace_id": trace_id(generation.id, generation.traceparent)}
        for series, cell in counted.amounts:
            if series.family is Family.FAILURES:
                self._keep(series, cell, Exemplar(labels, 1, end.recorded_us / MICROS))
            elif series.family is Family.DURATION and cell != SUM and end.duration_us is not None:
                self._keep(series, cell, Exemplar(labels, end.duration_us / MICROS, end.recorded_us / MICROS))

    def of(self, account: AccountName) -> Mapping[Series, OfCells]:
        """Return the exemplars of an account as they are now: the same object, and in it the same ones of
        each series, as long as none arrives."""
        copy = self._copies.get(account)
        if copy is None:
            copy = self._copies[account] = dict(self._latest.get(account, {}))
        return copy

    def _keep(self, series: Series, cell: str, exemplar: Exemplar) -> None:
        cells = self._latest[series.account].get(series, {})
        before = cells.get(cell)
        # Prometheus rejects one that is older than the last it scraped.
        if before is None or _at(exemplar) >= _at(before):
            self._latest[series.account][series] = {**cells, cell: exemplar}
            self._copies.pop(series.account, None)


def _at(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0.0)
