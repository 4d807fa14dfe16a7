"""What several panels ask Prometheus for, in our selectors.

What means the same from whichever instance it comes is asked of the records that have it once.
"""

from mixin import limits
from mixin.pieces import OF_ACCOUNT, OF_MODEL, ratio
from mixin.records import grown, grown_long, pace, recorded

FIRING = 'ALERTS{alertname=~"Vivix.+", alertstate="firing", job=~"$job"}'
FIRED = '{alertname=~"Vivix.+", job=~"$job"}'
"""Alerts hold for accounts or processes, and carry no instance where several together made them."""
FIRING_SINCE = (
    f"min by (severity, alertname, account) (ALERTS_FOR_STATE{FIRED}\n"
    f"and ignoring (alertstate) {FIRING}) * 1000"
)
"""When those began whose condition holds or held lately, in milliseconds."""

BALANCE = f"{recorded('vivix_account_credits_balance')}{{{OF_ACCOUNT}}}"
SPENDING = f"{pace(limits.DAY_WINDOW)}{{{OF_ACCOUNT}}}"
"""Credits a second, from the wallet itself: what the exporter does not follow costs as well. An average
over a day evens out office hours and refunds, and goes on through the ends of cycles."""
UNTIL_RESET = f"({recorded('vivix_account_cycle_reset_timestamp_seconds')}{{{OF_ACCOUNT}}} - time())"
LASTS = f"({ratio(BALANCE, SPENDING)}\nor 0 * ({BALANCE} <= 0))"
"""Seconds that the balance lasts at that pace: none where it is empty, no data while nothing is spent."""


def shown(metric: str, matchers: str = OF_MODEL) -> str:
    """A metric of accounts as it is recorded."""
    return f"{recorded(metric)}{{{matchers}}}"


def by(labels: str) -> str:
    """`sum by` these labels, or a plain sum."""
    return f"sum by ({labels}) " if labels else "sum"


def growth(metric: str, window: str, labels: str = "", matchers: str = OF_MODEL) -> str:
    """How much a durable counter grew in a window, exactly."""
    return f"{by(labels)}({grown(metric, window, matchers, OF_ACCOUNT)})"


def growth_before(metric: str, labels: str) -> str:
    """How much a durable counter grew in the range before the chosen one."""
    then = f"({grown(metric, '$__range', OF_MODEL, OF_ACCOUNT)})[1s:1s] offset $__range"
    return f"{by(labels)}(last_over_time({then}))"


def each_interval(metric: str, labels: str = "", matchers: str = OF_MODEL) -> str:
    """How much a durable counter grew in each bar of a graph: the bars add up to the whole."""
    return growth(metric, "$__interval", labels, matchers)


def ended(window: str, labels: str = "", status: str = "") -> str:
    """How many generations ended in a window."""
    matchers = f'{OF_MODEL}, status="{status}"' if status else OF_MODEL
    return growth("vivix_generations_total", window, labels, matchers)


def ended_long(window: str, status: str = "") -> str:
    """As `ended`, for windows so long that no range may be read."""
    matchers = f'{OF_MODEL}, status="{status}"' if status else OF_MODEL
    return f"sum({grown_long('vivix_generations_total', window, matchers, OF_ACCOUNT)})"


def failed_part(window: str, labels: str = "") -> str:
    """The part of those ended in a window that failed; no data where none ended."""
    return ratio(ended(window, labels, "failed"), ended(window, labels))


def budget_left(window: str) -> str:
    """The part of the error budget of a long window that is left."""
    return f"1 - ({ratio(ended_long(window, 'failed'), ended_long(window))}) / {limits.FAILURE_BUDGET}"


def worst(window: str) -> str:
    """The failure ratio of the account where it is highest, of those of which enough ended."""
    enough = f"{ended(window, 'job, account')} >= {limits.LEAST_ENDED}"
    return f"max({failed_part(window, 'job, account')}\nand {enough})"


def failures(window: str, labels: str) -> str:
    """How many failed in a window; `labels` may hold `reason`."""
    return growth("vivix_generation_failures_total", window, labels)


def failures_of(reasons: str) -> str:
    """How many failed in each bar for reasons that match; `reasons` is a matcher."""
    return each_interval("vivix_generation_failures_total", matchers=f"{OF_MODEL}, {reasons}")


def credits(window: str, labels: str = "") -> str:
    """Credits that generations which ended in a window cost."""
    return growth("vivix_credits_used_total", window, labels)


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


def spread(q: float, metric: str, matchers: str, window: str, labels: str) -> str:
    """As `quantile`, of a durable histogram."""
    buckets, count = shown(f"{metric}_bucket", matchers), shown(f"{metric}_count", matchers)
    return (
        f"histogram_quantile({q}, sum by (le, {labels}) (increase({buckets}[{window}])))\n"
        f"and on ({labels}) sum by ({labels}) (increase({count}[{window}])) > 0"
    )


def mean(metric: str, matchers: str, window: str, labels: str) -> str:
    """The mean of a durable histogram by `labels`: exact, where quantiles lie somewhere in a bucket."""
    total, count = (shown(f"{metric}_{part}", matchers) for part in ("sum", "count"))
    return ratio(
        f"sum by ({labels}) (increase({total}[{window}]))",
        f"sum by ({labels}) (increase({count}[{window}]))",
    )
