"""What one account has in flight, by model and status: summed up as it changes, not when it is asked for."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.domain.values import UNKNOWN, Status
from exporter.polling.followed import Followed

_SLACK = 16
"""Outdated entries that a heap may have besides as many as there are generations."""


@dataclass(slots=True)
class Group:
    """The generations of one `kind`: model and status. `credits_micro` is the sum of their estimates."""

    kind: tuple[str, Status]
    count: int = 0
    credits_micro: int = 0
    _by_birth: list[tuple[float, int, Followed]] = field(default_factory=list)

    def oldest(self, now: float) -> float:
        """Return the age in seconds of the one that was created first."""
        while not self._holds(self._by_birth[0]):
            heapq.heappop(self._by_birth)
        return self._by_birth[0][2].age(now)

    def add(self, followed: Followed) -> None:
        """Count a generation."""
        followed.counted_as = self.kind
        self.count += 1
        self.credits_micro += followed.generation.credits_estimate_micro or 0
        heapq.heappush(self._by_birth, (followed.born, followed.order, followed))
        if len(self._by_birth) > 2 * self.count + _SLACK:
            self._by_birth = list(
                {entry[1]: entry for entry in self._by_birth if self._holds(entry)}.values()
            )
            heapq.heapify(self._by_birth)

    def remove(self, followed: Followed) -> None:
        """Count it no longer."""
        followed.counted_as = None
        self.count -= 1
        self.credits_micro -= followed.generation.credits_estimate_micro or 0

    def _holds(self, entry: tuple[float, int, Followed]) -> bool:
        """Whether an entry is of today: each answer may move what is known of the time of creation."""
        born, _, followed = entry
        return followed.counted_as is self.kind and followed.born == born


class InFlight:
    """The groups of one account. A generation is taken out of it while what is known of it changes."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, Status], Group] = {}

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def __len__(self) -> int:
        """How many generations the API has answered for."""
        return sum(group.count for group in self)

    def add(self, followed: Followed) -> None:
        """Count a generation as what it is now, once the API has answered for it."""
        status = followed.generation.status
        if status is None:
            return
        kind = (followed.generation.model or UNKNOWN, status)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(kind)
        group.add(followed)

    def remove(self, followed: Followed) -> None:
        """Count it no longer, if it was."""
        if followed.counted_as is None:
            return
        group = self._groups[followed.counted_as]
        group.remove(followed)
        if not group.count:
            del self._groups[group.kind]
