"""One simulated generation; its fate is drawn from a generator of its own, independent of timing."""

import re
import uuid
from dataclasses import dataclass
from random import Random

from exporter.clock import MICROS
from exporter.domain.values import Status
from exporter.simulator.models import SimulatedModel

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def canonical_id(written: str) -> str:
    """Return the id as the vendor stores it: a UUID in lower case, any other text as it is."""
    return written.lower() if _UUID.fullmatch(written) else written


@dataclass(frozen=True, slots=True)
class Fate:
    """Outcome, decided at submission. `reason` is None where it will complete.

    `pickup_us` is how long the vendor needs to pick it up even with a free job slot; `rendering_us` how long
    it then holds the slot; `credits_used` what is charged if it completes, out of `credits_estimate`.
    """

    id: str
    pickup_us: int
    rendering_us: int
    reason: str | None
    credits_estimate: int
    credits_used: int


def draw_fate(rng: Random, model: SimulatedModel, outputs: int, failure_ratio: float, pickup_us: int) -> Fate:
    """Draw the fate of the generation that `rng` was seeded for; it is picked up within `pickup_us`.

    Everything is drawn whatever is needed, so that one parameter does not shift the draws of another.
    """
    drawn_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    pickup, failing, progress = rng.random(), rng.random(), rng.uniform(0.1, 1.0)
    rendering_us = model.draw_rendering_us(rng)
    reason = model.draw_reason(rng)
    estimate = sum(rng.randint(model.credits_min, model.credits_max) for _ in range(outputs))
    # Half are billed as estimated, half below, so that an exporter that counts estimates is detected.
    used = estimate if rng.random() < 0.5 else rng.randint(model.credits_min * outputs, estimate)
    if failing >= failure_ratio:
        return Fate(drawn_id, round(pickup * pickup_us), rendering_us, None, estimate, used)
    return Fate(
        drawn_id, round(pickup * pickup_us), max(round(rendering_us * progress), MICROS), reason, estimate, 0
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation as the vendor stores it; times in Unix microseconds, None until they have come.

    `number` counts the account's submissions from 0, and is None for one added as already ended.
    `added_us` is when it was added: later than `created_us` for one added as already ended.
    """

    account: str
    number: int | None
    model: SimulatedModel
    outputs: int
    fate: Fate
    created_us: int
    added_us: int
    started_us: int | None = None
    ended_us: int | None = None

    @property
    def id(self) -> str:
        return self.fate.id

    @property
    def status(self) -> Status:
        if self.started_us is None:
            return Status.PENDING
        if self.ended_us is None:
            return Status.PROCESSING
        return Status.COMPLETED if self.fate.reason is None else Status.FAILED

    @property
    def duration_ms(self) -> int:
        """Time from creation to end, queueing included, rounded as by the API; 0 while in flight."""
        return 0 if self.ended_us is None else (self.ended_us - self.created_us) // 1_000

    @property
    def shown_duration_s(self) -> int:
        """`completed_at - created_at` of the status endpoint, both cut to whole seconds."""
        return 0 if self.ended_us is None else self.ended_us // MICROS - self.created_us // MICROS
