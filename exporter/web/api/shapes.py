"""Between JSON and values: what our HTTP API takes and what it shows."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from exporter.clock import MICROS, iso8601
from exporter.domain.traceid import parse_traceparent, trace_id
from exporter.domain.values import AccountName, Generation, GenerationId, NewGeneration, check_generation_id
from exporter.store.lists import Place
from exporter.store.reading import LoggedObservation

MAX_IDS = 1_000
"""Ids in one registration."""

Json = dict[str, object]


class BadRequestError(Exception):
    """A request that cannot be served; the text says what is wrong with it and where."""


class TooManyIdsError(Exception):
    """More ids than one registration takes."""


def _traceparent(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or parse_traceparent(value) is None:
        raise ValueError("expected a traceparent of W3C Trace Context, such as 00-<trace id>-<span id>-01")
    return value


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Item(_Shape):
    id: Annotated[str, PlainValidator(check_generation_id)]
    account: str | None = None
    traceparent: Annotated[str | None, PlainValidator(_traceparent)] = None


class _Registration(_Shape):
    generations: list[_Item]


class _Count(BaseModel):
    """Just enough of a registration to count its ids, before each is checked."""

    generations: Annotated[list[object], Field(max_length=MAX_IDS)]


def parse_registration(
    body: bytes, accounts: Mapping[AccountName, object]
) -> dict[AccountName, list[NewGeneration]]:
    """Return the ids that the body registers, by account. Without a name, the only account is meant. Raises
    BadRequestError and TooManyIdsError."""
    try:
        _Count.model_validate_json(body)
        registration = _Registration.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        if any(problem["type"] == "too_long" for problem in problems):
            raise TooManyIdsError from None
        first = problems[0]
        if first["type"] == "json_invalid":
            raise BadRequestError(f"the body is not JSON: {first['ctx']['error']}") from None
        if not first["loc"]:
            raise BadRequestError('expected a JSON object: {"generations": [{"id": …}, …]}') from None
        message = str(first.get("ctx", {}).get("error", first["msg"]))
        raise BadRequestError(f"{_path(first['loc'])}{message}") from None
    registrations: dict[AccountName, list[NewGeneration]] = {}
    for index, item in enumerate(registration.generations):
        account = _account(item.account, accounts, f"generations[{index}].account: ")
        registrations.setdefault(account, []).append(NewGeneration(GenerationId(item.id), item.traceparent))
    return registrations


def _account(name: str | None, accounts: Mapping[AccountName, object], where: str) -> AccountName:
    if name is None and len(accounts) == 1:
        return next(iter(accounts))
    if name is None:
        raise BadRequestError(f"{where}missing, and there are several accounts: {', '.join(accounts)}")
    if name not in accounts:
        raise BadRequestError(f"{where}no account has this name; there are {', '.join(accounts)}")
    return AccountName(name)


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return f"{path}: " if path else ""


def cursor_of(last: Generation | Place) -> str:
    """Return the place in the list behind this generation, as an opaque text."""
    place = [last.discovered_us, last.account, last.id]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def parse_cursor(text: str) -> Place:
    """Return the place that a cursor means. Raises BadRequestError."""
    try:
        padded = text + "=" * (-len(text) % 4)
        discovered_us, account, id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        f"{account}{id}".encode()  # JSON may spell half a character, which no store takes
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise BadRequestError("cursor: expected a next_cursor of an earlier answer") from None
    known = isinstance(account, str) and isinstance(id, str) and "\0" not in account + id
    if type(discovered_us) is not int or abs(discovered_us) >= 2**63 or not known:
        raise BadRequestError("cursor: expected a next_cursor of an earlier answer")
    return Place(discovered_us, AccountName(account), GenerationId(id))


def shown(generation: Generation) -> Json:
    """Return one generation as JSON: null where nothing is known. Never an output URL."""
    end = generation.end
    return {
        "id": generation.id,
        "account": generation.account,
        "status": generation.phase.value,
        "model": generation.model,
        "source": generation.source.value,
        "trace_id": trace_id(generation.id, generation.traceparent),
        "discovered_at": _time(generation.discovered_us),
        "created_at": _time(generation.created_us),
        "completed_at": _time(end.at_us if end else None),
        "duration_ms": None if end is None or end.duration_us is None else end.duration_us / 1_000,
        "credits_estimate": _credits(generation.credits_estimate_micro),
        "credits_used": _credits(end.credits_used_micro if end else None),
        "outputs": end.outputs if end else None,
        "reason": end.reason if end else generation.drop.reason.value if generation.drop else None,
        "message": end.message if end else None,
        "observed_via": end.via.value if end else None,
        "polls": generation.polls,
    }


def shown_observation(line: LoggedObservation) -> Json:
    """Return one observation that changed something, as JSON."""
    return {
        "at": _time(line.at_us),
        "source": line.source,
        "said": line.said,
        "counted": line.counted or None,
    }


def _credits(micro: int | None) -> float | None:
    return None if micro is None else micro / MICROS


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else iso8601(at_us)
