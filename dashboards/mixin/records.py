"""Recording rules: each durable series once, whatever instances show it, and what grew over windows.

The exporter's durable counters never step back, so the largest value that any instance shows is the latest.
Its difference between two instants counts exactly over moves, restarts and first appearances, where
`increase` counts each instance's series by itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixin import limits
from mixin.uids import LOADED


def _each_once(*windows: str) -> Sequence[str]:
    return tuple(dict.fromkeys(windows))


_STATUS, _MODEL, _ACCOUNT = ("model", "status"), ("model",), ()
RECORDED: Mapping[str, tuple[str, ...]] = {
    "vivix_generations_total": _STATUS,
    "vivix_generations_backfilled_total": _STATUS,
    "vivix_generation_failures_total": ("model", "reason"),
    "vivix_generation_duration_seconds_bucket": ("model", "status", "le"),
    "vivix_generation_duration_seconds_sum": _STATUS,
    "vivix_generation_duration_seconds_count": _STATUS,
    "vivix_generation_queue_seconds_bucket": ("model", "le"),
    "vivix_generation_queue_seconds_sum": _MODEL,
    "vivix_generation_queue_seconds_count": _MODEL,
    "vivix_credits_used_total": _MODEL,
    "vivix_credits_estimated_total": _STATUS,
    "vivix_credits_used_where_estimated_total": _MODEL,
    "vivix_generation_outputs_total": _MODEL,
    "vivix_generations_discovered_total": ("source",),
    "vivix_generations_dropped_total": ("reason",),
    "vivix_generations_in_flight": _STATUS,
    "vivix_generations_unseen": _ACCOUNT,
    "vivix_credits_in_flight": _MODEL,
    "vivix_generation_oldest_in_flight_seconds": _STATUS,
    "vivix_account_up": _ACCOUNT,
    "vivix_account_key_valid": _ACCOUNT,
    "vivix_account_credits_balance": _ACCOUNT,
    "vivix_account_credits_spent": _ACCOUNT,
    "vivix_account_credits_granted": _ACCOUNT,
    "vivix_account_cycle_reset_timestamp_seconds": _ACCOUNT,
    "vivix_account_concurrent_jobs_limit": _ACCOUNT,
    "vivix_account_spend_observed_credits": _ACCOUNT,
    "vivix_account_spend_followed_credits": _ACCOUNT,
}
"""Every metric of an account that means the same from whichever process it comes, and its labels besides
`account`."""

BURNING = _each_once(*limits.FAST_WINDOWS, *limits.SLOW_WINDOWS, *limits.TRICKLE_WINDOWS, limits.NONE_WINDOW)
"""Windows of failures that count against the error budget."""
_REASONS = (limits.REASON_WINDOW, limits.FORMER_WINDOW)
_SLOWNESS = (limits.SLOW_WINDOW, limits.USUAL_WINDOW)
WINDOWS: Mapping[str, Sequence[str]] = {
    "vivix_generations_total": _each_once(*BURNING, limits.STANDSTILL_WINDOW),
    "vivix_generations_backfilled_total": _each_once(*BURNING, *_REASONS),
    "vivix_generation_failures_total": _each_once(*BURNING, *_REASONS),
    "vivix_generation_duration_seconds_sum": _SLOWNESS,
    "vivix_generation_duration_seconds_count": _SLOWNESS,
    "vivix_generations_dropped_total": (limits.DROPPED_WINDOW,),
}
"""Over which windows it is recorded what grew."""
SPENDS = ("vivix_account_spend_observed_credits", "vivix_account_spend_followed_credits")
"""Gauges, which refunds take back a little of."""
FIRSTS = (
    *WINDOWS,
    "vivix_credits_used_total",
    "vivix_credits_estimated_total",
    "vivix_credits_used_where_estimated_total",
    "vivix_generation_outputs_total",
    "vivix_generations_discovered_total",
    *SPENDS,
)
"""What is looked at over windows that an account may be younger than."""
PACES = {limits.PACE_WINDOW: "5m", limits.DAY_WINDOW: "15m"}
"""Windows over which a wallet's pace is taken, and how often it is looked at in them."""
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class Record:
    """One recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Records of what failed and was not registered late, `together` and at least of `each` reason: late ones
    are told without theirs, so they are taken for those of each."""

    each: str
    together: str


def milliseconds(duration: str) -> int:
    """A Prometheus duration of one unit, such as `30m`."""
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS_MS[unit]


def recorded(metric: str) -> str:
    """The name under which a metric is recorded as one series whatever shows it: level:metric:operation."""
    return f"{'_'.join(('job', 'account', *RECORDED[metric]))}:{metric}:max"


def latest(metric: str, matchers: str = "", offset: str = "") -> str:
    """The last value within a pause that a rollout may make; of an earlier time, within one after which the
    exporter is the one that it was."""
    within, when = (limits.AWAY, f" offset {offset}") if offset else (limits.GAP, "")
    return f"last_over_time({recorded(metric)}{_braces(matchers)}[{within}]{when})"


def grown(metric: str, window: str, matchers: str = "", of_account: str = "") -> str:
    """How much a durable counter grew in a window, by two instants.

    What first appeared in the window grew from 0 where its account was there before; an account that is new
    to Prometheus, from the first value that was found. A counter that was set back, with the state, grew by
    what it shows since. `of_account` are the matchers that hold for an account.
    """
    return _grown(metric, window, matchers, of_account, f"\n    or {_begun(metric, window, matchers)}")


def grown_long(metric: str, window: str, matchers: str = "", of_account: str = "") -> str:
    """As `grown`, for windows so long that no range may be read: where Prometheus does not reach back as far,
    since the exporter began to count."""
    return _grown(metric, window, matchers, of_account, f"\n    or 0 * {latest(metric, matchers)}")


def changed(metric: str, window: str, matchers: str = "") -> str:
    """By how much a gauge of an account is another than a window ago, or than when it was first scraped."""
    begun = _begun(metric, window, matchers)
    return f"({latest(metric, matchers)}\n  - ({latest(metric, matchers, window)}\n    or {begun}))"


def _risen(metric: str, window: str, step: str) -> str:
    """As `changed`, without a fall: after one, be it a refund or that the state was set back, since the least
    that was seen in the window."""
    least = f"min_over_time({recorded(metric)}[{window}:{step}])"
    return f"({changed(metric, window)} >= 0\n  or {latest(metric)} - {least})"


def _grown(metric: str, window: str, matchers: str, of_account: str, otherwise: str) -> str:
    last, before = latest(metric, matchers), latest(metric, matchers, window)
    known = latest("vivix_account_up", of_account, window)
    base = f"({before}\n    or 0 * {last} and on (job, account) {known}{otherwise})"
    return f"(({last}\n  - {base}) >= 0\n  or {last})"


def first(metric: str) -> str:
    """The name under which is recorded what a series began with."""
    return recorded(metric).removesuffix("max") + "first"


def delta(metric: str, window: str) -> str:
    """The name under which is recorded by how much a gauge has changed in a window."""
    return recorded(metric).removesuffix("max") + f"delta{window}"


def increased(metric: str, window: str) -> str:
    """The name under which is recorded what a metric grew by in a window."""
    return recorded(metric).removesuffix("max") + f"increase{window}"


def pace(window: str) -> str:
    """The record of the credits that an account spends a second, by all that its wallet has spent, through
    the ends of cycles: on average over a window, or for as long as the account is known."""
    return f"job_account:vivix_account_spend_observed_credits:rate{window}"


def _pace(window: str, step: str) -> str:
    # Not the slope of a line: an office spends in steps, and by its hour that says half or twice as much.
    shown = f"timestamp({recorded(SPENDS[0])})"
    # When that was shown which the change begins with.
    since = (
        f"(max_over_time({shown}[{limits.AWAY}:{step}] offset {window})\n"
        f"    or min_over_time({shown}[{window}:{step}]))"
    )
    return f"{_risen(SPENDS[0], window, step)}\n/ clamp_min(time() - {since}, {limits.LEAST_KNOWN_SECONDS})"


def ended(window: str) -> str:
    """The record of what ended in a window, by account, without history that was registered late."""
    return f"job_account:vivix_generations_ended:increase{window}"


def failed(window: str) -> str:
    """The record of what failed of it, without what was the caller's doing."""
    return f"job_account:vivix_generations_failed:increase{window}"


def ratio(window: str) -> str:
    """The record of the part of those that ended that failed so."""
    return f"job_account:vivix_generations_failed:ratio{window}"


def _braces(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""


def _begun(metric: str, window: str, matchers: str) -> str:
    """From where a series has grown whose account was not there a window ago: what it began with; over the
    window of a panel, where that is not known because the rules are younger, the least of its points."""
    # As old as the value that it is taken from may be.
    began = f"last_over_time({first(metric)}{_braces(matchers)}[{limits.GAP}])"
    if window.startswith("$"):
        return f"{began}\n    or min_over_time({recorded(metric)}{_braces(matchers)}[{window}:$__interval])"
    return began


def _first(metric: str) -> str:
    """What a series began with: 0 where its account was there before it, otherwise the first value that was
    found. It is handed on from one evaluation to the next, so that no range has to be read for it."""
    # Before this evaluation; and an account is known for no longer than what it began with.
    known = (
        f"last_over_time({recorded('vivix_account_up')}[{milliseconds(limits.AWAY) // 1000 - 1}s] offset 1s)"
    )
    return (
        f"(last_over_time({first(metric)}[{limits.AWAY}])\n"
        f"  or 0 * {recorded(metric)} and on (job, account) {known}\n"
        f"  or {recorded(metric)})\nand {recorded(metric)}"
    )


def live(window: str) -> Counted:
    """The records of what failed in a window."""
    return _counted("live", window)


def former(window: str) -> Counted:
    """The records of what failed in a window, less what did in the one that reasons are compared in."""
    return _counted("former", window)


def _counted(which: str, window: str) -> Counted:
    each, together = (
        f"{level}:vivix_generation_failures_{which}:increase{window}"
        for level in ("job_account_reason", "job_account")
    )
    return Counted(each, together)


def _counting(counted: Counted, failures: str, late: str) -> Sequence[Record]:
    every = f"sum without (model, reason) ({failures})"
    # Exporters of before do not say which are late.
    return (
        Record(
            counted.each,
            f"sum without (model) (\n  clamp_min({failures}\n"
            f"    - ignoring (reason) group_left () {late}, 0)\n  or {failures}\n)",
        ),
        Record(counted.together, f"clamp_min({every}\n  - sum without (model) ({late}), 0)\nor {every}"),
    )


def _reasons() -> Sequence[Record]:
    def failures(window: str) -> str:
        return increased("vivix_generation_failures_total", window)

    def late(window: str) -> str:
        history = increased("vivix_generations_backfilled_total", window)
        return f'sum without (status) ({history}{{status="failed"}})'

    now, day = _REASONS
    return (
        *_counting(live(now), failures(now), late(now)),
        *_counting(former(day), f"({failures(day)} - {failures(now)})", f"({late(day)} - {late(now)})"),
    )


def _all_of(expr: str) -> str:
    return f"sum without (model, status, reason) ({expr})"


def _burning(window: str) -> Sequence[Record]:
    history = increased("vivix_generations_backfilled_total", window)
    every = _all_of(increased("vivix_generations_total", window))
    callers = "|".join(limits.CALLERS_REASONS)
    theirs = _all_of(f'{increased("vivix_generation_failures_total", window)}{{reason!~"{callers}"}}')
    old, old_failed = _all_of(history), _all_of(f'{history}{{status="failed"}}')
    # Exporters of before do not say which are history.
    return (
        Record(ended(window), f"{every}\n- ({old} or 0 * {every})"),
        Record(failed(window), f"clamp_min({theirs}\n- ({old_failed} or 0 * {theirs}), 0)"),
        Record(ratio(window), f"{failed(window)} / ({ended(window)} > 0)"),
    )


def records() -> Sequence[Record]:
    """All of them, in the order in which they depend on one another."""
    without = ", ".join(limits.INSTANCE_LABELS)
    return (
        Record(LOADED, "vector(1)"),
        *(
            Record(recorded(metric), f"max without ({without}) ({metric}{_braces(limits.SELECTOR)})")
            for metric in RECORDED
        ),
        *(Record(first(metric), _first(metric)) for metric in FIRSTS),
        *(
            Record(increased(metric, window), grown(metric, window))
            for metric, windows in WINDOWS.items()
            for window in windows
        ),
        *(
            Record(delta(metric, limits.SPEND_WINDOW), changed(metric, limits.SPEND_WINDOW))
            for metric in SPENDS
        ),
        *(Record(pace(window), _pace(window, step)) for window, step in PACES.items()),
        *(record for window in BURNING for record in _burning(window)),
        *_reasons(),
    )
