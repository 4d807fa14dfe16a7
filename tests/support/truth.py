"""The exporter's durable metrics against what the simulator knows to be true."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.config.schema import Metrics
from exporter.simulator.truth import Truth
from support.scrape import Scrape

BOUNDS_US = tuple(Metrics().duration_buckets)

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What the samples of one name with these labels should be, by their other labels; `scale` turns the
    page's unit into that of `expected`."""

    name: str
    expected: Mapping[Any, float]
    having: Mapping[str, str] = field(default_factory=dict)
    scale: int = 1

    def found(self, page: Scrape) -> dict[Labels, float]:
        """What the page shows."""
        found = page.of(self.name, **self.having)
        return found if self.scale == 1 else {key: round(value * self.scale) for key, value in found.items()}


def comparisons(truth: Truth, *, queues: bool = True) -> Iterator[Comparison]:
    """Everything that must be equal. Without `queues`, the queue histogram is left out: what it holds depends
    on which answers arrived, which the simulator cannot know of a client that was killed."""
    yield Comparison("vivix_generations_total", dict(truth.ended))
    yield Comparison("vivix_generation_failures_total", dict(truth.failures))
    yield Comparison("vivix_credits_used_total", _some(truth.credits))
    yield Comparison("vivix_generation_outputs_total", _some(truth.outputs))
    yield from _histogram("vivix_generation_duration_seconds", truth.durations_us)
    if queues:
        yield from _histogram("vivix_generation_queue_seconds", truth.queue_us)


def assert_true(page: Scrape, truth: Truth, *, queues: bool = True) -> None:
    """Every durable metric equals the truth exactly; `queues` as in `comparisons`."""
    if queues:
        assert truth.doubtful_queues == 0
    for one in comparisons(truth, queues=queues):
        assert one.found(page) == one.expected, f"{one.name}{dict(one.having) or ''}"


def _histogram(name: str, durations_us: Mapping[Any, Sequence[int]]) -> Iterator[Comparison]:
    count = {labels: len(values) for labels, values in durations_us.items()}
    yield Comparison(f"{name}_count", count)
    total = {labels: sum(values) for labels, values in durations_us.items()}
    yield Comparison(f"{name}_sum", total, scale=1_000_000)
    for index, bound_us in enumerate(BOUNDS_US):
        within = Counter(
            {
                labels: sum(bisect_left(BOUNDS_US, value) <= index for value in values)
                for labels, values in durations_us.items()
            }
        )
        yield Comparison(f"{name}_bucket", _some(within), {"le": str(bound_us / 1_000_000)})
    yield Comparison(f"{name}_bucket", count, {"le": "+Inf"})


def _some(values: Mapping[Any, int]) -> dict[Any, float]:
    """Those that are not zero: a counter at zero and none at all say the same."""
    return {labels: value for labels, value in values.items() if value}
