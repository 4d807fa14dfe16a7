"""The order of tests that several processes share: whoever starts with the long ones ends with the others."""

import heapq
from collections.abc import Sequence

import pytest


def long_first(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """These tests so that each process starts with its share of those marked `long`, longest first. The
    others keep their order, so that what a module sets up is set up once.

    It stands on `--dist worksteal`, which first gives each process as many neighbours as any other."""
    long = sorted((item for item in items if seconds(item)), key=seconds, reverse=True)
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    loads = [(0.0, number) for number in range(processes)]
    for item in long:
        load, number = heapq.heappop(loads)
        shares[number].append(item)
        heapq.heappush(loads, (load + seconds(item), number))
    others = [item for item in items if not seconds(item)]
    left, ordered = len(items), list[pytest.Item]()
    for number, share in enumerate(shares):
        size = left // (processes - number)
        filling = max(0, size - len(share))
        ordered += share + others[:filling]
        del others[:filling]
        left -= size
    return ordered + others


def seconds(item: pytest.Item) -> float:
    """About how long a test takes that is marked as long; 0 for any other."""
    marker = item.get_closest_marker("long")
    return float(marker.args[0]) if marker else 0.0
