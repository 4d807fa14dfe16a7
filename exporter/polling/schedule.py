"""Which generation to poll next: the one that is due first, and new ids before a backlog of old ones.

What the safety net behind webhooks wants to poll is due like all others, while its allowance lasts.
"""

import heapq

from exporter.domain.values import GenerationId
from exporter.polling.net import NetAllowance

ASIDE_TURN = 10
"""One poll in this many goes to an id that was set aside, while such and others both wait."""
TURN = 4
"""One poll in this many goes to an id never seen, while such and due ones both wait."""
USABLE, USABLE_WITH_UNSEEN = 0.95, 0.75
"""Share of the budget for polls of generations in flight; the rest is for new ids, wallet and models."""


def stretch(demand: float, rate: float, *, unseen: bool) -> float:
    """Return the factor for all intervals by which `demand` polls a second fit `rate` calls a second. One
    factor for all keeps the allocation optimal (the schedule's density is scaled as a whole)."""
    usable = rate * (USABLE_WITH_UNSEEN if unseen else USABLE)
    return max(1.0, demand / usable) if usable > 0 else 1.0


_Entry = tuple[float, GenerationId, float]
"""When an id is due, the id, and how many polls a second it should get. An entry in a heap is
outdated where the id has another one by now."""
_Heap = list[_Entry]


class Schedule:
    """The followed ids of one account. Times are seconds of a monotonic clock.

    An id that was picked is off the schedule until it is set due again; its share of the demand still counts,
    until it is removed.
    """

    def __init__(self) -> None:
        self.net = NetAllowance()
        self._entries: dict[GenerationId, _Entry | float] = {}
        """The entry in a heap of each id, or only its rate while it is picked."""
        self._due: _Heap = []
        self._in_net: _Heap = []
        self._unseen: _Heap = []
        self._aside: _Heap = []
        self._ahead_of_aside = 0
        self._picks = 0
        self._demand = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: object) -> bool:
        return id in self._entries

    @property
    def demand(self) -> float:
        """Polls a second that the scheduled generations would get, were there no limit."""
        return max(0.0, self._demand)

    @property
    def unseen_waiting(self) -> bool:
        """Whether an id waits for its first poll."""
        self._drop_replaced()
        return bool(self._unseen)

    def add_unseen(self, id: GenerationId, order: int) -> None:
        """Poll `id` for the first time; of several, the one with the greatest `order` goes first."""
        heapq.heappush(self._unseen, self._replace(id, -order, 0.0))

    def set_due(self, id: GenerationId, due: float, rate: float) -> None:
        """Poll `id` at `due`; `rate` is how many polls a second it should get at present."""
        heapq.heappush(self._due, self._replace(id, due, rate))

    def set_net(self, id: GenerationId, due: float) -> None:
        """Let the safety net poll `id` at `due`, or later if its allowance is spent by then."""
        heapq.heappush(self._in_net, self._replace(id, due, 0.0))

    def set_aside(self, id: GenerationId, due: float) -> None:
        """Poll `id` at `due`, though behind all others, since it got no usable answer."""
        heapq.heappush(self._aside, self._replace(id, due, 0.0))

    def is_waiting(self, id: GenerationId) -> bool:
        """Return whether `id` is to be polled, and not picked at present."""
        return isinstance(self._entries.get(id), tuple)

    def remove(self, id: GenerationId) -> None:
        """Do not poll `id` any more."""
        self._demand -= _rate(self._entries.pop(id, 0.0))
        if not self._entries:
            self._demand = 0.0

    def pick(self, now: float, *, probe: bool = False) -> GenerationId | None:
        """Take the id that should be polled now off the schedule; None where there is none. A `probe` finds
        out whether the API answers at all: not with the newest id, which may be one of several bad ones."""
        self._drop_replaced()
        next_due, next_net = self._next_due(), self._next_net()
        due = min(next_due, next_net) <= now
        aside = bool(self._aside) and self._aside[0][0] <= now
        if not due and not self._unseen:
            return self._take(self._aside) if aside else None
        if aside:
            self._ahead_of_aside += 1
            if self._ahead_of_aside % ASIDE_TURN == 0:
                return self._take(self._aside)
        if due and self._unseen:
            self._picks += 1
        if self._unseen and (not due or self._picks % TURN == 0):
            return self._take_last(self._unseen) if probe else self._take(self._unseen)
        if next_due <= next_net:
            return self._take(self._due)
        self.net.spend(now)
        return self._take(self._in_net)

    def next_due(self) -> float | None:
        """Return when something should be polled next: minus infinity is now, None is never."""
        self._drop_replaced()
        if self._unseen:
            return float("-inf")
        aside = self._aside[0][0] if self._aside else float("inf")
        due = min(self._next_due(), self._next_net(), aside)
        return due if due < float("inf") else None

    def _next_due(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def _next_net(self) -> float:
        return max(self._in_net[0][0], self.net.possible_at) if self._in_net else float("inf")

    def _take(self, heap: _Heap) -> GenerationId:
        return self._picked(heapq.heappop(heap))

    def _take_last(self, heap: _Heap) -> GenerationId:
        """Take a leaf of a heap, which stays one without it."""
        while not self._is_current(heap[-1]):
            heap.pop()
        return self._picked(heap.pop())

    def _picked(self, entry: _Entry) -> GenerationId:
        _, id, self._entries[id] = entry
        return id

    def _replace(self, id: GenerationId, due: float, rate: float) -> _Entry:
        self._demand += rate - _rate(self._entries.get(id, 0.0))
        entry = self._entries[id] = due, id, rate
        return entry

    def _drop_replaced(self) -> None:
        for heap in (self._due, self._in_net, self._unseen, self._aside):
            while heap and not self._is_current(heap[0]):
                heapq.heappop(heap)

    def _is_current(self, entry: _Entry) -> bool:
        return self._entries.get(entry[1]) is entry


def _rate(entry: _Entry | float) -> float:
    return entry[2] if isinstance(entry, tuple) else entry
