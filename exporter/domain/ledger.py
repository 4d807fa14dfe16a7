"""The durable totals: what each fact adds to them, and their sums in memory as of the last commit.

A total is a series (account, family, label values) of cells, each an integer: a counter has one, a histogram
one for its sum and one for each bucket. Adding integers is exact in any order, so a total is the same however
the facts were grouped, repeated after a crash, or divided among processes. A cell that reaches 64 bits stays
at their largest number.

The label values that have a series of their own are admitted in the transaction that first names them, and
are as durable as the totals: a value never changes between `other` and its own series.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.domain.labels import OTHER, LabelLimit
from exporter.domain.spend import Spend
from exporter.domain.values import UNKNOWN, AccountName, Discovered, Dropped, Ended, Fact, Started, Status

VALUE = "value"
SUM = "sum"
INFINITE = "le=+Inf"
LARGEST = 2**63 - 1
"""What a cell holds at most, in memory and in the store."""


class Label(StrEnum):
    """The labels whose values the API names."""

    MODEL = "model"
    REASON = "reason"


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
    BACKFILLED = "backfilled"
    ESTIMATES = "estimates"
    CHARGED = "charged"
    """What was used of the estimates of those that completed."""
    SPEND = "spend"
    """Not a sum of facts but `Spend`: its cells are replaced, and may become less."""


HISTOGRAMS = (Family.DURATION, Family.QUEUE)
"""The families that have the configured buckets."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a durable metric: its family and label values, in the order of the contract's table."""

    account: AccountName
    family: Family
    labels: tuple[str, ...]


Totals = Mapping[Series, Mapping[str, int]]
"""The cells of each series of an account."""


@dataclass(slots=True)
class Additions:
    """What a group of facts adds, none of which is negative: an amount for each series and cell, the label
    values that were given a place, and how often one found none, by account and label. `spend` replaces."""

    amounts: Counter[tuple[Series, str]] = field(default_factory=Counter)
    admitted: defaultdict[tuple[AccountName, Label], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    overflow: Counter[tuple[AccountName, Label]] = field(default_factory=Counter)
    spend: dict[AccountName, Spend] = field(default_factory=dict)


def bucket_cell(bound_us: int) -> str:
    """Return the cell of the bucket whose upper bound is `bound_us`."""
    return f"le={bound_us}"


def spend_of(account: AccountName) -> Series:
    """Return the series that holds what the account's wallet has spent."""
    return Series(account, Family.SPEND, ())


class Ledger:
    """The committed totals and admissions, and what facts add to them."""

    def __init__(self, duration_bounds_us: Iterable[int], max_models: int, max_reasons: int) -> None:
        self.bounds_us = tuple(duration_bounds_us)
        self.max_models = max_models
        self.overflow: Counter[tuple[AccountName, Label]] = Counter()
        self._limits = {Label.MODEL: LabelLimit(max_models), Label.REASON: LabelLimit(max_reasons)}
        self._totals: defaultdict[AccountName, dict[Series, Mapping[str, int]]] = defaultdict(dict)
        self._copies: dict[AccountName, Totals] = {}

    def load(
        self,
        account: AccountName,
        cells: Iterable[tuple[Series, str, int]],
        admissions: Iterable[tuple[Label, str]],
    ) -> list[Series]:
        """Replace what is known of `account` by what the store holds. Returns the series of which that is
        less than was known."""
        known = dict(self._totals[account])
        self._totals.pop(account, None)
        self._copies.pop(account, None)
        loading: defaultdict[Series, dict[str, int]] = defaultdict(dict)
        for series, cell, amount in cells:
            loading[series][cell] = amount
        self._totals[account].update(loading)
        admitted = list(admissions)
        for label, limit in self._limits.items():
            limit.load(account, (value for of, value in admitted if of is label))
        loaded = self._totals[account]
        return [
            series
            for series, cells in known.items()
            if series.family is not Family.SPEND
            and any(amount > loaded.get(series, {}).get(cell, 0) for cell, amount in cells.items())
        ]

    def is_loaded(self, account: AccountName) -> bool:
        """Return whether the account's totals are loaded, and there are any."""
        return bool(self._totals.get(account))

    def commit(self, additions: Additions) -> list[Series]:
        """Add what has just been committed to the store. Returns the series that reached the largest number
        by it, and are exact no longer."""
        full = []
        for (series, cell), amount in additions.amounts.items():
            self._copies.pop(series.account, None)
            cells = self._totals[series.account].get(series, {})
            before = cells.get(cell, 0)
            after = min(LARGEST, before + amount)
            # Replaced, not changed: whoever was given them may read them on another thread.
            self._totals[series.account][series] = {**cells, cell: after}
            if before < LARGEST == after:
                full.append(series)
        for (account, label), values in additions.admitted.items():
            self._limits[label].admit(account, values)
        self.overflow.update(additions.overflow)
        for account, spend in additions.spend.items():
            self._totals[account][spend_of(account)] = spend.cells()
        return full

    def spend(self, account: AccountName) -> Spend | None:
        """Return what the account's wallet has spent; None where it was never read."""
        return Spend.from_cells(self._totals[account].get(spend_of(account), {}))

    def known_models(self, account: AccountName) -> list[str]:
        """Return the models that have series of their own."""
        return self._limits[Label.MODEL].admitted(account)

    def known_reasons(self, account: AccountName) -> list[str]:
        """Return the reasons of failures that have series of their own."""
        return self._limits[Label.REASON].admitted(account)

    def shown_model(self, account: AccountName, model: str) -> str:
        """Return the value of the label `model` for `model`: itself, or `other`."""
        return self._limits[Label.MODEL].look_up(account, model)

    def totals(self, account: AccountName) -> Totals:
        """Return the committed totals of an account as they are now: the same object, and in it the same
        cells, as long as nothing is added to them."""
        copy = self._copies.get(account)
        if copy is None:
            copy = self._copies[account] = dict(self._totals.get(account, {}))
        return copy

    def series(self, account: AccountName, family: Family) -> Iterator[tuple[Series, Mapping[str, int]]]:
        """Yield the committed totals of one family."""
        for series, cells in self._totals[account].items():
            if series.family is family:
                yield series, cells

    def admit_model(self, account: AccountName, model: str, additions: Additions) -> None:
        """Give a model that is named for the first time a series of its own, where a place is left."""
        self._admit(additions, account, Label.MODEL, model)

    def enter(self, account: AccountName, fact: Fact, additions: Additions) -> None:
        """Add to `additions` what `fact` adds to the totals."""
        match fact:
            case Discovered(source):
                self._count(additions, Series(account, Family.DISCOVERED, (source.value,)), 1)
            case Dropped(reason):
                self._count(additions, Series(account, Family.DROPPED, (reason.value,)), 1)
            case Started(model, queue_us):
                folded = self._fold(additions, account, Label.MODEL, model)
                self._observe(additions, Series(account, Family.QUEUE, (folded,)), queue_us)
            case Ended():
                self._enter_end(account, fact, additions)

    def _enter_end(self, account: AccountName, ended: Ended, additions: Additions) -> None:
        end = ended.end
        model = self._fold(additions, account, Label.MODEL, ended.model)
        status = end.status.value
        self._count(additions, Series(account, Family.GENERATIONS, (model, status)), 1)
        self._count(additions, Series(account, Family.CREDITS, (model,)), end.credits_used_micro)
        self._count(additions, Series(account, Family.OUTPUTS, (model,)), end.outputs)
        if ended.estimate_micro is not None:
            self._count(additions, Series(account, Family.ESTIMATES, (model, status)), ended.estimate_micro)
            if end.status is Status.COMPLETED:
                self._count(additions, Series(account, Family.CHARGED, (model,)), end.credits_used_micro)
        if ended.backfilled:
            self._count(additions, Series(account, Family.BACKFILLED, (model, status)), 1)
        if end.duration_us is not None:
            self._observe(additions, Series(account, Family.DURATION, (model, status)), end.duration_us)
        if end.status is Status.FAILED:
            reason = self._fold(additions, account, Label.REASON, end.reason or UNKNOWN)
            self._count(additions, Series(account, Family.FAILURES, (model, reason)), 1)

    def _observe(self, additions: Additions, series: Series, amount_us: int) -> None:
        index = bisect_left(self.bounds_us, amount_us)
        cell = bucket_cell(self.bounds_us[index]) if index < len(self.bounds_us) else INFINITE
        additions.amounts[series, cell] += 1
        additions.amounts[series, SUM] += amount_us

    @staticmethod
    def _count(additions: Additions, series: Series, amount: int) -> None:
        additions.amounts[series, VALUE] += amount

    def _fold(self, additions: Additions, account: AccountName, label: Label, value: str) -> str:
        folded = self._admit(additions, account, label, value)
        if folded == OTHER:
            additions.overflow[account, label] += 1
        return folded

    def _admit(self, additions: Additions, account: AccountName, label: Label, value: str) -> str:
        limit = self._limits[label]
        if limit.look_up(account, value) == value:
            return value
        admitted = additions.admitted[account, label]
        if value not in admitted:
            if not limit.has_place(account, len(admitted)):
                return OTHER
            admitted.add(value)
        return value
