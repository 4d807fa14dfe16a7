"""Which generation to look at next: the one that is due first, and new ids before a backlog of old ones."""

import heapq
from dataclasses import dataclass

from exporter.domain.values import GenerationId

TURN = 4
"""One look in this many goes to an id never seen, while such and due ones both wait."""
USABLE, USABLE_WITH_UNSEEN = 0.95, 0.75
"""Share of the budget for looks at generations in flight; the rest is for new ids, wallet and models."""


def stretch(demand: float, rate: float, *, unseen: bool) -> float:
    """The factor for all intervals, so that `demand` looks a second fit `rate` calls a second. One factor
    for all keeps the allocation optimal (the schedule's density is scaled as a whole)."""
    usable = rate * (USABLE_WITH_UNSEEN if unseen else USABLE)
    return max(1.0, demand / usable) if usable > 0 else 1.0


@dataclass(slots=True)
class _Entry:
    """What the schedule knows of one id. `rate` is in looks a second; `turn` is that of its entry in a heap,
    and tells it from one that was replaced."""

    turn: int
    rate: float


_Heap = list[tuple[float, int, GenerationId]]


class Schedule:
    """Times are seconds of a monotonic clock. An id that was picked is off the schedule until set due again;
    what it wants of the budget still counts, until it is removed."""

    def __init__(self) -> None:
        self._entries: dict[GenerationId, _Entry] = {}
        self._due: _Heap = []
        self._unseen: _Heap = []
        self._turn = 0
        self._picks = 0
        self._demand = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def demand(self) -> float:
        """Looks a second that the scheduled generations want, were there no limit."""
        return max(0.0, self._demand)

    @property
    def unseen_waiting(self) -> bool:
        """Whether an id waits for its first look."""
        self._drop_replaced()
        return bool(self._unseen)

    def add_unseen(self, id: GenerationId, order: int) -> None:
        """Look at `id` for the first time; of several, the one with the greatest `order` goes first."""
        heapq.heappush(self._unseen, (-order, self._replace(id, 0.0), id))

    def set_due(self, id: GenerationId, due: float, rate: float) -> None:
        """Look at `id` at `due`; `rate` is how many looks a second it wants at present."""
        heapq.heappush(self._due, (due, self._replace(id, rate), id))

    def remove(self, id: GenerationId) -> None:
        """Look at `id` no more."""
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._demand -= entry.rate
        if not self._entries:
            self._demand = 0.0

    def pick(self, now: float) -> GenerationId | None:
        """Take what should be looked at now off the schedule."""
        self._drop_replaced()
        due = bool(self._due) and self._due[0][0] <= now
        if not due and not self._unseen:
            return None
        if due and self._unseen:
            self._picks += 1
        unseen_first = self._unseen and (not due or self._picks % TURN == 0)
        _, _, id = heapq.heappop(self._unseen if unseen_first else self._due)
        self._entries[id].turn = -1
        return id

    def next_due(self) -> float | None:
        """When something should be looked at next: minus infinity is now, None is never."""
        self._drop_replaced()
        if self._unseen:
            return float("-inf")
        return self._due[0][0] if self._due else None

    def _replace(self, id: GenerationId, rate: float) -> int:
        self._turn += 1
        entry = self._entries.get(id)
        if entry is not None:
            self._demand -= entry.rate
        self._demand += rate
        self._entries[id] = _Entry(self._turn, rate)
        return self._turn

    def _drop_replaced(self) -> None:
        for heap in (self._due, self._unseen):
            while heap and not self._is_current(heap[0][2], heap[0][1]):
                heapq.heappop(heap)

    def _is_current(self, id: GenerationId, turn: int) -> bool:
        entry = self._entries.get(id)
        return entry is not None and entry.turn == turn
