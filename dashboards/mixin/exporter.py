"""Is the exporter itself healthy: does it call as it may, see ends soon, store, trace, receive?"""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.pieces import (
    ACCOUNT,
    EMPTY,
    GREEN,
    OF_ACCOUNT,
    ORANGE,
    PER_MINUTE,
    PROCESS,
    RED,
    TIMES,
    YELLOW,
    Column,
    Part,
    board,
    buckets,
    figure,
    heat,
    lines,
    listing,
    now,
    over_time,
    section,
    start,
)
from mixin.uids import EXPORTER

LAG = "vivix_exporter_detection_lag_seconds"
WRITES = "vivix_exporter_store_write_seconds"
REQUESTS = "vivix_api_request_duration_seconds"


def build() -> dashboard.Dashboard:
    """The dashboard."""
    beginning = start(
        EXPORTER,
        "Exporter",
        "Is the exporter itself healthy? Start here when the other dashboards seem wrong.",
        "1h",
    )
    parts = [
        *_figures(),
        section("Calls to the API"),
        *_calls(),
        section("What comes in, and how soon ends are seen"),
        *_detection(),
        section("State, traces, process"),
        *_process(),
    ]
    return board(beginning, parts)


def _figures() -> Sequence[Part]:
    return [
        figure(
            "Up",
            "Part of the exporters that Prometheus reaches. Below 100 %: look at the process and its log.",
            "percentunit",
            now(f"sum(up{{{PROCESS}}}) / count(up{{{PROCESS}}})"),
            steps=((1, GREEN),),
            base=RED,
        ),
        figure(
            "Accounts answered",
            "Part of the accounts whose last call the API answered. Below 100 %: the accounts table below "
            "names it.",
            "percentunit",
            now(f"avg({ask.shown('vivix_account_up', OF_ACCOUNT)})"),
            steps=((1, GREEN),),
            base=RED,
        ),
        figure(
            "Keys valid",
            "Part of the accounts whose key the API accepts. Below 100 %: put a new key where the "
            "configuration says; it is read again every two seconds.",
            "percentunit",
            now(f"avg({ask.shown('vivix_account_key_valid', OF_ACCOUNT)})"),
            steps=((1, GREEN),),
            base=RED,
        ),
        figure(
            "Configuration",
            "Whether the last attempt to load the configuration succeeded. No: the former one is in force; "
            "the log names the line, as does `vivix-exporter check`.",
            "none",
            now(f"min(vivix_exporter_config_last_reload_successful{{{PROCESS}}})"),
            steps=((1, GREEN),),
            base=RED,
            mappings={"1": ("loaded", GREEN), "0": ("refused", RED)},
        ),
        figure(
            "Stretch",
            "The most that pauses between polls are longer than wanted, to keep within the calls allowed. 1 "
            f"is none; at {limits.STRETCHED:.0f} an alert fires: raise rate_limit_share, or set up webhooks.",
            TIMES,
            now(f"max(vivix_exporter_poll_stretch_ratio{{{ACCOUNT}}})"),
            steps=((1.5, YELLOW), (limits.STRETCHED, RED)),
            decimals=1,
        ),
        figure(
            "Seen within, p95",
            "95 of 100 ends of the last hour were seen this soon after they happened. Far above target_lag: "
            "see Stretch.",
            "s",
            now(f"histogram_quantile(0.95, sum by (le) (increase({LAG}_bucket{{{ACCOUNT}}}[1h])))"),
            steps=((10, YELLOW), (60, RED)),
            decimals=1,
            none="none ended",
        ),
        figure(
            "Spans pending",
            "Traces that wait for the collector. Growing: it does not answer; nothing is lost while the "
            "state has room.",
            "short",
            now(f"sum(vivix_exporter_spans_pending{{{PROCESS}}})"),
            steps=((limits.PENDING_SPANS, RED),),
            decimals=0,
            none="no traces",
        ),
        figure(
            "Loaded",
            "How long ago the configuration in force was loaded.",
            "s",
            now(f"time() - max(vivix_exporter_config_last_reload_success_timestamp_seconds{{{PROCESS}}})"),
            decimals=0,
        ),
    ]


def _calls() -> Sequence[Part]:
    return [
        lines(
            "Calls against the budget",
            "Calls a minute of the exporter, what it may spend at present and what the plans allow (dashed). "
            "At the budget, pauses stretch. A budget that falls means that your application needs the calls "
            "itself.",
            PER_MINUTE,
            [
                over_time(ask.rate("vivix_api_requests_total", ACCOUNT, "", 60), "calls"),
                over_time(f"sum(vivix_exporter_poll_budget_calls_per_minute{{{ACCOUNT}}})", "budget"),
                over_time(f"sum(vivix_account_calls_per_minute_limit{{{ACCOUNT}}})", "limit of the plans"),
            ],
            dashed={"budget": ORANGE, "limit of the plans": RED},
        ),
        lines(
            "Answers, by code",
            "Calls by HTTP status. 429: somebody calls too much, see beside; 401: the key; 5xx and 'error': "
            "the vendor or the way there.",
            PER_MINUTE,
            [over_time(ask.rate("vivix_api_requests_total", ACCOUNT, "code", 60), "{{code}}")],
            stacked=True,
        ),
        lines(
            "Calls left in the minute",
            "What the plan leaves in the current minute, as part of its limit, at its lowest in five "
            "minutes. Near 0, your own application gets 429: lower its pace, or rate_limit_share.",
            "percentunit",
            [
                over_time(
                    f"min by (account) (min_over_time(vivix_account_calls_remaining{{{ACCOUNT}}}[5m]))\n/\n"
                    f"min by (account) (vivix_account_calls_per_minute_limit{{{ACCOUNT}}})",
                    "{{account}}",
                )
            ],
            steps=((limits.LOW_CALLS, ORANGE),),
            most=1,
        ),
        lines(
            "Unusable answers, by error",
            "Calls that brought nothing to count, by the API's error code or in lower case what went wrong "
            f"on the way. They are tried again; nothing is lost. {EMPTY}",
            PER_MINUTE,
            [
                over_time(
                    ask.rate("vivix_api_errors_total", ACCOUNT, "account, error", 60), "{{account}} {{error}}"
                )
            ],
            stacked=True,
        ),
        lines(
            "How long calls take, p95",
            "95 of 100 calls are answered within, by endpoint. Close to request_timeout: the vendor is slow, "
            "or the network.",
            "s",
            [
                over_time(
                    ask.quantile(0.95, REQUESTS, ACCOUNT, "$__rate_interval", "endpoint"), "{{endpoint}}"
                )
            ],
        ),
        lines(
            "Stretch, by account",
            "Pauses between polls against those wanted. Above the dashed line ends are seen late: raise "
            "rate_limit_share or register fewer old ids at once.",
            TIMES,
            [over_time(f"max by (account) (vivix_exporter_poll_stretch_ratio{{{ACCOUNT}}})", "{{account}}")],
            steps=((limits.STRETCHED, RED),),
        ),
        listing(
            "Accounts",
            "The standing of each account: answered, key accepted, its tier, and what it follows. A 0 in the "
            "first two is what to fix first.",
            {"account": "Account", "tier": "Tier"},
            [
                Column(
                    "Answered",
                    f"max by (account, tier) (vivix_account_up{{{ACCOUNT}}} * on (job, instance, account) "
                    f"group_left (tier) vivix_account_info{{{ACCOUNT}}})",
                    "none",
                    ((1, GREEN),),
                    RED,
                ),
                Column(
                    "Key valid",
                    f"max by (account, tier) (vivix_account_key_valid{{{ACCOUNT}}} * on (job, instance, "
                    f"account) group_left (tier) vivix_account_info{{{ACCOUNT}}})",
                    "none",
                    ((1, GREEN),),
                    RED,
                ),
                Column(
                    "Not yet answered for",
                    f"max by (account, tier) (vivix_generations_unseen{{{ACCOUNT}}} * on (job, instance, "
                    f"account) group_left (tier) vivix_account_info{{{ACCOUNT}}})",
                    "short",
                ),
            ],
            sort="Account",
            ascending=True,
            width=24,
            height=6,
        ),
    ]


def _detection() -> Sequence[Part]:
    return [
        heat(
            "How soon ends are seen",
            "Time from the end of a generation to its detection. Most should lie around target_lag; a cloud "
            "that rises is an exporter that falls behind.",
            "s",
            buckets(f"sum by (le) (increase({LAG}_bucket{{{ACCOUNT}}}[$__rate_interval]))"),
        ),
        lines(
            "Seen within, by way",
            "p50 and p95 of the same, by webhook and by poll. Webhooks should be seen within a second.",
            "s",
            [
                over_time(
                    ask.quantile(q, LAG, ACCOUNT, "$__rate_interval", "via"), f"p{q * 100:.0f} {{{{via}}}}"
                )
                for q in (0.5, 0.95)
            ],
        ),
        lines(
            "Ids registered, by source",
            "Generations that the exporter learnt of, by source. No line while your application "
            "submits: it does not register its ids.",
            "short",
            [
                over_time(
                    ask.each_interval("vivix_generations_discovered_total", "source", matchers=OF_ACCOUNT),
                    "{{source}}",
                )
            ],
            stacked=True,
            counts=True,
        ),
        lines(
            "Webhook deliveries, by result",
            "What the vendor delivered, and what became of it. A bad signature: the secret is another one "
            f"than the vendor's. No webhooks set up: no line. {EMPTY}",
            PER_MINUTE,
            [
                over_time(
                    ask.rate("vivix_exporter_webhook_deliveries_total", ACCOUNT, "result", 60), "{{result}}"
                )
            ],
            stacked=True,
        ),
        lines(
            "Webhooks missed, by account",
            "Ends that a poll found although a webhook should have reported them. A few are the vendor's; "
            f"all of them: the address or the way to it. {EMPTY}",
            PER_MINUTE,
            [
                over_time(
                    ask.rate("vivix_exporter_webhook_missed_total", ACCOUNT, "account", 60), "{{account}}"
                )
            ],
            stacked=True,
        ),
        lines(
            "Dropped, by reason",
            "Generations no longer followed although their end was not seen. not_found: wrong or too old "
            "ids; not_yours: ids of another account; refused: ids that the API does not accept; gave_up: "
            f"they never ended. {EMPTY}",
            "short",
            [
                over_time(
                    ask.each_interval("vivix_generations_dropped_total", "reason", matchers=OF_ACCOUNT),
                    "{{reason}}",
                )
            ],
            stacked=True,
            counts=True,
        ),
    ]


def _process() -> Sequence[Part]:
    return [
        lines(
            "How long writes take",
            "p50 and p99 of transactions on the state. Above a second, registrations and webhooks wait: a "
            "slow disk.",
            "s",
            [
                over_time(
                    ask.quantile(q, WRITES, PROCESS, "$__rate_interval", "instance"),
                    f"p{q * 100:.0f} {{{{instance}}}}",
                )
                for q in (0.5, 0.99)
            ],
        ),
        lines(
            "What is in the way",
            "Writes that failed, files of ids that cannot be read, and labels counted under 'other' because "
            "there were too many. All at 0 when nothing is wrong; the log says more.",
            "short",
            [
                over_time(
                    f"sum(increase(vivix_exporter_store_errors_total{{{PROCESS}}}[$__rate_interval]))",
                    "failed writes",
                ),
                over_time(f"sum(vivix_generation_files_broken{{{ACCOUNT}}})", "broken files"),
                over_time(
                    f"sum(increase(vivix_exporter_label_overflow_total{{{ACCOUNT}}}[$__rate_interval]))",
                    "counted under 'other'",
                ),
            ],
        ),
        lines(
            "Spans",
            "Traces exported, exports that failed, and those that wait. Waiting ones grow while no collector "
            "answers and leave once it does.",
            "short",
            [
                over_time(
                    ask.rate("vivix_exporter_spans_exported_total", PROCESS, "", 60), "exported a minute"
                ),
                over_time(
                    ask.rate("vivix_exporter_span_export_failures_total", PROCESS, "", 60),
                    "failed exports a minute",
                ),
                over_time(f"sum(vivix_exporter_spans_pending{{{PROCESS}}})", "pending"),
            ],
        ),
        lines(
            "CPU",
            "Part of one processor that each exporter uses. Close to 1, everything is late: spread accounts "
            "over several.",
            "percentunit",
            [over_time(ask.rate("process_cpu_seconds_total", PROCESS, "instance"), "{{instance}}")],
        ),
        lines(
            "Memory",
            "Resident memory. It grows with the generations followed at once and should fall back with them; "
            "if it only grows, report it.",
            "bytes",
            [over_time(f"process_resident_memory_bytes{{{PROCESS}}}", "{{instance}}")],
        ),
        lines(
            "How long a scrape takes",
            "Time Prometheus needs for the page of metrics. Above its scrape_timeout there are gaps "
            "everywhere.",
            "s",
            [over_time(f"scrape_duration_seconds{{{PROCESS}}}", "{{instance}}")],
        ),
        listing(
            "Versions",
            "What runs where, and how many accounts each process follows. Different versions for long: an "
            "update got stuck.",
            {"instance": "Instance", "version": "Version", "python_version": "Python"},
            [
                Column(
                    "Accounts",
                    f"sum by (instance, version, python_version) (vivix_exporter_accounts_owned{{{PROCESS}}} "
                    "* on (job, instance) group_left (version, python_version) "
                    f"vivix_exporter_build_info{{{PROCESS}}})",
                    "none",
                )
            ],
            sort="Instance",
            ascending=True,
            width=24,
            height=5,
        ),
    ]
