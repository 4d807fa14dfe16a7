"""Alerts about generations: what fails, how much, why, and what does not end."""

from mixin import limits
from mixin.alert import Alert
from mixin.records import ended, failed, increased, ratio, recorded
from mixin.uids import FAILURES, OVERVIEW

_IN_FLIGHT = recorded("vivix_generations_in_flight")
_OLDEST = recorded("vivix_generation_oldest_in_flight_seconds")
_HISTORY = increased("vivix_generations_backfilled_total", "30m")
_DROPPED = increased("vivix_generations_dropped_total", "1h")
_ENDED_10M = increased("vivix_generations_total", "10m")


def _burn(long: str, short: str, factor: float) -> str:
    """Above in a long window, so that it matters, and in a short one, so that it still goes on; and not by
    the chance of a few."""
    budget = f"{limits.FAILURE_BUDGET * factor:g}"
    enough = f"{failed(long)} >= {limits.LEAST_FAILURES}"
    return f"{ratio(long)} > {budget}\nand {ratio(short)} > {budget}\nand {enough}"


def _of_reason(window: str) -> str:
    counted = increased("vivix_generation_failures_total", window)
    return f"sum without (model) ({counted})"


def _share(window: str) -> str:
    """The part of an account's failures that each reason has."""
    each = _of_reason(window)
    return f"{each}\n  / ignoring (reason) group_left ()\n  sum without (reason) ({each})"


def _mean(window: str) -> str:
    """Mean duration of what completed: exact, where a quantile lies somewhere in a bucket."""
    total, count = (
        f'{increased(f"vivix_generation_duration_seconds_{part}", window)}{{status="completed"}}'
        for part in ("sum", "count")
    )
    return f"{total}\n  / ({count} >= {limits.LEAST_COMPLETED})"


_BEFORE = f"({_of_reason('1d')} - {_of_reason('30m')})"
_ALL_BEFORE = f"sum without (reason) ({_BEFORE})"
GENERATIONS = (
    Alert(
        "VivixFailureRatioHigh",
        "critical",
        _burn("1h", "5m", limits.FAST_BURN),
        "2m",
        "More than half of an account's generations fail.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the last "
        f"hour, {limits.FAST_BURN:g} times what the error budget allows, and it goes on.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailureRatioRaised",
        "warning",
        _burn("6h", "30m", limits.SLOW_BURN),
        "15m",
        "An account's generations fail much more often than the error budget allows.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the last "
        f"six hours, {limits.SLOW_BURN:g} times what the error budget allows, and it goes on.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailuresTrickle",
        "warning",
        _burn("3d", "6h", limits.TRICKLE_BURN),
        "1h",
        "An account's generations have failed more often than the error budget allows, for days.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the last "
        f"three days, more than {limits.TRICKLE_BURN:g} times what the error budget allows, and it goes on.",
        FAILURES,
        "1h",
    ),
    Alert(
        "VivixEverythingFails",
        "warning",
        f"{failed('6h')} >= {limits.LEAST_OF_ALL}\nand {failed('6h')} >= {ended('6h')}",
        "5m",
        "Nothing of an account has come through, and several failed.",
        "All {{ $value | humanize }} generations of {{ $labels.account }} that ended in the last six hours "
        "failed.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailureReasonDominant",
        "warning",
        f"{_share('30m')}\n  > {limits.DOMINANT_SHARE:g}\n"
        f"and {_of_reason('30m')} >= {limits.LEAST_FAILURES}\n"
        f"unless (\n  {_BEFORE}\n    / ignoring (reason) group_left () {_ALL_BEFORE}\n"
        f"    >= {limits.FORMER_SHARE:g}\n  and {_BEFORE} >= {limits.LEAST_FAILURES}\n)\n"
        f"unless ignoring (reason, model, status) sum without (model, status) ({_HISTORY}) > 0",
        "5m",
        "One reason suddenly accounts for most failures.",
        "{{ $labels.reason }} is the reason of {{ $value | humanizePercentage }} of the failures of "
        f"{{{{ $labels.account }}}} in the last 30 minutes; the day before it was of less than "
        f"{limits.FORMER_SHARE:.0%}, or hardly any.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixGenerationsSlow",
        "warning",
        f"({_mean('30m')})\n/ ({_mean('7d')})\n> {limits.SLOWER_THAN_BEFORE:g}",
        "10m",
        "A model takes much longer than in the last week.",
        "{{ $labels.model }} of {{ $labels.account }} takes {{ $value | humanize }} times as long as in the "
        "last week, on average over 30 minutes.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixGenerationStuck",
        "warning",
        f"{_OLDEST} > {limits.STUCK_SECONDS}",
        "5m",
        "A generation does not end.",
        "A generation of {{ $labels.model }} of {{ $labels.account }} has been {{ $labels.status }} for "
        "{{ $value | humanizeDuration }}.",
        OVERVIEW,
    ),
    Alert(
        "VivixNothingFinishes",
        "critical",
        f"sum without (model, status) ({_IN_FLIGHT}) >= {limits.LEAST_IN_FLIGHT}\n"
        f"and sum without (model, status) ({_ENDED_10M}) == 0",
        "10m",
        "Work is in flight and nothing finishes.",
        "{{ $value }} generations of {{ $labels.account }} are in flight, and none has ended for 20 minutes.",
        OVERVIEW,
    ),
    Alert(
        "VivixGenerationsDropped",
        "warning",
        f"{_DROPPED} >= {limits.LEAST_DROPPED}",
        "1m",
        "Ids were registered that cannot be followed.",
        "{{ $value | humanize }} ids of {{ $labels.account }} were dropped in the last hour as "
        "{{ $labels.reason }}; nothing more is counted for them.",
        FAILURES,
    ),
)
