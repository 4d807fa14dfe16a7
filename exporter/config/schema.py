"""What the configuration may hold, section by section, with the contract's defaults.

Durations are integers of microseconds once read. Their bounds keep sums with a time of day representable,
and keep out values that no operator can mean: nothing lasts longer than 100 years, a pause between polls
not longer than a day, a call not longer than an hour.
"""

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, PlainValidator, model_validator

from exporter.config.durations import format_duration, parse_duration
from exporter.config.fields import (
    FilePath,
    InlineSecret,
    Pattern,
    Text,
    Variable,
    between,
    exactly_one,
)
from exporter.config.secret import Secret, SecretSource
from exporter.config.urls import check_base_url, check_state_url, check_trace_url
from exporter.domain.values import GenerationId, check_generation_id

MAX_BUCKETS = 100
MAX_ITEMS = 1_000
"""Accounts, and patterns of an account."""

_CENTURY = "36500d"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KEY = ("api_key", "api_key_env", "api_key_file")
_WEBHOOK_SECRET = ("webhook_secret_env", "webhook_secret_file")
_TOKEN = ("registration_token_env", "registration_token_file")
_STATE = ("url", "url_env", "url_file")


class Section(BaseModel):
    """A mapping of the configuration: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, validate_default=False
    )


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("expected a name of at most 64 letters, digits, '_', '.' and '-'")
    return value


def _no_repeats(ids: list[str]) -> list[str]:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ValueError(f"{id!r} is listed twice")
        seen.add(id)
    return ids


class Account(Section):
    """One wallet and its key. `name` becomes the label `account`."""

    name: Annotated[Text, AfterValidator(_name)]
    base_url: Annotated[Text, AfterValidator(check_base_url)] = "https://vivix-atelier.vercel.app"
    api_key: InlineSecret = None
    api_key_env: Variable | None = None
    api_key_file: FilePath | None = None
    rate_limit_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    calls_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    generations: Annotated[
        list[Annotated[str, PlainValidator(check_generation_id)]], FailFast(), AfterValidator(_no_repeats)
    ] = []
    generation_files: Annotated[list[Pattern], Field(max_length=MAX_ITEMS)] = []
    webhook_secret_env: Variable | None = None
    webhook_secret_file: FilePath | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, values: Any) -> Any:
        exactly_one(_KEY, values)
        if isinstance(values, dict) and all(values.get(key) is None for key in _KEY):
            raise ValueError(f"the key is missing: give exactly one of {', '.join(_KEY)}")
        exactly_one(_WEBHOOK_SECRET, values)
        return values

    @property
    def ids(self) -> list[GenerationId]:
        """The generations that are listed."""
        return [GenerationId(id) for id in self.generations]

    def key_source(self, folder: Path) -> SecretSource:
        """Return where the key comes from; a file is relative to `folder`."""
        file = None if self.api_key_file is None else folder / self.api_key_file
        return SecretSource(self.api_key, self.api_key_env, file)

    def webhook_secret_source(self, folder: Path) -> SecretSource | None:
        """Return where the secrets of the webhooks come from; None where the account has none."""
        return _secret_source(self.webhook_secret_env, self.webhook_secret_file, folder)


def _secret_source(env: str | None, file: str | None, folder: Path) -> SecretSource | None:
    if env is None and file is None:
        return None
    return SecretSource(env=env, file=None if file is None else folder / file)


class Polling(Section):
    """How often generations are polled, and for how long."""

    target_lag: Annotated[int, between("10ms", "1d")] = parse_duration("2s")
    min_interval: Annotated[int, between("10ms", "1d")] = parse_duration("500ms")
    max_interval: Annotated[int, between("10ms", "1d")] = parse_duration("60s")
    request_timeout: Annotated[int, between("10ms", "1h")] = parse_duration("10s")
    not_found_grace: Annotated[int, between("1ms", _CENTURY)] = parse_duration("60s")
    give_up_after: Annotated[int, between("1s", _CENTURY)] = parse_duration("24h")

    @model_validator(mode="after")
    def _ordered(self) -> "Polling":
        if self.min_interval > self.max_interval:
            raise ValueError(
                f"min_interval ({format_duration(self.min_interval)}) is longer than max_interval "
                f"({format_duration(self.max_interval)})"
            )
        return self


class State(Section):
    """What survives a restart. Without `url_env` and `url_file`, `url` holds."""

    url: Annotated[Text, AfterValidator(check_state_url)] = "sqlite:///vivix-exporter.db"
    url_env: Variable | None = None
    url_file: FilePath | None = None
    retention: Annotated[int, between("1s", _CENTURY)] = parse_duration("30d")

    @model_validator(mode="before")
    @classmethod
    def _one_url(cls, values: Any) -> Any:
        exactly_one(_STATE, values)
        return values

    def url_source(self, folder: Path) -> SecretSource | None:
        """Return where the URL is read from; None where it is given as `url`."""
        return _secret_source(self.url_env, self.url_file, folder)


def _buckets(bounds: list[int]) -> list[int]:
    if not bounds:
        raise ValueError(f"expected 1 to {MAX_BUCKETS} durations")
    if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
        raise ValueError("expected durations in increasing order")
    return bounds


_BUCKETS = "1s 2s 5s 10s 15s 20s 30s 45s 60s 90s 120s 180s 300s 600s"


class Metrics(Section):
    """The shape of `/metrics`."""

    duration_buckets: Annotated[
        list[Annotated[int, between("1ms", "365d")]], Field(max_length=MAX_BUCKETS), AfterValidator(_buckets)
    ] = [parse_duration(bound) for bound in _BUCKETS.split()]
    max_models: Annotated[int, Field(ge=1, le=10_000)] = 100
    max_failure_reasons: Annotated[int, Field(ge=1, le=10_000)] = 50


class Tracing(Section):
    """One trace per generation. No `exporter` is otlp where the environment names an endpoint, else none."""

    exporter: Literal["otlp", "console", "none"] | None = None
    capture_output_urls: bool = False


class Web(Section):
    """Our HTTP API and pages."""

    registration_token_env: Variable | None = None
    registration_token_file: FilePath | None = None
    trace_url: Annotated[Text, AfterValidator(check_trace_url)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_token(cls, values: Any) -> Any:
        exactly_one(_TOKEN, values)
        return values

    def token_source(self, folder: Path) -> SecretSource | None:
        """Return where the registration token comes from; None where registration is off."""
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

    accounts: Annotated[list[Account], Field(max_length=MAX_ITEMS), AfterValidator(_accounts)]
    polling: Polling = Polling()
    state: State = State()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    web: Web = Web()


class Config(Document):
    """A document, the folder that its relative paths start from, and where its state is: a SQLite file, or a
    PostgreSQL database by its URL."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    folder: Path
    state_at: Path | Secret
