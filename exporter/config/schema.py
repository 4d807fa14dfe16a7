"""What the configuration may hold, key by key, with the contract's defaults.

Durations are integers of microseconds once read. Errors say what was expected; the loader adds where.
"""

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

from exporter.config.durations import format_duration, parse_duration
from exporter.config.secret import Secret, SecretSource
from exporter.domain.values import GenerationId, check_generation_id

MAX_BUCKETS = 100

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def _duration(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"expected a duration such as 2s or 1h30m, got {value}; add a unit")
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 2s or 1h30m")
    try:
        micros = parse_duration(value)
    except ValueError:
        raise ValueError(f"expected a duration such as 500ms, 2s, 1h30m or 30d, got {value!r}") from None
    if micros == 0:
        raise ValueError("a duration must be longer than nothing")
    return micros


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("expected a name of at most 64 letters, digits, '_', '.' and '-'")
    return value


def _base_url(value: str) -> str:
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError as error:
        raise ValueError(f"expected a URL such as https://vivix-atelier.vercel.app ({error})") from None
    if url.scheme not in ("http", "https") or not url.hostname or any(c.isspace() for c in value):
        raise ValueError("expected a URL such as https://vivix-atelier.vercel.app")
    if url.username is not None or url.query or url.fragment:
        raise ValueError("expected a URL without user, query and fragment")
    return value.rstrip("/")


def _glob(value: str) -> str:
    if not value.isprintable():
        raise ValueError("expected a path or a pattern such as ids/*.txt")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return value


def _no_repeats(ids: list[str]) -> list[str]:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ValueError(f"{id!r} is listed twice")
        seen.add(id)
    return ids


Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[int, PlainValidator(_duration)]
"""Microseconds."""
GenerationIdText = Annotated[str, PlainValidator(check_generation_id)]


class Section(BaseModel):
    """A mapping of the configuration: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, validate_default=False
    )


def _exactly_one(keys: tuple[str, ...], values: object) -> None:
    if isinstance(values, dict):
        found = [key for key in keys if values.get(key) is not None]
        if len(found) > 1:
            raise ValueError(f"give exactly one of {', '.join(keys)}; found {' and '.join(found)}")


class Account(Section):
    """One wallet and its key. `name` becomes the label `account`."""

    name: Annotated[Text, AfterValidator(_name)]
    base_url: Annotated[Text, AfterValidator(_base_url)] = "https://vivix-atelier.vercel.app"
    api_key: Annotated[Secret | None, PlainValidator(lambda v: None if v is None else Secret(_text(v)))] = (
        None
    )
    api_key_env: Text | None = None
    api_key_file: Text | None = None
    rate_limit_share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.5
    calls_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    generations: Annotated[list[GenerationIdText], AfterValidator(_no_repeats)] = []
    generation_files: list[Annotated[Text, AfterValidator(_glob)]] = []
    webhook_secret_env: Text | None = None
    webhook_secret_file: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, values: Any) -> Any:
        keys = ("api_key", "api_key_env", "api_key_file")
        _exactly_one(keys, values)
        if isinstance(values, dict) and not any(key in values for key in keys):
            raise ValueError(f"the key is missing: give exactly one of {', '.join(keys)}")
        _exactly_one(("webhook_secret_env", "webhook_secret_file"), values)
        return values

    @property
    def ids(self) -> list[GenerationId]:
        """The generations that are listed."""
        return [GenerationId(id) for id in self.generations]

    def key_source(self, folder: Path) -> SecretSource:
        """Where the key comes from; a file is relative to `folder`."""
        file = None if self.api_key_file is None else folder / self.api_key_file
        return SecretSource(self.api_key, self.api_key_env, file)

    def webhook_secret_source(self, folder: Path) -> SecretSource | None:
        """Where the secrets of the webhooks come from; None where the account has none."""
        return _secret_source(self.webhook_secret_env, self.webhook_secret_file, folder)


def _secret_source(env: str | None, file: str | None, folder: Path) -> SecretSource | None:
    if env is None and file is None:
        return None
    return SecretSource(env=env, file=None if file is None else folder / file)


class Polling(Section):
    """When to look."""

    target_lag: Duration = parse_duration("2s")
    min_interval: Duration = parse_duration("500ms")
    max_interval: Duration = parse_duration("60s")
    request_timeout: Duration = parse_duration("10s")
    not_found_grace: Duration = parse_duration("60s")
    give_up_after: Duration = parse_duration("24h")

    @model_validator(mode="after")
    def _ordered(self) -> "Polling":
        if self.min_interval > self.max_interval:
            raise ValueError(
                f"min_interval ({format_duration(self.min_interval)}) is longer than max_interval "
                f"({format_duration(self.max_interval)})"
            )
        return self


def _state_url(value: str) -> str:
    if value.startswith(("postgresql:", "postgres:")):
        raise ValueError("PostgreSQL is not supported by this version yet; use sqlite:///FILE")
    if not re.fullmatch(r"sqlite:///[^?#]+", value):
        raise ValueError("expected sqlite:///FILE, relative to this file, or sqlite:////ABSOLUTE/FILE")
    return value


class State(Section):
    """What survives a restart."""

    url: Annotated[Text, AfterValidator(_state_url)] = "sqlite:///vivix-exporter.db"
    retention: Duration = parse_duration("30d")


def _buckets(bounds: list[int]) -> list[int]:
    if not 1 <= len(bounds) <= MAX_BUCKETS:
        raise ValueError(f"expected 1 to {MAX_BUCKETS} durations")
    if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
        raise ValueError("expected durations in increasing order")
    return bounds


_BUCKETS = "1s 2s 5s 10s 15s 20s 30s 45s 60s 90s 120s 180s 300s 600s"


class Metrics(Section):
    """The shape of `/metrics`."""

    duration_buckets: Annotated[list[Duration], AfterValidator(_buckets)] = [
        parse_duration(bound) for bound in _BUCKETS.split()
    ]
    max_models: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_failure_reasons: Annotated[int, Field(ge=1, le=10_000)] = 50


class Tracing(Section):
    """One trace per generation. No `exporter` is otlp where the environment names an endpoint, else none."""

    exporter: Literal["otlp", "console", "none"] | None = None
    capture_output_urls: bool = False


def _trace_url(value: str) -> str:
    if "{trace_id}" not in value or not value.startswith(("http://", "https://")):
        raise ValueError("expected a URL that holds {trace_id}")
    return value


class Web(Section):
    """The exporter's own HTTP."""

    registration_token_env: Text | None = None
    registration_token_file: Text | None = None
    trace_url: Annotated[Text, AfterValidator(_trace_url)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_token(cls, values: Any) -> Any:
        _exactly_one(("registration_token_env", "registration_token_file"), values)
        return values

    def token_source(self, folder: Path) -> SecretSource | None:
        """Where the token of registration comes from; None where registration is off."""
        return _secret_source(self.registration_token_env, self.registration_token_file, folder)


def _accounts(accounts: list[Account]) -> list[Account]:
    if not accounts:
        raise ValueError("expected at least one account")
    seen: set[str] = set()
    for account in accounts:
        if account.name in seen:
            raise ValueError(f"two accounts have the name {account.name!r}")
        seen.add(account.name)
    return accounts


class Document(Section):
    """The whole file."""

    accounts: Annotated[list[Account], AfterValidator(_accounts)]
    polling: Polling = Polling()
    state: State = State()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    web: Web = Web()


class Config(Document):
    """A document and the folder that its relative paths start from."""

    folder: Path

    @property
    def state_path(self) -> Path:
        """The SQLite file."""
        return self.folder / self.state.url.removeprefix("sqlite:///")
