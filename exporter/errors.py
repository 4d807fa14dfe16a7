"""The exporter's own exceptions. Foreign ones are translated where they enter, with the cause kept."""

from dataclasses import dataclass
from enum import StrEnum


class ExporterError(Exception):
    """Base of everything that the exporter raises on purpose; its text is meant for users."""


class ConfigError(ExporterError):
    """The configuration, or a file it names, cannot be used. The text may hold several lines."""


class IdFileError(ExporterError):
    """A file of ids cannot be used. The text says what is wrong and where, but not with which file."""


class ListenError(ExporterError):
    """An address could not be listened on."""


class StoreError(ExporterError):
    """The state could not be read or written."""


class UnstorableError(StoreError):
    """This write is refused by the state, which is able to store others."""


class StateUnusableError(StoreError):
    """The state cannot be used by this process: locked by another one, of a newer version, or not ours."""


class ApiErrorKind(StrEnum):
    """What an unsuccessful call means for the exporter; every decision is taken on this alone."""

    LOCKED_OUT = "locked_out"
    """The key does not work (401, TIER_LOCKED): nothing will, until that is mended."""
    NOT_YOURS = "not_yours"
    """This generation belongs to another account."""
    NOT_FOUND = "not_found"
    """The API knows no such generation, or not yet, or no longer."""
    RATE_LIMITED = "rate_limited"
    """Too many calls (429): wait."""
    UNAVAILABLE = "unavailable"
    """No usable answer: unreachable, 5xx, or a body that cannot be understood."""


@dataclass(eq=False)
class ApiError(ExporterError):
    """A call that brought no usable answer.

    `label` is the API's error code or a name of ours in lower case, fit for a metric label of few values.
    `retry_after` is in seconds, where the API asked for it.
    """

    kind: ApiErrorKind
    label: str
    message: str
    status: int | None = None
    retry_after: float | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.label}: {self.message}{request}"
