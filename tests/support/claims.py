"""What the panels of the dashboards count, and what they must therefore show: the simulator's truth.

Each panel is either here, query by query, or among those that claim no sum.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import pytest

from mixin import limits
from support.sums import ByOne, Moment, Sums

Asked = dict[tuple[str, ...], float]
"""Values by their labels, in the order of the labels' names."""
_Counts = Counter[tuple[str, str, str]] | Counter[tuple[str, str]] | ByOne


@dataclass(frozen=True)
class Told:
    """What the truth is about: the chosen range, the one before it, and windows of their own."""

    range: Sums
    before: Sums = field(default_factory=Sums)
    windows: Mapping[str, Sums] = field(default_factory=dict)


Claim = Callable[[Told], Asked]


def by(values: _Counts, *places: int) -> Asked:
    """Sums by some of the labels, zeros included."""
    found: Counter[tuple[str, ...]] = Counter()
    for key, value in values.items():
        found[tuple(key[place] for place in places)] += value
    return {key: float(value) for key, value in found.items()}


def ratio(part: Asked, whole: Asked) -> Asked:
    """Divisions, where there is something to divide by."""
    return {key: part.get(key, 0.0) / value for key, value in whole.items() if value > 0}


def _total(values: _Counts) -> Asked:
    return {(): float(values.total())}


def _failed_part(told: Sums, *places: int) -> Asked:
    return ratio(by(told.of("failed"), *places), by(told.ended, *places))


def _each(told: Sums, *places: int) -> Asked:
    return ratio(by(told.credits, *places), by(told.of("completed"), *places))


def _burning(window: str) -> Claim:
    def claim(told: Told) -> Asked:
        return {key: part / limits.FAILURE_BUDGET for key, part in _failed_part(told.windows[window]).items()}

    return claim


def _worst(told: Told) -> Asked:
    ended = by(told.windows["1h"].ended, 0)
    parts = _failed_part(told.windows["1h"], 0)
    return {(): max(part for key, part in parts.items() if ended[key] >= limits.LEAST_ENDED)}


def _for(reasons: Collection[str]) -> Claim:
    """Failures for these reasons."""

    def claim(told: Told) -> Asked:
        return {(): sum(n for (reason,), n in by(told.range.failures, 2).items() if reason in reasons)}

    return claim


def _vendors(told: Told) -> Asked:
    others = {*limits.CALLERS_REASONS, *limits.WALLETS_REASONS}
    return {(): sum(n for (reason,), n in by(told.range.failures, 2).items() if reason not in others)}


def _more(this: Asked, before: Asked) -> Asked:
    return {key: value - before.get(key, 0.0) for key, value in this.items()}


def _seconds_each(told: Told) -> Asked:
    completed = Counter({key: n for key, n in told.range.microseconds.items() if key[2] == "completed"})
    each = ratio(by(completed, 1), by(told.range.outputs, 1))
    return {key: value / 1e6 for key, value in each.items()}


def _credits_by_account(told: Told) -> Asked:
    return by(told.range.credits, 0)


def _failures_by_reason(told: Told) -> Asked:
    return by(told.range.failures, 2)


OF_RANGE: Mapping[str, tuple[Claim, ...]] = {
    "vivix-overview: Finished": (lambda told: by(told.range.ended, 2),),
    "vivix-overview: Failures, by reason": (_failures_by_reason,),
    "vivix-overview: Credits, by account": (_credits_by_account,),
    "vivix-failures: Failed": (lambda told: _total(told.range.of("failed")),),
    "vivix-failures: Failure ratio": (lambda told: _failed_part(told.range),),
    "vivix-failures: Dropped": (lambda told: _total(told.range.dropped),),
    "vivix-failures: Failures, by reason": (_failures_by_reason,),
    "vivix-failures: Failures, by model and reason": (lambda told: by(told.range.failures, 1, 2),),
    "vivix-failures: By model": (
        lambda told: by(told.range.ended, 1),
        lambda told: _failed_part(told.range, 1),
    ),
    "vivix-failures: By account": (
        lambda told: by(told.range.ended, 0),
        lambda told: _failed_part(told.range, 0),
    ),
    "vivix-failures: Whose doing": (
        _vendors,
        _for(limits.CALLERS_REASONS),
        _for(limits.WALLETS_REASONS),
    ),
    "vivix-cost: Credits used": (lambda told: _total(told.range.credits),),
    "vivix-cost: Per completed generation": (lambda told: _each(told.range),),
    "vivix-cost: Seen by the exporter": (lambda told: {(): 1.0},),
    "vivix-cost: Credits, by model": (lambda told: by(told.range.credits, 1),),
    "vivix-cost: Credits, by account": (_credits_by_account,),
    "vivix-cost: Per completed generation, by model": (lambda told: _each(told.range, 1),),
    "vivix-cost: By account and model": (
        lambda told: by(told.range.credits, 0, 1),
        lambda told: by(told.range.of("completed"), 0, 1),
        lambda told: _each(told.range, 0, 1),
    ),
    "vivix-cost: Spend that the exporter did not see": (
        _credits_by_account,
        _credits_by_account,
        lambda told: dict.fromkeys(by(told.range.credits, 0), 0.0),
        lambda told: dict.fromkeys(by(told.range.credits, 0), 1.0),
    ),
    "vivix-cost: Estimate against actual": (
        lambda told: by(told.range.estimates("completed"), 1),
        lambda told: by(told.range.charged, 1),
        lambda told: ratio(by(told.range.charged, 1), by(told.range.estimates("completed"), 1)),
    ),
    "vivix-cost: Refunded for failures": (lambda told: by(told.range.estimates("failed"), 0),),
    "vivix-cost: Per output, by model": (
        lambda told: ratio(by(told.range.credits, 1), by(told.range.outputs, 1)),
        _seconds_each,
    ),
    "vivix-exporter: Ids registered, by source": (lambda told: by(told.range.registered, 0),),
    "vivix-exporter: Dropped, by reason": (lambda told: by(told.range.dropped, 0),),
}
"""About the chosen range. The bars of a graph add up to it."""

OF_OTHER_WINDOWS: Mapping[str, tuple[Claim, ...]] = {
    "vivix-overview: Worst failure ratio, 1 h": (_worst,),
    "vivix-overview: Finished, 10 min": (lambda told: _total(told.windows["10m"].ended),),
    "vivix-overview: Credits, last hour": (lambda told: _total(told.windows["1h"].credits),),
    "vivix-failures: Burn rate, 1h": (_burning("1h"),),
    "vivix-failures: Burn rate, 6h": (_burning("6h"),),
    "vivix-failures: Budget left, 30 days": (
        lambda told: {(): 1 - _failed_part(told.windows["30d"])[()] / limits.FAILURE_BUDGET},
    ),
    "vivix-failures: What changed, by reason": (
        lambda told: by(told.before.failures, 2),
        lambda told: by(told.range.failures, 2),
        lambda told: _more(by(told.range.failures, 2), by(told.before.failures, 2)),
    ),
    "vivix-failures: What changed, by model": (
        lambda told: by(told.before.ended, 1),
        lambda told: by(told.range.ended, 1),
        lambda told: _more(by(told.range.ended, 1), by(told.before.ended, 1)),
    ),
}
"""About windows that are not the chosen one, or not only."""

Shown = Callable[[Moment], Asked]


def _left(now: Moment) -> Asked:
    return _total(now.balance)


IN_FLIGHT: Mapping[str, tuple[Shown, ...]] = {
    "vivix-overview: In flight": (lambda now: _total(now.in_flight),),
    "vivix-failures: Use of the plan, by account": (
        lambda now: {(*key, "vivix"): n for key, n in ratio(by(now.in_flight, 0), by(now.jobs, 0)).items()},
    ),
    "vivix-cost: Reserved": (lambda now: _total(now.reserved),),
}
"""About what is in flight."""

OF_A_MOMENT: Mapping[str, tuple[Shown, ...]] = {
    **IN_FLIGHT,
    "vivix-overview: Credits left": (_left,),
    "vivix-cost: Credits left": (_left,),
    "vivix-overview: Wallets": (lambda now: by(now.balance, 0),),
    "vivix-cost: Credits left, by account": (lambda now: by(now.balance, 0),),
    "vivix-cost: Left of the grant, by account": (lambda now: ratio(by(now.balance, 0), by(now.granted, 0)),),
    "vivix-cost: Until the next grant": (
        lambda now: by(now.granted, 0),
        lambda now: by(now.spent, 0),
        lambda now: by(now.balance, 0),
    ),
}
"""About one moment; further queries of these panels are limits or forecasts."""

NO_SUM = {
    "vivix-overview: Firing alerts",
    "vivix-overview: Alerts",
    # Forecasts, and what is compared along a graph.
    "vivix-overview: First runs out in",
    "vivix-cost: First runs out in",
    "vivix-overview: Failure ratio, 30 min, by account",
    "vivix-failures: Failure ratio, 30 min, by model",
    "vivix-failures: Burn rate",
    # How long things take.
    "vivix-overview: Oldest in flight",
    "vivix-overview: How long, by model",
    "vivix-overview: 95 of 100 done within, by model",
    "vivix-failures: How long, with traces",
    "vivix-failures: Failed after, with traces",
    "vivix-failures: Slowness against the day before",
    "vivix-failures: Queue or rendering",
}
"""Claim neither a count nor a sum; nor does what the exporter says of its own process."""
OF_PROCESSES = "vivix-exporter: "


def agree(found: Asked, expected: Asked) -> bool:
    """Whether values are as they must be. A row that says 0 says as much as none; what must come to one sum
    may be shown in parts."""
    if expected.keys() == {()} and found:
        found = {(): sum(found.values())}
    return _rows(found) == pytest.approx(_rows(expected), rel=1e-9)


def _rows(values: Asked) -> Asked:
    return {key: value for key, value in values.items() if value or not key}
