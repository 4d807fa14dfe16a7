"""Long tests start first, on each of the processes that share them."""

from dataclasses import dataclass
from typing import cast

import pytest

from support.order import long_first


@dataclass(frozen=True)
class Item:
    name: str
    seconds: float = 0

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return pytest.mark.long(self.seconds).mark if name == "long" and self.seconds else None


def order(items: list[Item], processes: int) -> list[str]:
    ordered = cast("list[Item]", long_first(cast("list[pytest.Item]", items), processes))
    return [item.name for item in ordered]


def test_each_process_starts_with_its_share_longest_first() -> None:
    short = [Item(f"short{number}") for number in range(5)]
    items = [short[0], Item("A", 400), *short[1:3], Item("C", 80), *short[3:], Item("B", 140)]
    assert order(items, 2) == ["A", "short0", "short1", "short2", "B", "C", "short3", "short4"]


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("long", [0, 1, 3, 7])
@pytest.mark.parametrize("short", [0, 1, 2, 10])
def test_no_test_is_lost_and_the_others_keep_their_order(processes: int, long: int, short: int) -> None:
    items = [Item(f"long{number}", number + 1) for number in range(long)]
    items += [Item(f"short{number}") for number in range(short)]
    ordered = order(items, processes)
    assert sorted(ordered) == sorted(item.name for item in items)
    assert [name for name in ordered if name.startswith("short")] == [f"short{n}" for n in range(short)]


def test_without_long_ones_nothing_moves() -> None:
    assert order([Item("a"), Item("b"), Item("c")], 2) == ["a", "b", "c"]
