"""Plan of the deliveries of a generation's end, mishaps included: seeded, without I/O or clock."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from exporter.clock import MICROS
from exporter.simulator import answers
from exporter.simulator.answers import Body
from exporter.simulator.generation import Generation
from exporter.simulator.webhooks import signature


class Kind(StrEnum):
    """Kind of a delivery, as its receiver meets it."""

    GENUINE = "genuine"
    """Correct and on time."""
    LATE = "late"
    """Correct, long after the end."""
    OVERTAKEN = "overtaken"
    """Correct, after deliveries of later ends."""
    DOUBLED = "doubled"
    """A correct one, repeated."""
    UNKNOWN_EVENT = "unknown_event"
    """Correctly signed, with an event that is not documented and not an end."""
    FORGED = "forged"
    """Not from the vendor: wrongly signed or unsigned."""
    LOST = "lost"
    """Never sent."""

    @property
    def reports_end(self) -> bool:
        """Whether it genuinely reports the end of a generation."""
        return self in _REPORT_END


_REPORT_END = (Kind.GENUINE, Kind.LATE, Kind.OVERTAKEN, Kind.DOUBLED)
_INSTEAD = (Kind.LOST, Kind.LATE, Kind.OVERTAKEN)

MISHAPS = tuple(kind for kind in Kind if kind is not Kind.GENUINE)
"""Mishaps of deliveries: instead of the genuine one (lost, late, overtaken), or besides it."""


class Forgery(StrEnum):
    """Kind of forgery."""

    OTHER_BODY = "other_body"
    """Signed for another body, the genuine one."""
    OTHER_SIGNER = "other_signer"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery to each of an account's endpoints; `due_us` in Unix microseconds.

    `genuine` is the body of the genuine delivery of this end.
    """

    kind: Kind
    account: str
    generation_id: str
    due_us: int
    event: str
    body: bytes
    genuine: bytes
    forgery: Forgery | None = None

    def signature(self, secret: str) -> str | None:
        """Return its signature for an endpoint with this secret, or None where it is unsigned."""
        match self.forgery:
            case Forgery.UNSIGNED:
                return None
            case Forgery.OTHER_SIGNER:
                return signature(f"not {secret}", self.body)
            case Forgery.OTHER_BODY:
                return signature(secret, self.genuine)
            case None:
                return signature(secret, self.body)


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays of deliveries after the end: ranges in simulated seconds.

    `doubled_s` counts from the first delivery; half of the repeats are due at that very moment.
    """

    genuine_s: tuple[float, float] = (0.02, 0.2)
    overtaken_s: tuple[float, float] = (1.0, 10.0)
    late_s: tuple[float, float] = (600.0, 3600.0)
    doubled_s: tuple[float, float] = (0.0, 5.0)
    forged_s: tuple[float, float] = (0.0, 1.0)


_EVERYTHING: Mapping[Kind, float] = {
    Kind.LOST: 0.05,
    Kind.LATE: 0.03,
    Kind.OVERTAKEN: 0.1,
    Kind.DOUBLED: 0.1,
    Kind.FORGED: 0.1,
    Kind.UNKNOWN_EVENT: 0.05,
}


def check_rates(rates: Mapping[Kind, float]) -> None:
    """Raise ValueError unless rates are probabilities and exclusive ones add up to at most 1."""
    for kind, rate in rates.items():
        if kind not in MISHAPS:
            raise ValueError(f"{kind}: what is left of the mishaps has no rate of its own")
        if not 0 <= rate <= 1:
            raise ValueError(f"{kind}: {rate} is not a probability between 0 and 1")
    if sum(rates.get(kind, 0.0) for kind in _INSTEAD) > 1 + 1e-9:
        raise ValueError("the rates of lost, late and overtaken add up to more than 1")


class Mishaps:
    """Plan the deliveries of each generation.

    Only generations for which `befalls` returns true are lost, late, overtaken or doubled; it is called at
    the end. Forged deliveries and unknown events come for every generation: they must not matter.
    """

    def __init__(
        self,
        seed: int = 0,
        rates: Mapping[Kind, float] | None = None,
        delays: Delays | None = None,
        befalls: Callable[[str], bool] = lambda _id: True,
    ) -> None:
        self.seed = seed
        self.delays = delays or Delays()
        self.befalls = befalls
        self._rates: dict[Kind, float] = {}
        self.set_rates(rates or {})

    @classmethod
    def none(cls) -> "Mishaps":
        """Deliver every end once, on time."""
        return cls()

    @classmethod
    def everything(cls, seed: int) -> "Mishaps":
        """Let every mishap happen now and then."""
        return cls(seed, _EVERYTHING)

    @property
    def rates(self) -> dict[Kind, float]:
        """Probability of each mishap, per generation."""
        return dict(self._rates)

    def set_rates(self, rates: Mapping[Kind, float]) -> None:
        """Replace all probabilities, for generations that end from now on. Raises ValueError."""
        check_rates(rates)
        self._rates = dict(rates)

    def plan(self, generation: Generation) -> list[Delivery]:
        """Return the deliveries of a generation that has ended. Raises ValueError while in flight.

        First the genuine one or its replacement (a lost one is listed, and never sent); then the others.
        Everything is drawn whatever is needed, so that one rate does not shift another's draws.
        """
        rng, delays = Random(f"{self.seed}/deliveries/{generation.id}"), self.delays
        genuine = _genuine(generation)
        after_us = {
            Kind.GENUINE: _draw_us(rng, delays.genuine_s),
            Kind.LATE: _draw_us(rng, delays.late_s),
            Kind.OVERTAKEN: _draw_us(rng, delays.overtaken_s),
            Kind.LOST: 0,
        }
        instead = self._instead(rng.random())
        doubled = rng.random() < self._rates.get(Kind.DOUBLED, 0.0)
        again_us = _draw_us(rng, delays.doubled_s) * rng.randrange(2)
        others = [
            (rng.random(), _forged(genuine, generation, _draw_us(rng, delays.forged_s), rng)),
            (rng.random(), _unknown_event(genuine, _draw_us(rng, delays.genuine_s), rng)),
        ]
        if not self.befalls(generation.id):
            instead, doubled = Kind.GENUINE, False
        first = replace(genuine, kind=instead, due_us=genuine.due_us + after_us[instead])
        planned = [first]
        if doubled and instead is not Kind.LOST:
            planned.append(replace(first, kind=Kind.DOUBLED, due_us=first.due_us + again_us))
        planned.extend(other for chance, other in others if chance < self._rates.get(other.kind, 0.0))
        return planned

    def _instead(self, chance: float) -> Kind:
        for kind in _INSTEAD:
            chance -= self._rates.get(kind, 0.0)
            if chance < 0:
                return kind
        return Kind.GENUINE


def _genuine(generation: Generation) -> Delivery:
    """Return the correct delivery, due at the end itself."""
    body = _encode(answers.delivery_body(generation))
    event, ended_us = f"generation.{generation.status.value}", generation.ended_us or 0
    return Delivery(Kind.GENUINE, generation.account, generation.id, ended_us, event, body, body)


def _forged(genuine: Delivery, generation: Generation, after_us: int, rng: Random) -> Delivery:
    """Return one that would distort the sums, about this generation or about an invented one."""
    body: Body = {**answers.delivery_body(generation), "credits_charged": 1_000_000, "duration_ms": 1}
    nobody = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    if rng.random() < 0.5:
        body["generation_id"] = nobody
    return replace(
        genuine,
        kind=Kind.FORGED,
        due_us=genuine.due_us + after_us,
        body=_encode(body),
        forgery=rng.choice(list(Forgery)),
    )


def _unknown_event(genuine: Delivery, after_us: int, rng: Random) -> Delivery:
    event, body = rng.choice(
        [
            ("generation.archived", Body(generation_id=genuine.generation_id, status="archived")),
            ("credits.low", Body(balance=12, threshold=100)),
        ]
    )
    return replace(
        genuine, kind=Kind.UNKNOWN_EVENT, due_us=genuine.due_us + after_us, event=event, body=_encode(body)
    )


def _draw_us(rng: Random, span_s: tuple[float, float]) -> int:
    return round(rng.uniform(*span_s) * MICROS)


def _encode(body: Body) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
