"""The alerts as a table. Each can be acted on; its runbook says how.

Windows are counted with `increase` and seconds are compared with seconds, so that nothing but the
durations changes where a test lets time run faster. `job` stays on every series, `instance` only where the
process itself is meant: an account's counters mean the same whichever replica shows them.
"""

from dataclasses import dataclass
from typing import Literal

from mixin import limits
from mixin.uids import COST, EXPORTER, FAILURES, OVERVIEW

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasting` is how long `expr` must hold; `summary` is a plain sentence, `description` says
    for whom and how much; `dashboard` is where to start."""

    name: str
    severity: Severity
    expr: str
    lasting: str
    summary: str
    description: str
    dashboard: str

    @property
    def by_account(self) -> bool:
        """Whether it is about one account, which its dashboard is then narrowed to."""
        return "$labels.account" in self.description

    @property
    def anchor(self) -> str:
        """Its heading in the runbooks, as a link names it."""
        return self.name.lower()


JOB = "vivix"
"""The job of the scrape configuration; only its absence needs a name."""


def _increase(labels: str, counter: str, window: str, offset: str = "") -> str:
    when = f"[{window}]{f' offset {offset}' if offset else ''}"
    return f"sum by ({labels}) (increase({counter}{when}))"


_ENDED = "vivix_generations_total"
_FAILED = 'vivix_generations_total{status="failed"}'
_FAILURES = "vivix_generation_failures_total"


def _burning(window: str, factor: float) -> str:
    """The failure ratio of a window, where it is above `factor` budgets."""
    failed, ended = (_increase("job, account", counter, window) for counter in (_FAILED, _ENDED))
    return f"{failed} / {ended} > {limits.FAILURE_BUDGET * factor:g}"


def _burn(long: str, short: str, factor: float) -> str:
    """Above in a long window, so that it matters, and in a short one, so that it still goes on; and not by
    the chance of a few."""
    enough = f"{_increase('job, account', _FAILED, long)} >= {limits.LEAST_FAILURES}"
    return f"{_burning(long, factor)}\nand {_burning(short, factor)}\nand {enough}"


def _share(window: str, offset: str = "") -> str:
    """The part of an account's failures that each reason has."""
    return (
        f"{_increase('job, account, reason', _FAILURES, window, offset)}\n"
        f"  / on (job, account) group_left ()\n"
        f"  {_increase('job, account', _FAILURES, window, offset)}"
    )


def _mean(window: str, offset: str = "") -> str:
    """Mean duration of what completed: exact, where a quantile lies somewhere in a bucket."""
    total, count = (
        _increase(
            "job, account, model",
            f'vivix_generation_duration_seconds_{part}{{status="completed"}}',
            window,
            offset,
        )
        for part in ("sum", "count")
    )
    return f"{total} / {count}"


def _gauge(name: str, function: str = "max") -> str:
    return f"{function} by (job, account) ({name})"


_COMPLETED = 'vivix_generation_duration_seconds_count{status="completed"}'
_LASTS = (
    f"{_gauge('vivix_account_credits_balance')}\n  / ({_gauge('deriv(vivix_account_credits_spent[6h])')} > 0)"
)
_UNTIL_RESET = f"{_gauge('vivix_account_cycle_reset_timestamp_seconds')} - time()"
_FOUND = "vivix_exporter_detection_lag_seconds_count"
_POLLED = 'vivix_exporter_detection_lag_seconds_count{via="poll"}'

ALERTS = (
    Alert(
        "VivixFailureRatioHigh",
        "critical",
        _burn("1h", "5m", limits.FAST_BURN),
        "2m",
        "More than half of an account's generations fail.",
        "{{ $value | humanizePercentage }} of the generations of {{ $labels.account }} failed in the last "
        f"hour, {limits.FAST_BURN:g} times what the error budget allows, and it goes on.",
        FAILURES,
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
    ),
    Alert(
        "VivixFailureReasonDominant",
        "warning",
        f"{_share('30m')}\n  > {limits.DOMINANT_SHARE:g}\n"
        f"and {_increase('job, account, reason', _FAILURES, '30m')} >= {limits.LEAST_FAILURES}\n"
        f"unless {_share('1d', '30m')}\n  >= {limits.FORMER_SHARE:g}",
        "5m",
        "One reason suddenly accounts for most failures.",
        "{{ $labels.reason }} is the reason of {{ $value | humanizePercentage }} of the failures of "
        f"{{{{ $labels.account }}}} in the last 30 minutes; the day before it was of less than "
        f"{limits.FORMER_SHARE:.0%}.",
        FAILURES,
    ),
    Alert(
        "VivixGenerationsSlow",
        "warning",
        f"({_mean('30m')})\n  / ({_mean('1d', '30m')})\n  > {limits.SLOWER_THAN_BEFORE:g}\n"
        f"and {_increase('job, account, model', _COMPLETED, '30m')} >= {limits.LEAST_COMPLETED}\n"
        f"and {_increase('job, account, model', _COMPLETED, '1d', '30m')} >= {limits.LEAST_COMPLETED}",
        "10m",
        "A model takes much longer than the day before.",
        "{{ $labels.model }} of {{ $labels.account }} takes {{ $value | humanize }} times as long as the day "
        "before, on average over 30 minutes.",
        FAILURES,
    ),
    Alert(
        "VivixGenerationStuck",
        "warning",
        "max by (job, account, model, status) (vivix_generation_oldest_in_flight_seconds) "
        f"> {limits.STUCK_SECONDS}",
        "5m",
        "A generation does not end.",
        "A generation of {{ $labels.model }} of {{ $labels.account }} has been {{ $labels.status }} for "
        "{{ $value | humanizeDuration }}.",
        OVERVIEW,
    ),
    Alert(
        "VivixNothingFinishes",
        "critical",
        "sum by (job, account) (vivix_generations_in_flight) > 0\n"
        f"and {_increase('job, account', _ENDED, '10m')} == 0",
        "10m",
        "Work is in flight and nothing finishes.",
        "{{ $value }} generations of {{ $labels.account }} are in flight, and none has ended for 20 minutes.",
        OVERVIEW,
    ),
    Alert(
        "VivixCreditsLow",
        "warning",
        f"{_gauge('vivix_account_credits_balance')}\n"
        f"  / {_gauge('vivix_account_credits_granted')}\n  < {limits.LOW_BALANCE:g}",
        "15m",
        "Few of the cycle's credits are left.",
        "{{ $labels.account }} has {{ $value | humanizePercentage }} of the credits left that this cycle "
        "granted.",
        COST,
    ),
    Alert(
        "VivixCreditsRunOutBeforeReset",
        "warning",
        f"{_LASTS}\n  < {_UNTIL_RESET}",
        "30m",
        "Credits will run out before the next grant.",
        "At the pace of the last six hours the credits of {{ $labels.account }} last "
        "{{ $value | humanizeDuration }}; the next grant comes later.",
        COST,
    ),
    Alert(
        "VivixCreditsRunOutSoon",
        "critical",
        f"{_LASTS}\n  < {limits.SOON_SECONDS}\nand {_LASTS}\n  < {_UNTIL_RESET}",
        "5m",
        "Credits run out within hours.",
        "At the pace of the last six hours the credits of {{ $labels.account }} last "
        "{{ $value | humanizeDuration }}; then every generation is refused.",
        COST,
    ),
    Alert(
        "VivixKeyInvalid",
        "critical",
        f"{_gauge('vivix_account_key_valid')} == 0",
        "5m",
        "The API refuses an account's key.",
        "The key of {{ $labels.account }} is refused, or its plan has no access to the API; its generations "
        "are not followed.",
        EXPORTER,
    ),
    Alert(
        "VivixAccountDown",
        "critical",
        f"{_gauge('vivix_account_up')} == 0\nunless {_gauge('vivix_account_key_valid')} == 0",
        "5m",
        "The API does not answer for an account.",
        "Calls for {{ $labels.account }} have not been answered by the API for five minutes; its generations "
        "are not followed.",
        EXPORTER,
    ),
    Alert(
        "VivixRateLimitNear",
        "warning",
        f"{_gauge('min_over_time(vivix_account_calls_remaining[5m])', 'min')}\n"
        f"  / {_gauge('vivix_account_calls_per_minute_limit', 'min')}\n  < {limits.LOW_CALLS:g}",
        "10m",
        "An account comes close to its calls per minute.",
        "{{ $labels.account }} again and again has only {{ $value | humanizePercentage }} of its calls per "
        "minute left; beyond them the API refuses your application's calls as well.",
        EXPORTER,
    ),
    Alert(
        "VivixPollingBehind",
        "warning",
        f"{_gauge('vivix_exporter_poll_stretch_ratio')} > {limits.STRETCHED:g}\n"
        f"or {_gauge('vivix_generations_unseen')}\n"
        f"  / {_gauge('vivix_exporter_poll_budget_calls_per_minute')}\n  > {limits.UNSEEN_MINUTES}",
        "15m",
        "Ends of generations are seen late.",
        "The calls allowed for {{ $labels.account }} are too few: pauses between polls are more than "
        f"{limits.STRETCHED:g} times longer than wished, or new ids wait more than {limits.UNSEEN_MINUTES} "
        "minutes for their first poll.",
        EXPORTER,
    ),
    # Once three in a row have not come, polling is as close as without webhooks, and finds ends before they
    # can be called missed. So what polls find counts, for accounts that have missed any.
    Alert(
        "VivixWebhooksMissed",
        "warning",
        f"{_increase('job, account', _POLLED, '1h')} / {_increase('job, account', _FOUND, '1h')}\n"
        f"  > {limits.MISSED_WEBHOOKS:g}\n"
        f"and {_increase('job, account', _POLLED, '1h')} >= {limits.LEAST_MISSED}\n"
        "and sum by (job, account) (vivix_exporter_webhook_missed_total) > 0",
        "5m",
        "Webhooks do not arrive.",
        "{{ $value | humanizePercentage }} of the ends of {{ $labels.account }} in the last hour came "
        "without their webhook; polling found them later.",
        EXPORTER,
    ),
    Alert(
        "VivixSpansPilingUp",
        "warning",
        f"min by (job, instance) (min_over_time(vivix_exporter_spans_pending[15m])) > {limits.PENDING_SPANS}",
        "5m",
        "Traces do not leave the exporter.",
        "{{ $labels.instance }} has had at least {{ $value }} spans waiting for a quarter of an hour; the "
        "collector does not take them.",
        EXPORTER,
    ),
    Alert(
        "VivixFilesBroken",
        "warning",
        f"{_gauge('vivix_generation_files_broken')} > 0",
        "5m",
        "A file of ids cannot be read.",
        "{{ $value }} files of ids of {{ $labels.account }} cannot be read; ids added to them since are not "
        "followed.",
        EXPORTER,
    ),
    Alert(
        "VivixStoreFailing",
        "critical",
        "sum by (job, instance) (increase(vivix_exporter_store_errors_total[5m])) > 0",
        "5m",
        "The exporter cannot write its state.",
        "Writes of {{ $labels.instance }} to its state fail; nothing is counted until they work again, then "
        "it is made up for.",
        EXPORTER,
    ),
    Alert(
        "VivixExporterDown",
        "critical",
        f'up{{job="{JOB}"}} == 0 or absent(up{{job="{JOB}"}})',
        "5m",
        "Prometheus does not reach an exporter.",
        "{{ if $labels.instance }}{{ $labels.instance }} does not answer{{ else }}No target is left in the "
        "job of{{ end }} Prometheus; every other alert is blind.",
        EXPORTER,
    ),
    Alert(
        "VivixReloadFailed",
        "warning",
        "min by (job, instance) (vivix_exporter_config_last_reload_successful) == 0",
        "5m",
        "A configuration was refused.",
        "{{ $labels.instance }} refused its new configuration and goes on with the former one.",
        EXPORTER,
    ),
)
