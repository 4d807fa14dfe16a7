"""The exporter's durable metrics against what the simulator knows to be true."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from exporter.config.schema import Metrics
from exporter.simulator.truth import Truth
from support.scrape import Scrape

BOUNDS_US = tuple(Metrics().duration_buckets)

Labels = TypeVar("Labels", bound=tuple[str, ...])


def assert_true(page: Scrape, truth: Truth, *, queues: bool = True) -> None:
    """Every durable metric equals the truth exactly. Without `queues`, the queue histogram is left out: what
    it holds depends on which answers arrived, which the simulator cannot know of a client that was killed."""
    assert page.of("vivix_generations_total") == dict(truth.ended)
    assert page.of("vivix_generation_failures_total") == dict(truth.failures)
    assert page.of("vivix_credits_used_total") == _some(truth.credits)
    assert page.of("vivix_generation_outputs_total") == _some(truth.outputs)
    _assert_histogram(page, "vivix_generation_duration_seconds", truth.durations_us)
    if queues:
        assert truth.doubtful_queues == 0
        _assert_histogram(page, "vivix_generation_queue_seconds", truth.queue_us)


def _assert_histogram(page: Scrape, name: str, durations_us: Mapping[Labels, Sequence[int]]) -> None:
    assert page.of(f"{name}_count") == {labels: len(values) for labels, values in durations_us.items()}
    sums = {labels: round(total * 1_000_000) for labels, total in page.of(f"{name}_sum").items()}
    assert sums == {labels: sum(values) for labels, values in durations_us.items()}
    for index, bound_us in enumerate(BOUNDS_US):
        counts = Counter(
            {
                labels: sum(bisect_left(BOUNDS_US, value) <= index for value in values)
                for labels, values in durations_us.items()
            }
        )
        assert page.of(f"{name}_bucket", le=str(bound_us / 1_000_000)) == _some(counts)
    total = {labels: len(values) for labels, values in durations_us.items()}
    assert page.of(f"{name}_bucket", le="+Inf") == total


def _some(values: Mapping[Labels, int]) -> dict[Labels, float]:
    """Those that are not zero: a counter at zero and none at all say the same."""
    return {labels: value for labels, value in values.items() if value}
