"""What one replica takes for the owner of an account: registrations and ends, as text in the inbox."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any
from uuid import uuid4

from exporter.domain.values import (
    AccountName,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)

_FIELDS = {field.name for field in fields(Observation)}
"""What this version knows of an observation; another one may know more."""


class Kind(StrEnum):
    """What a letter brings."""

    REGISTRATION = "registration"
    END = "end"


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing that was acknowledged and is to be applied. `at_us` is when it arrived, `token` tells it from
    others of that moment."""

    account: AccountName
    at_us: int
    token: str
    kind: Kind
    body: str

    def registration(self) -> list[NewGeneration]:
        """The ids of a registration."""
        return [NewGeneration(GenerationId(id), traceparent) for id, traceparent in json.loads(self.body)]

    def generations(self) -> list[Generation]:
        """The generations that it is about, not followed yet."""
        registers = self.kind is Kind.REGISTRATION
        source = Source.API if registers else Source.WEBHOOK
        new = self.registration() if registers else [NewGeneration(self.end()[0])]
        return [
            Generation(self.account, item.id, source, self.at_us, traceparent=item.traceparent)
            for item in new
        ]

    def end(self) -> tuple[GenerationId, Observation]:
        """The id and the end that a delivery reported."""
        id, fields = json.loads(self.body)
        return GenerationId(id), _observation(fields)


def registration(account: AccountName, new: Sequence[NewGeneration], at_us: int) -> Letter:
    """A letter that registers ids."""
    body = json.dumps([[item.id, item.traceparent] for item in new])
    return Letter(account, at_us, uuid4().hex, Kind.REGISTRATION, body)


def end(account: AccountName, id: GenerationId, observation: Observation) -> Letter:
    """A letter that reports an end."""
    return Letter(account, observation.at_us, uuid4().hex, Kind.END, json.dumps([id, asdict(observation)]))


def _observation(told: dict[str, Any]) -> Observation:
    status = told["status"]
    known = {
        **{key: value for key, value in told.items() if key in _FIELDS},
        "via": Via(told["via"]),
        "status": None if status is None else Status(status),
        "output_urls": tuple(told["output_urls"]),
    }
    return Observation(**known)
