"""The interface between the export loop and what sends spans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from exporter.tracing.spans import Trace


class Outcome(Enum):
    """Outcomes of sending a batch."""

    EXPORTED = auto()
    AWAY = auto()
    """Not accepted, for a reason that is not about what it holds."""
    REFUSED = auto()
    """Some of what it holds is not accepted."""
    UNKNOWN = auto()
    """It did not arrive, for no known reason."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending a batch. `said` is the reason of a failure, for people; `retry_after` in seconds,
    where the collector asked for it. Of an exported batch, `recorded` holds for each trace whether it was
    sampled."""

    outcome: Outcome
    said: str = ""
    retry_after: float | None = None
    recorded: Sequence[bool] = field(default=())


class Sender(Protocol):
    """Sends spans somewhere; used from one thread at a time."""

    def send(self, traces: Sequence[Trace]) -> Sent:
        """Send a batch, once. Blocks until the outcome is known; never raises."""
        ...

    def stop(self) -> None:
        """Close connections."""
        ...
