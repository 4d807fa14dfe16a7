"""What delivery needs of whoever sends spans, and how such a one is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from importlib import import_module
from typing import Protocol, cast

from exporter.errors import ConfigError
from exporter.tracing.environment import Choice
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


def open_sender(choice: Choice, version: str) -> Sender:
    """A sender for traces that go somewhere; `version` is the exporter's. Raises ConfigError."""
    # Only now: the SDK reads variables while it is imported, and raises where they make no sense, so
    # `choose` has to look at them before. Who traces nothing does not wait for the import either.
    try:
        sdk = import_module("exporter.tracing.sdk")
        return cast(Sender, sdk.SdkSender(choice, version))
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"OpenTelemetry does not take its configuration: {error}") from error
