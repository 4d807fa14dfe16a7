"""What the API last said about an account itself: wallet, plan, models. Old news is no news."""

from dataclasses import replace
from enum import StrEnum

from exporter.domain.values import UNKNOWN
from exporter.vivix.payload import Model, Plan

PLAN_EVERY = 60.0
"""Seconds between two looks at the wallet."""
MODELS_EVERY = 3600.0
"""Seconds between two looks at the models."""
STALE = 5
"""Rounds that may fail before what was known is no longer shown."""


class Due(StrEnum):
    """What wants refreshing."""

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
        """What should be asked for now."""
        return next((what for what, at in self._next.items() if at <= now), None)

    def next_due(self) -> float:
        """When something should be asked for next."""
        return min(self._next.values())

    def asked(self, what: Due, now: float) -> None:
        """It is being asked for; should that fail, it is asked for again a round later."""
        self._next[what] = now + PLAN_EVERY

    def set_plan(self, plan: Plan, now: float) -> None:
        self._plan, self._plan_at = plan, now

    def set_models(self, models: tuple[Model, ...], now: float) -> None:
        self._models, self._models_at = models, now
        self._next[Due.MODELS] = now + MODELS_EVERY

    def answered(self, calls_remaining: int | None, credits_balance: float | None, now: float) -> None:
        """The headers of any answer: calls left in this minute, and the wallet."""
        if calls_remaining is not None:
            self._remaining, self._remaining_at = calls_remaining, now
        if credits_balance is not None and self._plan is not None:
            self._plan = replace(self._plan, balance=credits_balance)

    def plan(self, now: float) -> Plan | None:
        """The plan and wallet, or None where nobody knows them any more."""
        return self._plan if self._plan_at >= now - STALE * PLAN_EVERY else None

    def models(self, now: float) -> tuple[Model, ...]:
        """The models, or none where nobody knows them any more."""
        return self._models if self._models_at >= now - STALE * MODELS_EVERY else ()

    @property
    def knows_models(self) -> bool:
        """Whether the API has ever said which models there are."""
        return self._models_at > float("-inf")

    def category(self, model: str) -> str | None:
        """What a model makes, as far as the API ever said; that does not age."""
        return next((m.category for m in self._models if m.slug == model and m.category != UNKNOWN), None)

    def calls_remaining(self, now: float) -> int | None:
        """Calls left in the current minute, by an answer of the last one."""
        return self._remaining if self._remaining_at >= now - 60 else None
