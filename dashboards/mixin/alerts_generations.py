"""Alerts about generations: what fails, how much, why, and what does not end."""

from mixin import limits
from mixin.alert import Alert, spoken
from mixin.records import Counted, ended, failed, former, increased, live, ratio, recorded
from mixin.uids import FAILURES, OVERVIEW

_IN_FLIGHT = recorded("vivix_generations_in_flight")
_OLDEST = recorded("vivix_generation_oldest_in_flight_seconds")
_DROPPED = increased("vivix_generations_dropped_total", limits.DROPPED_WINDOW)
_ENDED = increased("vivix_generations_total", limits.STANDSTILL_WINDOW)
_NONE = limits.NONE_WINDOW
_NOW, _BEFORE = live(limits.REASON_WINDOW), former(limits.FORMER_WINDOW)


def _burn(windows: tuple[str, str], factor: float) -> str:
    """Above in a long window and in a short one, and not by the chance of a few."""
    long, short = windows
    budget = f"{limits.FAILURE_BUDGET * factor:g}"
    enough = f"{failed(long)} >= {limits.LEAST_FAILURES}"
    return f"{ratio(long)} > {budget}\nand {ratio(short)} > {budget}\nand {enough}"


def _share(of: Counted) -> str:
    """The part of an account's failures that each reason has."""
    return f"{of.each}\n  / ignoring (reason) group_left ()\n  ({of.together} > 0)"


def _mean(window: str) -> str:
    """Mean duration of what completed: exact, where a quantile lies somewhere in a bucket."""
    total, count = (
        f'{increased(f"vivix_generation_duration_seconds_{part}", window)}{{status="completed"}}'
        for part in ("sum", "count")
    )
    return f"{total}\n  / ({count} >= {limits.LEAST_COMPLETED})"


GENERATIONS = (
    Alert(
        "VivixFailureRatioHigh",
        "critical",
        _burn(limits.FAST_WINDOWS, limits.FAST_BURN),
        "2m",
        "More than half of an account's generations fail.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the "
        f"last {spoken(limits.FAST_WINDOWS[0])}, {limits.FAST_BURN:g} times what the error budget "
        "allows, and it goes on.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailureRatioRaised",
        "warning",
        _burn(limits.SLOW_WINDOWS, limits.SLOW_BURN),
        "15m",
        "An account's generations fail much more often than the error budget allows.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the "
        f"last {spoken(limits.SLOW_WINDOWS[0])}, {limits.SLOW_BURN:g} times what the error budget "
        "allows, and it goes on.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailuresTrickle",
        "warning",
        _burn(limits.TRICKLE_WINDOWS, limits.TRICKLE_BURN),
        "1h",
        "An account's generations have failed more often than the error budget allows, for days.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the "
        f"last {spoken(limits.TRICKLE_WINDOWS[0])}, more than {limits.TRICKLE_BURN:g} times what the error "
        "budget allows, and it goes on.",
        FAILURES,
        "1h",
    ),
    Alert(
        "VivixEverythingFails",
        "warning",
        f"{failed(_NONE)} >= {limits.LEAST_OF_ALL}\nand {failed(_NONE)} >= {ended(_NONE)}",
        "5m",
        "Nothing of an account has come through, and several failed.",
        "All {{ $value | humanize }} generations of {{ $labels.account }} that ended in the last "
        f"{spoken(_NONE)} failed.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixFailureReasonDominant",
        "warning",
        f"{_share(_NOW)}\n  > {limits.DOMINANT_SHARE:g}\n"
        f"and {_NOW.each} >= {limits.LEAST_FAILURES}\n"
        f"unless (\n  {_share(_BEFORE)}\n    >= {limits.FORMER_SHARE:g}\n"
        f"  and {_BEFORE.each} >= {limits.LEAST_FAILURES}\n)",
        "5m",
        "One reason suddenly accounts for most failures.",
        "{{ $labels.reason }} is the reason of {{ $value | humanizePercentage }} of the failures of "
        f"{{{{ $labels.account }}}} in the last {spoken(limits.REASON_WINDOW)}; in the rest of the last "
        f"{spoken(limits.FORMER_WINDOW)} it was of less than {limits.FORMER_SHARE:.0%}, or hardly any.",
        FAILURES,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixGenerationsSlow",
        "warning",
        f"({_mean(limits.SLOW_WINDOW)})\n/ ({_mean(limits.USUAL_WINDOW)})\n> {limits.SLOWER_THAN_BEFORE:g}",
        "10m",
        "A model takes much longer than usual.",
        "{{ $labels.model }} of {{ $labels.account }} takes {{ $value | humanize }} times as long as in the "
        f"last {spoken(limits.USUAL_WINDOW)}, on average over the last {spoken(limits.SLOW_WINDOW)}.",
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
        f"and sum without (model, status) ({_ENDED}) == 0",
        "10m",
        "Work is in flight and nothing finishes.",
        "{{ $value }} generations of {{ $labels.account }} are in flight, and none has ended in the last "
        f"{spoken(limits.STANDSTILL_WINDOW)}.",
        OVERVIEW,
    ),
    Alert(
        "VivixGenerationsDropped",
        "warning",
        f"{_DROPPED} >= {limits.LEAST_DROPPED}",
        "1m",
        "Ids were registered that cannot be followed.",
        "{{ $value | humanize }} ids of {{ $labels.account }} were dropped in the last "
        f"{spoken(limits.DROPPED_WINDOW)} as {{{{ $labels.reason }}}}; nothing more is counted for them.",
        FAILURES,
    ),
)
