"""What the export loop needs of whoever sends spans."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from exporter.tracing.spans import Trace


class Outcome(Enum):
    """What became of a batch."""

    EXPORTED = auto()
    AWAY = auto()
    """Nobody took it, for a reason that has nothing to do with what it holds."""
    REFUSED = auto()
    """The receiver does not want some of what it holds."""
    UNKNOWN = auto()
    """It did not arrive, and nobody says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How sending went. `said` is why not, for people; `retry_after` in seconds, where the receiver asked
    for it. Of a delivered batch, `recorded` says of each trace whether its sampler let it through."""

    outcome: Outcome
    said: str = ""
    retry_after: float | None = None
    recorded: Sequence[bool] = field(default=())


class Sender(Protocol):
    """Sends spans somewhere; used from one thread at a time."""

    def send(self, traces: Sequence[Trace]) -> Sent:
        """Send a batch, once. Blocks until it is known how that went; never raises."""
        ...

    def stop(self) -> None:
        """Let go of connections."""
        ...
