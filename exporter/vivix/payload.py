"""The API's JSON as values. All of it is untrusted: missing, null, of another type, absurd or new.

A field that makes no sense counts as missing; an answer is an error as a whole only where it has no status of
the generation that was asked for. Formats: `status-endpoint.txt` and the vendor's API pages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from exporter.clock import MICROS
from exporter.domain.values import (
    EARLIEST_US,
    LATEST_US,
    MAX_CREDITS_MICRO,
    MAX_DURATION_US,
    GenerationId,
    Observation,
    Status,
    Via,
    check_generation_id,
)

MAX_TEXT = 128
"""Characters of a model's or reason's name; what is longer is no name."""
MAX_MESSAGE = 500
"""Characters kept of a message."""
MAX_URL, MAX_URLS = 2_048, 100
"""Characters of an output's URL, and how many of a generation are kept."""

_MAX_WALLET = 1e12
"""Credits of an account, either way."""

Json = Mapping[str, object]


class PayloadError(ValueError):
    """A body that does not answer what was asked."""


class OtherGenerationError(PayloadError):
    """A body about another generation than the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An account by `/api/v1/credits`; None where the answer lacks a field."""

    tier: str | None
    balance: float | None
    spent: float | None
    granted: float | None
    cycle_resets_us: int | None
    calls_per_minute: int | None
    concurrent_jobs: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `/api/v1/models`."""

    slug: str
    category: str
    creator: str


def parse_json(body: bytes) -> Json:
    """Return the JSON object in `body`. Raises PayloadError where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PayloadError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise PayloadError(f"the body is a JSON {type(value).__name__}, not an object")
    return cast(Json, value)


def parse_generation(payload: Json, asked: GenerationId, at_us: int, asked_at: float = 0.0) -> Observation:
    """Return the answer of the status endpoint, received at `at_us` to a poll sent at `asked_at`, as an
    observation. Raises PayloadError without a status, and OtherGenerationError with the id of another
    generation than the one `asked` for."""
    named = payload.get("generation_id")
    if isinstance(named, str) and not _names(named, asked):
        raise OtherGenerationError("the answer is about another generation")
    status_text = _text(payload.get("status"))
    if status_text is None:
        raise PayloadError("the answer has no status")
    return Observation(
        at_us=at_us,
        via=Via.POLL,
        status=_status(status_text),
        status_text=status_text,
        model=_text(payload.get("model")),
        created_us=parse_time(payload.get("created_at")),
        completed_us=parse_time(payload.get("completed_at")),
        elapsed_us=_duration(payload.get("elapsed_ms")),
        duration_us=_duration(payload.get("duration_ms")),
        credits_used_micro=_credits(payload.get("credits_used")),
        credits_estimate_micro=_credits(payload.get("credits_estimate")),
        outputs=_outputs(payload),
        output_urls=_output_urls(payload),
        reason=_text(payload.get("error")),
        message=parse_message(payload.get("message")),
        asked_at=asked_at,
    )


def parse_delivery(payload: Json, at_us: int) -> tuple[GenerationId, Observation]:
    """Return the id and the observation in a webhook's delivery, received at `at_us`. Some fields have other
    names than at the status endpoint. Raises PayloadError without an id, or without how it ended."""
    named = payload.get("generation_id")
    try:
        id = check_generation_id(named)
    except ValueError as error:
        raise PayloadError("the delivery names no generation") from error
    status_text = _text(payload.get("status"))
    status = None if status_text is None else _status(status_text)
    if status is None or not status.ended:
        raise PayloadError("the delivery does not say how the generation ended")
    return id, Observation(
        at_us=at_us,
        via=Via.WEBHOOK,
        status=status,
        status_text=status.value,
        model=_text(payload.get("model")),
        completed_us=parse_time(payload.get("completed_at")),
        duration_us=_duration(payload.get("duration_ms")),
        credits_used_micro=_credits(payload.get("credits_charged")),
        outputs=_outputs(payload),
        output_urls=_output_urls(payload),
        reason=_text(payload.get("error_code")),
        message=parse_message(payload.get("error_message")),
    )


def parse_plan(payload: Json) -> Plan:
    """Return the answer of `/api/v1/credits`. Raises PayloadError where no field of it can be used."""
    limits = payload.get("rate_limit")
    rate_limit = cast(Json, limits) if isinstance(limits, dict) else {}
    plan = Plan(
        tier=_text(payload.get("tier")),
        balance=_number(payload.get("balance"), -_MAX_WALLET, _MAX_WALLET),
        spent=_number(payload.get("spent_this_cycle"), 0, _MAX_WALLET),
        granted=_number(payload.get("granted_this_cycle"), 0, _MAX_WALLET),
        cycle_resets_us=parse_time(payload.get("cycle_resets_at")),
        calls_per_minute=_whole(rate_limit.get("calls_per_minute")),
        concurrent_jobs=_whole(rate_limit.get("concurrent_jobs")),
    )
    if plan == Plan(None, None, None, None, None, None, None):
        raise PayloadError("the answer has no field of an account")
    return plan


def parse_models(payload: Json) -> tuple[Model, ...]:
    """Return the answer of `/api/v1/models`, without entries that have no usable slug. Raises PayloadError
    where there is no list."""
    entries = payload.get("models")
    if not isinstance(entries, list):
        raise PayloadError("the answer has no list of models")
    models = {}
    for entry in entries:
        if isinstance(entry, dict) and (slug := _text(entry.get("slug"))) is not None:
            category, creator = _text(entry.get("category")), _text(entry.get("creator"))
            models[slug] = Model(slug, category or "unknown", creator or "unknown")
    return tuple(models.values())


def parse_time(value: object) -> int | None:
    """Return ISO 8601 as Unix microseconds; a time without an offset is UTC, as the API's are. None where it
    is no time, or one that cannot be meant."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    micros = (seconds.days * 86_400 + seconds.seconds) * MICROS + seconds.microseconds
    return micros if EARLIEST_US <= micros < LATEST_US else None


def parse_message(value: object) -> str | None:
    """Return a message for people, cut short and on one line."""
    if not isinstance(value, str):
        return None
    # JSON can hold half a character (a lone surrogate), which nobody else takes, and NUL, which PostgreSQL
    # does not.
    text = value.encode(errors="replace").decode().replace("\0", "\ufffd")
    return " ".join(text.split())[:MAX_MESSAGE] or None


def _names(text: str, id: GenerationId) -> bool:
    """Whether `text` is the id, which for a UUID may be written in other letters."""
    if text == id:
        return True
    try:
        return check_generation_id(text) == id
    except ValueError:
        return False


def _status(text: str) -> Status | None:
    try:
        return Status(text)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    return text if 0 < len(text) <= MAX_TEXT and text.isprintable() else None


def _output_urls(payload: Json) -> tuple[str, ...]:
    """Return the URLs of the outputs."""
    urls = payload.get("output_urls")
    several = urls if isinstance(urls, list) else []
    found = [url for url in several if _is_url(url)] or [payload.get("output_url")]
    return tuple(str(url) for url in found if _is_url(url))[:MAX_URLS]


def _is_url(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_URL and value.isprintable()


def _number(value: object, low: float, high: float) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if low <= value <= high else None  # NaN is not


def _whole(value: object) -> int | None:
    number = _number(value, 1, 1e6)
    return None if number is None else int(number)


def _duration(value: object) -> int | None:
    millis = _number(value, 0, MAX_DURATION_US / 1_000)
    return None if millis is None else round(millis * 1_000)


def _credits(value: object) -> int | None:
    number = _number(value, 0, MAX_CREDITS_MICRO / MICROS)
    return None if number is None else round(number * MICROS)


def _outputs(payload: Json) -> int | None:
    urls = payload.get("output_urls")
    if isinstance(urls, list) and (count := sum(isinstance(url, str) and bool(url) for url in urls)):
        return count
    url = payload.get("output_url")
    return 1 if isinstance(url, str) and url else None
