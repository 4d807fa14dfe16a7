"""Which generation to poll next: the one that is due first, and new ids before a backlog of old ones.

What the safety net behind webhooks wants to poll is due like all others, while its allowance lasts.
"""

import heapq
from dataclasses import dataclass

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


@dataclass(slots=True)
class _Entry:
    """The state of one id. `rate` is in polls a second; `turn` is that of its entry in a heap, by which a
    replaced entry is recognised."""

    turn: int
    rate: float


_PICKED = -1


_Heap = list[tuple[float, int, GenerationId]]


class Schedule:
    """The followed ids of one account. Times are seconds of a monotonic clock.

    An id that was picked is off the schedule until it is set due again; its share of the demand still counts,
    until it is removed.
    """

    def __init__(self) -> None:
        self.net = NetAllowance()
        self._entries: dict[GenerationId, _Entry] = {}
        self._due: _Heap = []
        self._in_net: _Heap = []
        self._unseen: _Heap = []
        self._aside: _Heap = []
        self._ahead_of_aside = 0
        self._turn = 0
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
        heapq.heappush(self._unseen, (-order, self._replace(id, 0.0), id))

    def set_due(self, id: GenerationId, due: float, rate: float) -> None:
        """Poll `id` at `due`; `rate` is how many polls a second it should get at present."""
        heapq.heappush(self._due, (due, self._replace(id, rate), id))

    def set_net(self, id: GenerationId, due: float) -> None:
        """Let the safety net poll `id` at `due`, or later if its allowance is spent by then."""
        heapq.heappush(self._in_net, (due, self._replace(id, 0.0), id))

    def set_aside(self, id: GenerationId, due: float) -> None:
        """Poll `id` at `due`, though behind all others, since it got no usable answer."""
        heapq.heappush(self._aside, (due, self._replace(id, 0.0), id))

    def is_waiting(self, id: GenerationId) -> bool:
        """Return whether `id` is to be polled, and not picked at present."""
        entry = self._entries.get(id)
        return entry is not None and entry.turn != _PICKED

    def remove(self, id: GenerationId) -> None:
        """Do not poll `id` any more."""
        entry = self._entries.pop(id, None)
        if entry is not None:
            self._demand -= entry.rate
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
        return self._picked(heapq.heappop(heap)[2])

    def _take_last(self, heap: _Heap) -> GenerationId:
        """Take a leaf of a heap, which stays one without it."""
        while not self._is_current(heap[-1][2], heap[-1][1]):
            heap.pop()
        return self._picked(heap.pop()[2])

    def _picked(self, id: GenerationId) -> GenerationId:
        self._entries[id].turn = _PICKED
        return id

    def _replace(self, id: GenerationId, rate: float) -> int:
        self._turn += 1
        entry = self._entries.get(id)
        if entry is not None:
            self._demand -= entry.rate
        self._demand += rate
        self._entries[id] = _Entry(self._turn, rate)
        return self._turn

    def _drop_replaced(self) -> None:
        for heap in (self._due, self._in_net, self._unseen, self._aside):
            while heap and not self._is_current(heap[0][2], heap[0][1]):
                heapq.heappop(heap)

    def _is_current(self, id: GenerationId, turn: int) -> bool:
        entry = self._entries.get(id)
        return entry is not None and entry.turn == turn
