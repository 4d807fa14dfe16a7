"""Wallet, plan and models of an account, as the API last reported them, until they are stale."""

from dataclasses import replace
from enum import StrEnum

from exporter.domain.values import UNKNOWN
from exporter.vivix.payload import Model, Plan

PLAN_EVERY = 60.0
"""Seconds between two requests for the wallet, and after a failed one for the models."""
MODELS_EVERY = 3600.0
"""Seconds between two requests for the models, once they are known."""
STALE = 5
"""Rounds that may fail before what was known is no longer shown."""


class Due(StrEnum):
    """What is refreshed from time to time."""

    PLAN = "plan"
    MODELS = "models"


class AccountInfo:
    """Plan and models of one account, with their age. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._plan_at = self._models_at = float("-inf")
        self._models: tuple[Model, ...] = ()
        self._next = {Due.PLAN: float("-inf"), Due.MODELS: float("-inf")}
        self._remaining: int | None = None
        self._remaining_at = float("-inf")

    def due(self, now: float) -> Due | None:
        """Return what should be requested now; neither more than once in `PLAN_EVERY`."""
        return next((what for what, at in self._next.items() if at <= now), None)

    def next_due(self) -> float:
        """Return when something should be requested next."""
        return min(self._next.values())

    def asked(self, what: Due, now: float) -> None:
        """Note a request. Should it fail, the next one is a round later."""
        self._next[what] = now + PLAN_EVERY

    def set_plan(self, plan: Plan, now: float) -> None:
        """Keep the plan and wallet."""
        self._plan, self._plan_at = plan, now

    def set_models(self, models: tuple[Model, ...], now: float) -> None:
        """Keep the models."""
        self._models, self._models_at = models, now
        self._next[Due.MODELS] = now + MODELS_EVERY

    def answered(self, calls_remaining: int | None, credits_balance: float | None, now: float) -> None:
        """Note the headers of any answer: calls left in this minute, and the wallet."""
        if calls_remaining is not None:
            self._remaining, self._remaining_at = calls_remaining, now
        if credits_balance is not None and self._plan is not None:
            self._plan = replace(self._plan, balance=credits_balance)

    def plan(self, now: float) -> Plan | None:
        """Return the plan and wallet, or None where they are unknown or stale."""
        return self._plan if self._plan_at >= now - STALE * PLAN_EVERY else None

    def models(self, now: float) -> tuple[Model, ...]:
        """Return the models, or none where they are unknown or stale."""
        return self._models if self._models_at >= now - STALE * MODELS_EVERY else ()

    @property
    def knows_models(self) -> bool:
        """Whether the API has ever listed its models."""
        return self._models_at > float("-inf")

    def category(self, model: str) -> str | None:
        """Return what a model makes, as far as the API ever reported it; that does not grow stale."""
        return next((m.category for m in self._models if m.slug == model and m.category != UNKNOWN), None)

    def calls_remaining(self, now: float) -> int | None:
        """Return the calls left in the current minute, by an answer of the last one."""
        return self._remaining if self._remaining_at >= now - 60 else None
