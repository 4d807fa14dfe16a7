"""What several panels ask Prometheus for, in our selectors.

Counters of generations and credits are durable: they go on where an earlier process stopped, and each account
is shown by one process at a time. So sums over instances count nothing twice.
"""

from mixin.pieces import ACCOUNT, MODEL, ratio

FIRING = 'ALERTS{alertname=~"Vivix.+", alertstate="firing", job=~"$job"}'
"""Alerts hold for accounts or processes, and carry no instance where several together made them."""

BALANCE = f"max by (job, account) (vivix_account_credits_balance{{{ACCOUNT}}})"
SPENDING = f"max by (job, account) (deriv(vivix_account_credits_spent{{{ACCOUNT}}}[6h]))"
"""Credits a second, from the wallet itself: what the exporter does not follow costs as well. A straight line
through six hours evens out reservations and refunds, and means the same while there is less history."""
UNTIL_RESET = f"(max by (job, account) (vivix_account_cycle_reset_timestamp_seconds{{{ACCOUNT}}}) - time())"
LASTS = ratio(BALANCE, SPENDING)
"""Seconds that the balance lasts at that rate; no data while nothing is spent."""


def by(labels: str) -> str:
    """`sum by` these labels, or a plain sum."""
    return f"sum by ({labels}) " if labels else "sum"


def ended(window: str, labels: str = "", status: str = "") -> str:
    """How many generations ended in a window."""
    matchers = f'{MODEL}, status="{status}"' if status else MODEL
    return f"{by(labels)}(increase(vivix_generations_total{{{matchers}}}[{window}]))"


def failed_part(window: str, labels: str = "") -> str:
    """The part of those ended in a window that failed; no data where none ended."""
    return ratio(ended(window, labels, "failed"), ended(window, labels))


def failures(window: str, labels: str) -> str:
    """How many failed in a window; `labels` may hold `reason`."""
    return f"{by(labels)}(increase(vivix_generation_failures_total{{{MODEL}}}[{window}]))"


def credits(window: str, labels: str = "") -> str:
    """Credits that generations which ended in a window cost."""
    return f"{by(labels)}(increase(vivix_credits_used_total{{{MODEL}}}[{window}]))"


def rate(counter: str, matchers: str, labels: str, factor: int = 1) -> str:
    """A counter's pace, in `factor` seconds."""
    pace = f"{by(labels)}(rate({counter}{{{matchers}}}[$__rate_interval]))"
    return pace if factor == 1 else f"{pace} * {factor}"


def quantile(q: float, histogram: str, matchers: str, window: str, labels: str) -> str:
    """A quantile of a histogram by `labels`; no data, rather than NaN, where nothing was observed."""
    function = "rate" if window == "$__rate_interval" else "increase"
    return (
        f"histogram_quantile({q}, sum by (le, {labels}) "
        f"({function}({histogram}_bucket{{{matchers}}}[{window}])))\n"
        f"and on ({labels}) "
        f"sum by ({labels}) ({function}({histogram}_count{{{matchers}}}[{window}])) > 0"
    )


def mean(histogram: str, matchers: str, window: str, labels: str, offset: str = "") -> str:
    """The mean of a histogram by `labels`: exact, where quantiles lie somewhere in a bucket."""
    when = f"[{window}]{f' offset {offset}' if offset else ''}"
    return ratio(
        f"sum by ({labels}) (increase({histogram}_sum{{{matchers}}}{when}))",
        f"sum by ({labels}) (increase({histogram}_count{{{matchers}}}{when}))",
    )
