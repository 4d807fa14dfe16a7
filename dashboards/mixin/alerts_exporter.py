"""Alerts about the exporter: whether it runs, may call, sees ends soon, stores, traces and receives."""

from mixin import limits
from mixin.alert import Alert, of_exporters, of_job, spoken
from mixin.records import recorded
from mixin.uids import EXPORTER

_UP, _KEY_VALID = recorded("vivix_account_up"), recorded("vivix_account_key_valid")
_REMAINING = of_exporters("vivix_account_calls_remaining")
_LIMIT = of_exporters("vivix_account_calls_per_minute_limit")
_STRETCH = of_exporters("vivix_exporter_poll_stretch_ratio")
_BUDGET = of_exporters("vivix_exporter_poll_budget_calls_per_minute")
_BROKEN = of_exporters("vivix_generation_files_broken")
_FOUND = of_exporters("vivix_exporter_detection_lag_seconds_count")
_POLLED = of_exporters("vivix_exporter_detection_lag_seconds_count", 'via="poll"')
_MISSED = of_exporters("vivix_exporter_webhook_missed_total")
_RELIED_ON = of_exporters("vivix_exporter_webhooks_relied_on")
_CALLS = of_exporters("vivix_api_requests_total")
_ERRORS = of_exporters("vivix_api_requests_total", 'code=~"5..|error"')
_REFUSED = of_exporters("vivix_api_requests_total", 'code="429"')
_INSTANCE = ", ".join(limits.INSTANCE_LABELS)
_TARGETS = of_job("up")


def _of_accounts(expr: str, operation: str = "max") -> str:
    """A metric of accounts whichever process shows it."""
    return f"{operation} without ({_INSTANCE}) ({expr})"


def _grew(counter: str, window: str) -> str:
    """Growth of an account's counter that begins anew with each process."""
    return f"sum without ({_INSTANCE}, endpoint, code, via) (increase({counter}[{window}]))"


EXPORTERS = (
    Alert(
        "VivixExporterDown",
        "critical",
        f"max by (job) ({_TARGETS}) == 0\nor absent({_TARGETS})",
        "5m",
        "Prometheus reaches no exporter.",
        "No target of {{ $labels.job }} answers Prometheus; every other alert is blind.",
        EXPORTER,
    ),
    Alert(
        "VivixInstanceDown",
        "warning",
        f"{_TARGETS} == 0\nand on (job) max by (job) ({_TARGETS}) == 1",
        "5m",
        "One of several exporters does not answer.",
        "{{ $labels.instance }} does not answer Prometheus. Replicas that share a state follow its accounts; "
        "where it has a state of its own nobody does.",
        EXPORTER,
    ),
    Alert(
        "VivixExporterRestarting",
        "warning",
        f"changes({of_job('process_start_time_seconds')}[{limits.RESTARTS_WINDOW}]) >= {limits.RESTARTS}",
        "1m",
        "An exporter starts again and again.",
        "{{ $labels.instance }} has started {{ $value | humanize }} times in the last "
        f"{spoken(limits.RESTARTS_WINDOW)}.",
        EXPORTER,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixKeyInvalid",
        "critical",
        f"{_KEY_VALID} == 0",
        "5m",
        "The API refuses an account's key.",
        "The key of {{ $labels.account }} is refused, or its plan has no access to the API; its generations "
        "are not followed.",
        EXPORTER,
    ),
    Alert(
        "VivixAccountDown",
        "critical",
        f"{_UP} == 0\nunless {_KEY_VALID} == 0",
        "5m",
        "The API does not answer for an account.",
        "Calls for {{ $labels.account }} have not been answered by the API for five minutes; its generations "
        "are not followed.",
        EXPORTER,
    ),
    Alert(
        "VivixApiErrors",
        "warning",
        f"{_grew(_ERRORS, limits.API_WINDOW)}\n  / {_grew(_CALLS, limits.API_WINDOW)}\n"
        f"  > {limits.API_ERRORS:g}\nand {_grew(_ERRORS, limits.API_WINDOW)} >= {limits.LEAST_API_ERRORS}",
        "10m",
        "The API answers many calls with errors of its own.",
        "{{ $value | humanizePercentage }} of the calls for {{ $labels.account }} in the last "
        f"{spoken(limits.API_WINDOW)} had no answer or a server error.",
        EXPORTER,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixCallsRefused",
        "warning",
        f"{_grew(_REFUSED, limits.API_WINDOW)} >= {limits.LEAST_REFUSED_CALLS}",
        "5m",
        "The API refuses calls because there are too many.",
        "{{ $value | humanize }} calls of the exporter for {{ $labels.account }} met 429 in the last "
        f"{spoken(limits.API_WINDOW)}; your application's calls meet it too.",
        EXPORTER,
        limits.KEEP_FIRING,
    ),
    Alert(
        "VivixRateLimitNear",
        "warning",
        f"{_of_accounts(f'min_over_time({_REMAINING}[{limits.CALLS_WINDOW}])', 'min')}\n"
        f"  / {_of_accounts(_LIMIT, 'min')}\n  < {limits.LOW_CALLS:g}",
        "10m",
        "An account comes close to its calls per minute.",
        "{{ $labels.account }} again and again has only {{ $value | humanizePercentage }} of its calls per "
        "minute left; beyond them the API refuses your application's calls as well.",
        EXPORTER,
    ),
    Alert(
        "VivixPollingBehind",
        "warning",
        f"{_of_accounts(_STRETCH)} > {limits.STRETCHED:g}\n"
        f"or {recorded('vivix_generations_unseen')}\n"
        f"  / {_of_accounts(_BUDGET)}\n  > {limits.UNSEEN_MINUTES}",
        "15m",
        "Ends of generations are seen late.",
        "The calls allowed for {{ $labels.account }} are too few: pauses between polls are more than "
        f"{limits.STRETCHED:g} times longer than wished, or new ids wait more than {limits.UNSEEN_MINUTES} "
        "minutes for their first poll.",
        EXPORTER,
    ),
    # Once three in a row have not come, polling is as close as without webhooks, and finds ends before they
    # can be called missed. So what polls find counts, for accounts that have missed any lately.
    Alert(
        "VivixWebhooksMissed",
        "warning",
        f"{_grew(_POLLED, limits.WEBHOOKS_WINDOW)} / {_grew(_FOUND, limits.WEBHOOKS_WINDOW)}\n"
        f"  > {limits.MISSED_WEBHOOKS:g}\n"
        f"and {_grew(_POLLED, limits.WEBHOOKS_WINDOW)} >= {limits.LEAST_MISSED}\n"
        f"and ({_grew(_MISSED, limits.WEBHOOKS_WINDOW)} > 0\n  or {_of_accounts(_RELIED_ON, 'min')} == 0)",
        "5m",
        "Webhooks do not arrive.",
        "{{ $value | humanizePercentage }} of the ends of {{ $labels.account }} in the last "
        f"{spoken(limits.WEBHOOKS_WINDOW)} came without their webhook; polling found them later.",
        EXPORTER,
    ),
    Alert(
        "VivixSpansPilingUp",
        "warning",
        f"min_over_time({of_exporters('vivix_exporter_spans_pending')}[{limits.SPANS_WINDOW}])\n"
        f"> {limits.PENDING_SPANS}",
        "5m",
        "Traces do not leave the exporter.",
        "{{ $labels.instance }} has had at least {{ $value }} spans waiting all through the "
        f"last {spoken(limits.SPANS_WINDOW)}; the collector does not take them.",
        EXPORTER,
    ),
    Alert(
        "VivixFilesBroken",
        "warning",
        f"{_of_accounts(_BROKEN)} > 0",
        "5m",
        "A file of ids cannot be read.",
        "{{ $value }} files of ids of {{ $labels.account }} cannot be read; ids added to them since are not "
        "followed.",
        EXPORTER,
    ),
    Alert(
        "VivixStoreFailing",
        "critical",
        f"increase({of_exporters('vivix_exporter_store_errors_total')}[{limits.STORE_WINDOW}]) > 0",
        "5m",
        "The exporter cannot write its state.",
        "Writes of {{ $labels.instance }} to its state fail; nothing is counted until they work again, then "
        "it is made up for.",
        EXPORTER,
    ),
    Alert(
        "VivixReloadFailed",
        "warning",
        f"{of_exporters('vivix_exporter_config_last_reload_successful')} == 0",
        "5m",
        "A configuration was refused.",
        "{{ $labels.instance }} refused its new configuration and goes on with the former one.",
        EXPORTER,
    ),
)
