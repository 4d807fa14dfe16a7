"""Which deliveries the end of a generation leads to, and what goes wrong with them: seeded, and timeless.

It only decides; sending is the deliverer's.
"""

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
    """What a delivery is to its receiver."""

    GENUINE = "genuine"
    """Right and on time."""
    LATE = "late"
    """Right, and long after the end."""
    OVERTAKEN = "overtaken"
    """Right, and after some of later ends."""
    DOUBLED = "doubled"
    """A right one once more."""
    UNKNOWN_EVENT = "unknown_event"
    """Rightly signed, about something that is no end and not documented."""
    FORGED = "forged"
    """Not the vendor's: wrongly signed or not at all."""
    LOST = "lost"
    """Never sent."""

    @property
    def tells_end(self) -> bool:
        """Whether it is the vendor's word that a generation has ended."""
        return self in _TELL_END


_TELL_END = (Kind.GENUINE, Kind.LATE, Kind.OVERTAKEN, Kind.DOUBLED)
_INSTEAD = (Kind.LOST, Kind.LATE, Kind.OVERTAKEN)

MISHAPS = tuple(kind for kind in Kind if kind is not Kind.GENUINE)
"""What can befall deliveries: instead of the genuine one (lost, late, overtaken), or besides."""


class Forgery(StrEnum):
    """How a forged delivery fails to be the vendor's."""

    OTHER_BODY = "other_body"
    """With the signature of the genuine body."""
    OTHER_SIGNER = "other_signer"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery to each of an account's endpoints; `due_us` in Unix microseconds.

    `genuine` is the body that the vendor's own delivery of this end has.
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
        """Its signature for an endpoint with this secret, None where it bears none."""
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
    """How long after the end deliveries are due: ranges in simulated seconds.

    `doubled_s` counts from when the first is due; half of the doubled ones come at that very moment.
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
    """ValueError where the rates are no probabilities, or exclude one another and are more than certain."""
    for kind, rate in rates.items():
        if kind not in MISHAPS:
            raise ValueError(f"{kind}: what is left of the mishaps has no rate of its own")
        if not 0 <= rate <= 1:
            raise ValueError(f"{kind}: {rate} is not a probability between 0 and 1")
    if sum(rates.get(kind, 0.0) for kind in _INSTEAD) > 1 + 1e-9:
        raise ValueError("the rates of lost, late and overtaken add up to more than 1")


class Mishaps:
    """Decides what befalls the deliveries of each generation.

    Only those that `befalls` holds of are lost, late, overtaken or doubled; it is asked when one has ended.
    Forged ones and unknown events come whoever it is: they must not matter.
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
        """Every end is delivered once, on time."""
        return cls()

    @classmethod
    def everything(cls, seed: int) -> "Mishaps":
        """Every mishap now and then."""
        return cls(seed, _EVERYTHING)

    @property
    def rates(self) -> dict[Kind, float]:
        """The probability of each mishap, per generation."""
        return dict(self._rates)

    def set_rates(self, rates: Mapping[Kind, float]) -> None:
        """Replace all probabilities, for generations that end from now on. ValueError as above."""
        check_rates(rates)
        self._rates = dict(rates)

    def plan(self, generation: Generation) -> list[Delivery]:
        """The deliveries of a generation that has ended; ValueError of one that has not.

        First the genuine one or what comes instead, be it one that is lost and never to be sent; then those
        besides. Everything is drawn whatever is needed, so that one rate does not shift another's draws.
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
    """The right delivery, due at the very end."""
    body = _encode(answers.delivery_body(generation))
    event, ended_us = f"generation.{generation.status.value}", generation.ended_us or 0
    return Delivery(Kind.GENUINE, generation.account, generation.id, ended_us, event, body, body)


def _forged(genuine: Delivery, generation: Generation, after_us: int, rng: Random) -> Delivery:
    """One that would show in the sums, about this generation or about one that there never was."""
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
