"""The nouns: what a generation is, what a look at it says, and what follows from that.

Times are Unix microseconds and durations microseconds (suffix `_us`); credits are millionths of a credit
(suffix `_micro`). Integers, so that sums are exact in whatever order they are added.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

GenerationId = NewType("GenerationId", str)
AccountName = NewType("AccountName", str)

MAX_ID = 256
"""Characters of a generation's id."""

UNKNOWN = "unknown"
"""The value of `model` and `reason` while the API has not named them."""


def check_generation_id(value: object) -> GenerationId:
    """`value` as an id that can be asked for. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("expected the id of a generation as text; put it in quotes")
    if not value or len(value) > MAX_ID or not value.isprintable() or any(c.isspace() for c in value):
        raise ValueError(f"expected the id of a generation: 1 to {MAX_ID} characters without white space")
    if value in (".", ".."):
        raise ValueError(f"{value!r} cannot be the id of a generation")
    return GenerationId(value)


class Status(StrEnum):
    """The statuses that the API documents (status endpoint)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED)


class Phase(StrEnum):
    """How far a generation has come, as the exporter knows it."""

    UNSEEN = "unseen"
    """The API has not answered for it yet."""
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DROPPED = "dropped"
    """No longer followed, although its end was not seen."""


class Via(StrEnum):
    """How an observation reached the exporter."""

    POLL = "poll"
    WEBHOOK = "webhook"


class Source(StrEnum):
    """Who told the exporter about a generation first."""

    CONFIG = "config"
    FILE = "file"
    API = "api"
    WEBHOOK = "webhook"


class DropReason(StrEnum):
    """Why a generation is no longer followed although its end was not seen."""

    NOT_FOUND = "not_found"
    NOT_YOURS = "not_yours"
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look, or one delivery, said about one generation at `at_us`.

    `status` is None where the API named one that its documentation does not list; `status_text` is what it
    said. Every other field is None where the answer lacked it or made no sense.
    """

    at_us: int
    via: Via
    status: Status | None
    status_text: str
    model: str | None = None
    created_us: int | None = None
    completed_us: int | None = None
    elapsed_us: int | None = None
    duration_us: int | None = None
    credits_used_micro: int | None = None
    credits_estimate_micro: int | None = None
    outputs: int | None = None
    reason: str | None = None
    message: str | None = None
    output_urls: tuple[str, ...] = field(default=(), repr=False)
    """Whoever reads one can fetch the picture: stored and told only where that is configured."""


@dataclass(frozen=True, slots=True)
class End:
    """How a generation ended. `at_us` is the API's time of the end, `recorded_us` the exporter's."""

    status: Status
    at_us: int
    recorded_us: int
    via: Via
    duration_us: int | None
    credits_used_micro: int
    outputs: int
    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Drop:
    """When and why following ended without an end."""

    reason: DropReason
    at_us: int


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """An id that was handed over, with the caller's trace context (W3C `traceparent`) where it gave one."""

    id: GenerationId
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """How many of the ids that were registered were new, and how many were known already."""

    new: int
    known: int


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything known about one generation of one account.

    `status` is None until the API has answered for it, and what it last said while in flight.
    `processing_us` is the API's age at the first answer that said processing, as a time;
    `processing_uncertainty_us` is how long before that the last other answer was.
    """

    account: AccountName
    id: GenerationId
    source: Source
    discovered_us: int
    status: Status | None = None
    model: str | None = None
    created_us: int | None = None
    credits_estimate_micro: int | None = None
    observed_us: int | None = None
    pending_us: int | None = None
    processing_us: int | None = None
    processing_uncertainty_us: int | None = None
    polls: int = 0
    traceparent: str | None = None
    end: End | None = None
    drop: Drop | None = None

    @property
    def followed(self) -> bool:
        """Whether it still needs looking at."""
        return self.end is None and self.drop is None

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        if self.drop is not None and self.end is None:
            return Phase.DROPPED
        return Phase.UNSEEN if self.status is None else Phase(self.status.value)

    @property
    def ended_us(self) -> int | None:
        """When it ended, as precisely as the API tells, or was dropped; None while it is followed."""
        if self.end is None:
            return self.drop.at_us if self.drop is not None else None
        # `duration_ms` is more precise than the whole seconds of `completed_at`.
        if self.end.duration_us is not None and self.created_us is not None:
            return self.created_us + self.end.duration_us
        return self.end.at_us

    @property
    def spans(self) -> int:
        """How many spans its trace has: its own, and two for its parts where their border was seen."""
        return 1 if self.processing_us is None else 3


@dataclass(frozen=True, slots=True)
class Discovered:
    """A generation the exporter had not heard of."""

    source: Source


@dataclass(frozen=True, slots=True)
class Started:
    """Rendering was seen to have begun; `queue_us` after creation."""

    model: str
    queue_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A generation ended, seen for the first time."""

    model: str
    end: End


@dataclass(frozen=True, slots=True)
class Dropped:
    """A generation is given up."""

    reason: DropReason


Fact = Discovered | Started | Ended | Dropped
"""What happened, once; the durable metrics are sums over facts."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A generation after an observation, and the facts that the observation brought to light."""

    generation: Generation
    facts: tuple[Fact, ...] = field(default=())
