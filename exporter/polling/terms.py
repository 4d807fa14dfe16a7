"""The terms on which an account is called."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """How an account is called by its configuration; a reload may change all of it.

    `read_key` returns the key in force, or raises ConfigError; `calls_per_minute` overrides the API's plan.
    """

    read_key: Callable[[], str]
    rate_limit_share: float
    calls_per_minute: int | None
    request_timeout_us: int
    not_found_grace_us: int
    give_up_after_us: int
