"""The durable totals: which numbers each fact adds to, and their sums in memory as of the last commit.

A total is a series (account, family, label values) of cells, each an integer: a counter has one, a histogram
one for its sum and one for each bucket. Adding integers is exact in any order, so a total is the same however
the facts were grouped, repeated after a crash, or divided among processes.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.domain.labels import OTHER, LabelLimit
from exporter.domain.values import UNKNOWN, AccountName, Discovered, Dropped, Ended, Fact, Started, Status

VALUE = "value"
SUM = "sum"
INFINITE = "le=+Inf"


class Family(StrEnum):
    """The durable metrics; the names are those of the contract without prefix and unit."""

    GENERATIONS = "generations"
    FAILURES = "failures"
    DURATION = "duration"
    QUEUE = "queue"
    CREDITS = "credits"
    OUTPUTS = "outputs"
    DISCOVERED = "discovered"
    DROPPED = "dropped"


HISTOGRAMS = (Family.DURATION, Family.QUEUE)
"""The families that have the configured buckets."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a durable metric: its family and label values, in the order of the contract's table."""

    account: AccountName
    family: Family
    labels: tuple[str, ...]


@dataclass(slots=True)
class Additions:
    """What a group of facts adds: an amount for each series and cell, and the label values that found no
    place, by account and label."""

    amounts: Counter[tuple[Series, str]] = field(default_factory=Counter)
    overflow: Counter[tuple[AccountName, str]] = field(default_factory=Counter)


def bucket_cell(bound_us: int) -> str:
    """The cell of the bucket whose upper bound is `bound_us`."""
    return f"le={bound_us}"


class Ledger:
    """Turns facts into additions, and holds the totals that are committed."""

    def __init__(self, duration_bounds_us: Iterable[int], max_models: int, max_reasons: int) -> None:
        self.bounds_us = tuple(duration_bounds_us)
        self.models = LabelLimit(max_models)
        self.reasons = LabelLimit(max_reasons)
        self.overflow: Counter[tuple[AccountName, str]] = Counter()
        self._totals: defaultdict[AccountName, dict[Series, dict[str, int]]] = defaultdict(dict)

    def load(self, account: AccountName, cells: Iterable[tuple[Series, str, int]]) -> None:
        """Start from what the store holds for `account`, instead of whatever was known before."""
        self._totals.pop(account, None)
        for series, cell, amount in cells:
            self._totals[account].setdefault(series, {})[cell] = amount
            if series.family in (Family.GENERATIONS, Family.QUEUE):
                self.models.admit(account, series.labels[0])
            elif series.family is Family.FAILURES:
                self.reasons.admit(account, series.labels[1])

    def is_loaded(self, account: AccountName) -> bool:
        """Whether the account's totals are here, and there are any."""
        return bool(self._totals.get(account))

    def commit(self, additions: Additions) -> None:
        """Add what has just been committed to the store."""
        for (series, cell), amount in additions.amounts.items():
            cells = self._totals[series.account].setdefault(series, {})
            cells[cell] = cells.get(cell, 0) + amount
        self.overflow.update(additions.overflow)

    def known_models(self, account: AccountName) -> list[str]:
        """The models that the account has series for, or will have once one of them ends."""
        return self.models.admitted(account)

    def known_reasons(self, account: AccountName) -> list[str]:
        """The reasons that the account's generations have failed for."""
        return self.reasons.admitted(account)

    def series(self, account: AccountName, family: Family) -> Iterator[tuple[Series, Mapping[str, int]]]:
        """The committed totals of one family."""
        for series, cells in self._totals[account].items():
            if series.family is family:
                yield series, cells

    def enter(self, account: AccountName, fact: Fact, additions: Additions) -> None:
        """Add to `additions` what `fact` adds to the totals."""
        match fact:
            case Discovered(source):
                self._count(additions, Series(account, Family.DISCOVERED, (source.value,)), 1)
            case Dropped(reason):
                self._count(additions, Series(account, Family.DROPPED, (reason.value,)), 1)
            case Started(model, queue_us):
                folded = self._fold(additions, account, "model", self.models, model)
                self._observe(additions, Series(account, Family.QUEUE, (folded,)), queue_us)
            case Ended():
                self._enter_end(account, fact, additions)

    def _enter_end(self, account: AccountName, ended: Ended, additions: Additions) -> None:
        end = ended.end
        model = self._fold(additions, account, "model", self.models, ended.model)
        status = end.status.value
        self._count(additions, Series(account, Family.GENERATIONS, (model, status)), 1)
        self._count(additions, Series(account, Family.CREDITS, (model,)), end.credits_used_micro)
        self._count(additions, Series(account, Family.OUTPUTS, (model,)), end.outputs)
        if end.duration_us is not None:
            self._observe(additions, Series(account, Family.DURATION, (model, status)), end.duration_us)
        if end.status is Status.FAILED:
            reason = self._fold(additions, account, "reason", self.reasons, end.reason or UNKNOWN)
            self._count(additions, Series(account, Family.FAILURES, (model, reason)), 1)

    def _observe(self, additions: Additions, series: Series, amount_us: int) -> None:
        index = bisect_left(self.bounds_us, amount_us)
        cell = bucket_cell(self.bounds_us[index]) if index < len(self.bounds_us) else INFINITE
        additions.amounts[series, cell] += 1
        additions.amounts[series, SUM] += amount_us

    @staticmethod
    def _count(additions: Additions, series: Series, amount: int) -> None:
        additions.amounts[series, VALUE] += amount

    @staticmethod
    def _fold(additions: Additions, account: AccountName, label: str, limit: LabelLimit, value: str) -> str:
        folded = limit.fold(account, value)
        if folded == OTHER:
            additions.overflow[account, label] += 1
        return folded
