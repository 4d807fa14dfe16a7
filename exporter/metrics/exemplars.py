"""Exemplars: for each bucket and each failure reason, the trace of a generation that was counted there.

Only of traces that the collector has, so that no exemplar leads to a trace that does not exist.
"""

from prometheus_client.samples import Exemplar

from exporter.clock import MICROS
from exporter.domain.ledger import SUM, Additions, Family, Ledger, Series
from exporter.domain.traceid import trace_id
from exporter.domain.values import UNKNOWN, Ended, Generation


class Exemplars:
    """The latest exemplar of each cell of the ledger; so there are never more than it has cells."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._latest: dict[tuple[Series, str], Exemplar] = {}

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

    def of(self, series: Series, cell: str) -> Exemplar | None:
        """Return the exemplar of a cell, where there is one."""
        return self._latest.get((series, cell))

    def _keep(self, series: Series, cell: str, exemplar: Exemplar) -> None:
        before = self._latest.get((series, cell))
        # Prometheus rejects one that is older than the last it scraped.
        if before is None or _at(exemplar) >= _at(before):
            self._latest[series, cell] = exemplar


def _at(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0.0)
