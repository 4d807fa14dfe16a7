"""Which metrics there are, by the table of docs/metrics.md, which is itself compared with the page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixin.records import records

_DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"
_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram)[^|]*\|([^|]*)\|", re.MULTILINE)


@dataclass(frozen=True)
class Metric:
    """One metric, or the part of a histogram that a query names; `labels` without those of the scrape."""

    kind: str
    labels: frozenset[str]


OTHERS = {
    "up": Metric("gauge", frozenset()),
    "process_start_time_seconds": Metric("gauge", frozenset()),
    "scrape_duration_seconds": Metric("gauge", frozenset()),
    "process_cpu_seconds_total": Metric("counter", frozenset()),
    "process_resident_memory_bytes": Metric("gauge", frozenset()),
    "ALERTS_FOR_STATE": Metric("gauge", frozenset({"alertname", "severity", "account", "model"})),
    "ALERTS": Metric("gauge", frozenset({"alertname", "alertstate", "severity", "account", "model"})),
}
"""Prometheus' own and the client library's; known() adds what our rule file records."""


def known() -> Mapping[str, Metric]:
    """Every name that a query may use, a histogram's three included."""
    metrics = dict(OTHERS)
    for name, kind, labels in _ROW.findall(_DOCUMENT.read_text()):
        metrics[name] = Metric(kind, frozenset(filter(None, re.split(r"[\s,]+", labels))))
    for name, metric in list(metrics.items()):
        if metric.kind == "histogram":
            metrics[f"{name}_bucket"] = Metric("counter", metric.labels | {"le"})
            metrics[f"{name}_sum"] = metrics[f"{name}_count"] = Metric("counter", metric.labels)
    for record in records():
        level, _, _ = record.name.partition(":")
        labels = frozenset(level.split("_")) - {"job"} if level != "vivix" else frozenset()
        metrics[record.name] = Metric("recorded", labels)
    return metrics
