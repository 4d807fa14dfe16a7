"""The exporter's own exceptions. Foreign ones are translated where they enter, and kept as the cause."""

from dataclasses import dataclass
from enum import StrEnum


class ExporterError(Exception):
    """Base of everything that the exporter raises on purpose. Its text is for users."""


class ConfigError(ExporterError):
    """The configuration, or a file it names, cannot be used. The text may hold several lines."""


class IdFileError(ExporterError):
    """A file of ids cannot be used. The text names the fault and its place, but not the file."""


class ListenError(ExporterError):
    """An address could not be listened on."""


class StoreError(ExporterError):
    """The state could not be read or written."""


class UnstorableError(StoreError):
    """This write is refused by the state, which is able to store others."""


class NotOwnerError(StoreError):
    """This write is for an account that another replica may own by now."""

    def __init__(self) -> None:
        super().__init__("another replica may own the account by now")


class StateUnusableError(StoreError):
    """The state cannot be used by this process: locked by another one, of a newer version, or not ours."""


class ApiErrorKind(StrEnum):
    """What an unsuccessful call means for the exporter; every decision is taken on this alone."""

    LOCKED_OUT = "locked_out"
    """The key does not work (401, TIER_LOCKED), and nothing else will until that is fixed."""
    NOT_YOURS = "not_yours"
    """This generation belongs to another account."""
    NOT_FOUND = "not_found"
    """The API knows no such generation, or not yet, or no longer."""
    REFUSED = "refused"
    """Any other 4xx with an error of the API: it answers nothing else for what was asked."""
    UNEXPLAINED = "unexplained"
    """A 4xx without an error of the API, or an answer about another generation: either what was asked for is
    to blame, or something between here and the API."""
    RATE_LIMITED = "rate_limited"
    """Too many calls (429): wait."""
    UNREACHABLE = "unreachable"
    """No connection, so that nothing was asked: DNS, refused, TLS, a proxy."""
    UNAVAILABLE = "unavailable"
    """No usable answer: a timeout, a broken connection, 5xx, or a body that makes no sense."""

    @property
    def answers(self) -> bool:
        """Whether it is an answer of the API to a valid key, in its own words, about one generation."""
        return self in (ApiErrorKind.NOT_YOURS, ApiErrorKind.NOT_FOUND, ApiErrorKind.REFUSED)


@dataclass(eq=False)
class ApiError(ExporterError):
    """A call without a usable answer.

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
