"""What the first page says of the last hour, day and week, and how long each model usually takes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.clock import MICROS
from exporter.domain.ledger import SUM, Family, Series, bucket_cell
from exporter.domain.values import AccountName, Status
from exporter.store.overview import Ends, Failures
from exporter.store.reading import Reading

HOUR_US = 3_600 * MICROS
DAY_US, WEEK_US = 24 * HOUR_US, 168 * HOUR_US
STEPS = 28
"""Points of the line that shows how failures developed over a week."""
GROUPS = 10
"""Reasons, and models, that are shown."""
_ENOUGH = 5
"""Generations from which on it can be said what is usual."""


@dataclass(frozen=True, slots=True)
class Group:
    """Failures of one reason, or model, in the last hour, day and week; `line` is the week in steps."""

    name: str
    hour: int
    day: int
    week: int
    line: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lately:
    """What ended of an account, in the last hour and in the last day."""

    ended_hour: int = 0
    ended_day: int = 0
    failed_hour: int = 0
    failed_day: int = 0
    credits_hour_micro: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """All of it; `usual_us` is the median duration by account and model."""

    lately: Mapping[AccountName, Lately]
    reasons: Sequence[Group]
    models: Sequence[Group]
    usual_us: Mapping[tuple[AccountName, str], int]


def summarise(
    reading: Reading, accounts: Collection[AccountName], bounds_us: Sequence[int], now_us: int
) -> Summary:
    """Read the summary; `bounds_us` are the buckets of durations. Raises StoreError."""
    overview = reading.overview
    hour, day = overview.ends(now_us - HOUR_US), overview.ends(now_us - DAY_US)
    failed = [
        overview.failures(now_us - HOUR_US, 2 * HOUR_US),
        overview.failures(now_us - DAY_US, 2 * DAY_US),
        overview.failures(now_us - WEEK_US, WEEK_US // STEPS),
    ]
    return Summary(
        {account: _lately(account, hour, day) for account in accounts},
        _groups(*([(one.reason, one) for one in window] for window in failed)),
        _groups(*([(one.model, one) for one in window] for window in failed)),
        dict(usual for account in accounts for usual in _usual(reading, account, bounds_us)),
    )


def _lately(account: AccountName, hour: Sequence[Ends], day: Sequence[Ends]) -> Lately:
    def of(window: Sequence[Ends], *statuses: Status) -> int:
        return sum(one.count for one in window if one.account == account and one.status in statuses)

    return Lately(
        ended_hour=of(hour, *Status),
        ended_day=of(day, *Status),
        failed_hour=of(hour, Status.FAILED),
        failed_day=of(day, Status.FAILED),
        credits_hour_micro=sum(one.credits_micro for one in hour if one.account == account),
    )


def _groups(*windows: Sequence[tuple[str, Failures]]) -> list[Group]:
    hour, day, week = (Counter[str]() for _ in windows)
    for counts, window in zip((hour, day, week), windows, strict=True):
        for name, one in window:
            counts[name] += one.count
    lines: defaultdict[str, list[int]] = defaultdict(lambda: [0] * STEPS)
    for name, one in windows[2]:
        lines[name][min(one.step, STEPS - 1)] += one.count
    return [
        Group(name, hour[name], day[name], count, tuple(lines[name]))
        for name, count in week.most_common(GROUPS)
    ]


def _usual(
    reading: Reading, account: AccountName, bounds_us: Sequence[int]
) -> Iterator[tuple[tuple[AccountName, str], int]]:
    cells: defaultdict[Series, dict[str, int]] = defaultdict(dict)
    for series, cell, amount in reading.totals(account):
        if series.family is Family.DURATION and series.labels[1] == Status.COMPLETED.value and cell != SUM:
            cells[series][cell] = amount
    for series, buckets in cells.items():
        if (median := _median_us(buckets, bounds_us)) is not None:
            yield (account, series.labels[0]), median


def _median_us(buckets: Mapping[str, int], bounds_us: Sequence[int]) -> int | None:
    """Return the median, interpolated within its bucket as PromQL does; None where there is too little."""
    number = sum(buckets.values())
    if number < _ENOUGH:
        return None
    below = lower = 0
    for bound in bounds_us:
        count = buckets.get(bucket_cell(bound), 0)
        if count and below + count >= number / 2:
            return round(lower + (bound - lower) * (number / 2 - below) / count)
        below, lower = below + count, bound
    return lower or None
