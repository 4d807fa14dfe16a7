"""Alerts about wallets: how long they last, and who else spends."""

from mixin import limits
from mixin.alert import BALANCE, GRANTED, UNTIL_RESET, Alert, lasts, spoken
from mixin.records import SPENDS, delta, latest
from mixin.uids import COST

_DAY, _NOW = lasts(limits.DAY_WINDOW), lasts(limits.PACE_WINDOW)
_OBSERVED, _FOLLOWED = (delta(metric, limits.SPEND_WINDOW) for metric in SPENDS)


def _known_for(duration: str) -> str:
    """Where a wallet has been known for so long: what it spent in its first minutes is no pace."""
    return f"and {latest(SPENDS[0], offset=duration)}"


WALLET = (
    Alert(
        "VivixCreditsLow",
        "warning",
        f"{BALANCE} / {GRANTED} < {limits.LOW_BALANCE:g}",
        "15m",
        "Few of the cycle's credits are left.",
        "{{ $labels.account }} has {{ $value | humanizePercentage }} of the credits left that this cycle "
        "granted.",
        COST,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixCreditsRunOutBeforeReset",
        "warning",
        f"{_DAY}\n< {UNTIL_RESET}\n{_known_for(limits.LEAST_KNOWN_OF_DAY)}",
        "30m",
        "Credits will run out before the next grant.",
        f"At the pace of the last {spoken(limits.DAY_WINDOW)} the credits of {{{{ $labels.account }}}} last "
        "{{ $value | humanizeDuration }}; the next grant comes later.",
        COST,
        "1h",
    ),
    # An empty wallet spends nothing, so its pace says nothing. A day's pace must agree that it is urgent, and
    # that the next grant comes later: the busy hour of an office is not urgent.
    Alert(
        "VivixCreditsRunOutSoon",
        "critical",
        f"(\n  {_NOW} < {limits.SOON_SECONDS}\n  and {_DAY} < {4 * limits.SOON_SECONDS}\n"
        f"  {_known_for(limits.LEAST_KNOWN)}\n)\n"
        f"unless ({_NOW} >= {UNTIL_RESET} or {_DAY} >= {UNTIL_RESET})",
        "5m",
        "Credits run out within hours.",
        f"At the pace of the last {spoken(limits.PACE_WINDOW)} the credits of {{{{ $labels.account }}}} last "
        "{{ $value | humanizeDuration }}; then every generation is refused.",
        COST,
        "30m",
    ),
    Alert(
        "VivixWalletEmpty",
        "critical",
        f"{BALANCE} <= 0\nor {BALANCE} / {GRANTED} < {limits.EMPTY_BALANCE:g}",
        "5m",
        "An account has no credits left.",
        "The wallet of {{ $labels.account }} is as good as empty: the API refuses what it submits until "
        "credits are added or granted.",
        COST,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixKeyUsedElsewhere",
        "warning",
        f"({_OBSERVED} - {_FOLLOWED})\n/ {_OBSERVED}\n> {limits.NOT_FOLLOWED:g}\n"
        f"and {_OBSERVED} - {_FOLLOWED} >= {limits.LEAST_NOT_FOLLOWED}",
        "1h",
        "A wallet pays for generations that nobody registered.",
        "{{ $value | humanizePercentage }} of what {{ $labels.account }} spent in the last "
        f"{spoken(limits.SPEND_WINDOW)} is explained by no generation that is followed.",
        COST,
        "30m",
    ),
)
