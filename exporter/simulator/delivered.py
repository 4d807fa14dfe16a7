"""Log of deliveries: which were planned, how attempts were answered, what was acknowledged when."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.simulator.deliveries import Delivery, Kind

NO_ANSWER = 0
"""Status of an attempt without an answer."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The deliveries of one generation's end. `kinds` are those planned, with `Kind.LOST` for one never sent.

    `attempts` counts attempts to report the end, whatever the answer. `acknowledged_us` is the time of the
    first 2xx, in Unix microseconds.
    """

    kinds: tuple[Kind, ...] = ()
    attempts: int = 0
    acknowledged_us: int | None = None


_NOTHING = Delivered()


class DeliveryLog:
    """Log of deliveries, by generation id and in sums by account."""

    def __init__(self) -> None:
        self.planned: Counter[tuple[str, Kind]] = Counter()
        """Deliveries by (account, kind), whatever the number of endpoints."""
        self.statuses: Counter[tuple[str, Kind, int]] = Counter()
        """Attempts by (account, kind, HTTP status or NO_ANSWER)."""
        self._delivered: dict[str, Delivered] = {}

    def of(self, generation_id: str) -> Delivered:
        """Return the deliveries of a generation so far."""
        return self._delivered.get(generation_id, _NOTHING)

    def acknowledged(self) -> dict[str, int]:
        """Return the ids of generations with an acknowledged delivery, and when that was first."""
        return {
            generation_id: one.acknowledged_us
            for generation_id, one in self._delivered.items()
            if one.acknowledged_us is not None
        }

    def plan(self, generation_id: str, deliveries: Sequence[Delivery]) -> None:
        """Add the deliveries planned for the end of a generation."""
        self.planned.update((one.account, one.kind) for one in deliveries)
        kinds = tuple(one.kind for one in deliveries)
        self._delivered[generation_id] = replace(self.of(generation_id), kinds=kinds)

    def note(self, delivery: Delivery, status: int, now_us: int) -> None:
        """Add the answer to an attempt."""
        self.statuses[delivery.account, delivery.kind, status] += 1
        if not delivery.kind.reports_end:
            return
        known = self.of(delivery.generation_id)
        first = succeeded(status) and known.acknowledged_us is None
        self._delivered[delivery.generation_id] = replace(
            known,
            attempts=known.attempts + 1,
            acknowledged_us=now_us if first else known.acknowledged_us,
        )


def succeeded(status: int) -> bool:
    """Return whether a status acknowledges a delivery."""
    return 200 <= status < 300
