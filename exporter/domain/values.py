"""The nouns: a generation, an observation of one, and what follows from that.

Times are Unix microseconds and durations microseconds (suffix `_us`); credits are millionths of a credit
(suffix `_micro`). Integers, so that sums are exact in whatever order they are added.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

GenerationId = NewType("GenerationId", str)
AccountName = NewType("AccountName", str)

MAX_ID = 256
"""Characters of a generation's id."""

UNKNOWN = "unknown"
"""The value of `model` and `reason` while the API has not named them."""

EARLIEST_US, LATEST_US = 946_684_800_000_000, 7_258_118_400_000_000
"""2000-01-01 and 2200-01-01: a time of the API outside of them is as good as missing."""
MAX_DURATION_US = 3_650 * 86_400_000_000
"""Ten years; a longer duration is as good as missing. A time of the API plus or minus one can be shown as a
date and exported in nanoseconds, and the sum of 29,000 fits 64 bits."""
MAX_CREDITS_MICRO = 10**15
"""A thousand million credits for one generation; the sum of 9,000 such amounts fits 64 bits."""

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_uuid(id: str) -> bool:
    """Return whether `id` has the shape of a UUID (RFC 9562, section 4)."""
    return _UUID.fullmatch(id) is not None


def check_generation_id(value: object) -> GenerationId:
    """Return `value` as an id that the API can be asked for: a UUID in lower case, so that it is one
    generation however its letters are written, any other text as it is. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("expected the id of a generation as text; put it in quotes")
    if not value or len(value) > MAX_ID or not value.isprintable() or any(c.isspace() for c in value):
        raise ValueError(f"expected the id of a generation: 1 to {MAX_ID} characters without white space")
    if value in (".", ".."):
        raise ValueError(f"{value!r} cannot be the id of a generation")
    return GenerationId(value.lower() if is_uuid(value) else value)


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
    """The progress of a generation, as the exporter knows it."""

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
    """Where a generation was first heard of."""

    CONFIG = "config"
    FILE = "file"
    API = "api"
    WEBHOOK = "webhook"


class DropReason(StrEnum):
    """Why a generation is no longer followed although its end was not seen."""

    NOT_FOUND = "not_found"
    NOT_YOURS = "not_yours"
    REFUSED = "refused"
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one poll, or one delivery, reported about one generation at `at_us`.

    `status` is None where the API named one that its documentation does not list; `status_text` is the name.
    Every other field is None where the answer lacked it or made no sense.
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
    asked_at: float = field(default=0.0, kw_only=True)
    """When the poll was sent, in seconds of this process's monotonic clock: the order of observations."""
    output_urls: tuple[str, ...] = field(default=(), repr=False)
    """Whoever reads one can fetch the picture: stored and exported only where that is configured."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of a generation. `at_us` is the API's time of it, `recorded_us` the exporter's."""

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
    """The moment and the reason that following stopped without an end."""

    reason: DropReason
    at_us: int


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """An id that was registered or listed, with the caller's trace context (W3C `traceparent`) if any."""

    id: GenerationId
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """The numbers of registered ids that were new, and that were known already."""

    new: int
    known: int


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything known about one generation of one account.

    `status` is None until the API has answered for it, then the last one reported.
    `processing_us` is the API's age at the first answer that said processing, as a time;
    `processing_uncertainty_us` is how long before that the last other answer was. `reopened_us` is when it
    was last registered again after a drop; None where it never was.
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
    reopened_us: int | None = None
    asked_at: float = field(default=float("-inf"), compare=False)
    """`Observation.asked_at` of the last one in this process; not stored, since another process has another
    clock, and what is stored is older than whatever it observes."""

    @property
    def followed_since_us(self) -> int:
        """When following it began, the last time."""
        return self.discovered_us if self.reopened_us is None else self.reopened_us

    @property
    def followed(self) -> bool:
        """Whether it still needs polling."""
        return self.end is None and self.drop is None

    @property
    def phase(self) -> Phase:
        """Its progress, as the exporter knows it."""
        if self.drop is not None and self.end is None:
            return Phase.DROPPED
        return Phase.UNSEEN if self.status is None else Phase(self.status.value)

    @property
    def ended_us(self) -> int | None:
        """When it ended, as precisely as the API reports, or was dropped; None while it is followed."""
        if self.end is None:
            return self.drop.at_us if self.drop is not None else None
        # `duration_ms` is more precise than the whole seconds of `completed_at`.
        if self.end.duration_us is not None and self.created_us is not None:
            return self.created_us + self.end.duration_us
        return self.end.at_us

    @property
    def spans(self) -> int:
        """The number of spans of its trace: the root, and two children where their border was seen."""
        return 1 if self.processing_us is None else 3


@dataclass(frozen=True, slots=True)
class Discovered:
    """A generation that the exporter did not know."""

    source: Source


@dataclass(frozen=True, slots=True)
class Started:
    """The first sight of rendering, `queue_us` after creation."""

    model: str
    queue_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a generation, seen for the first time.

    `refunded_micro` is what a failure was reported to have been charged: the API refunds failures, so it is
    no part of the credits used. `backfilled` is whether it had ended long before the exporter was told of it.
    """

    model: str
    end: End
    refunded_micro: int = 0
    estimate_micro: int | None = None
    backfilled: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """A generation is no longer followed although its end was not seen."""

    reason: DropReason


Fact = Discovered | Started | Ended | Dropped
"""An event, recorded once; the durable metrics are sums over facts."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A generation after an observation, and the facts that the observation brought to light."""

    generation: Generation
    facts: tuple[Fact, ...] = field(default=())
