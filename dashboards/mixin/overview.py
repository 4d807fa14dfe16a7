"""Is anything wrong right now? One page, no scrolling, read in five seconds."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.pieces import (
    COUNT,
    CREDITS,
    EMPTY,
    GREEN,
    OF_ACCOUNT,
    OF_MODEL,
    ORANGE,
    RED,
    STATUSES,
    YELLOW,
    Column,
    Part,
    board,
    figure,
    lines,
    listing,
    now,
    over_time,
    start,
    to,
)
from mixin.uids import COST, FAILURES, LOADED, OVERVIEW

FAILURE_STEPS = (
    (limits.FAILURE_BUDGET, YELLOW),
    (limits.FAILURE_BUDGET * limits.SLOW_BURN, ORANGE),
    (limits.FAILURE_BUDGET * limits.FAST_BURN, RED),
)
AGE_STEPS = ((limits.STUCK_SECONDS / 3, YELLOW), (limits.STUCK_SECONDS, RED))
LASTS_STEPS = ((limits.SOON_SECONDS, ORANGE), (24 * 3600, YELLOW), (7 * 24 * 3600, GREEN))
OLDEST = ask.shown("vivix_generation_oldest_in_flight_seconds")


def build() -> dashboard.Dashboard:
    """The dashboard."""
    beginning = start(
        OVERVIEW,
        "Overview",
        "Is anything wrong right now? Read the top row: a colour other than green says where to look next.",
        "1h",
    )
    return board(beginning, [*_figures(), *_graphs(), *_models(), *_rest()])


def _figures() -> Sequence[Part]:
    return [
        figure(
            "Firing alerts",
            "Alerts of vivix-exporter that fire now. If this is not 0, the table at the bottom left names "
            "them; begin with the critical ones and their runbooks. No number at all: Prometheus has not "
            "loaded our rules.",
            "none",
            now(f"count({ask.FIRING}) or 0 * max({LOADED})"),
            steps=((1, RED),),
            none="no rules",
        ),
        figure(
            "Worst failure ratio, 1 h",
            "Part of the generations of the last hour that failed, of the account where it is highest and at "
            f"least {limits.LEAST_ENDED} ended: an average would hide it. Yellow: more than the error budget "
            "allows in the long run. Red: a fast burn; open Failures.",
            "percentunit",
            now(ask.worst("1h")),
            steps=FAILURE_STEPS,
            decimals=1,
            none="too few",
            links=[("Failures", to(FAILURES))],
        ),
        figure(
            "Finished, 10 min",
            "Generations that completed or failed in the last ten minutes. 0 while some are in flight means "
            "that nothing comes through: look at Oldest in flight, then at the Exporter dashboard.",
            COUNT,
            now(ask.ended("10m")),
            decimals=0,
        ),
        figure(
            "In flight",
            "Generations queued or being rendered now. Compare with the plan's job limit in the graph below: "
            "at the limit, further ones only wait.",
            COUNT,
            now(f"sum({ask.shown('vivix_generations_in_flight')})"),
        ),
        figure(
            "Oldest in flight",
            "Age of the oldest generation in flight. Images take seconds and videos minutes; red means "
            "stuck: find it at the exporter's /api/v1/generations?status=processing and ask the vendor.",
            "s",
            now(f"max({OLDEST}) or 0 * sum({ask.shown('vivix_generations_in_flight')})"),
            steps=AGE_STEPS,
            decimals=0,
        ),
        figure(
            "Credits, last hour",
            "What generations that ended in the last hour cost. A jump without more generations is a dearer "
            "model: open Cost.",
            CREDITS,
            now(ask.credits("1h")),
            links=[("Cost", to(COST))],
        ),
        figure(
            "Credits left",
            "The balance of all chosen accounts together; the table at the bottom right has each of them.",
            CREDITS,
            now(f"sum({ask.BALANCE})"),
            links=[("Cost", to(COST))],
        ),
        figure(
            "First runs out in",
            "How long the balance lasts, for the account where it ends first, at the pace of the last "
            "day. Orange: top up now.",
            "s",
            now(f"min({ask.LASTS})"),
            steps=LASTS_STEPS,
            base=RED,
            decimals=1,
            none="no spending to go by",
            links=[("Cost", to(COST))],
        ),
    ]


def _graphs() -> Sequence[Part]:
    return [
        lines(
            "In flight",
            "Generations in flight by status, and how many the plans render at once (dashed). Growing "
            "'pending' at the limit: submissions outrun the plan. Growing below it: the vendor is slow to "
            "pick up. Where webhooks report the ends, nobody polls in between, and 'pending' is what was "
            "seen first.",
            "short",
            [
                over_time(f"sum by (status) ({ask.shown('vivix_generations_in_flight')})", "{{status}}"),
                over_time(
                    f"sum({ask.shown('vivix_account_concurrent_jobs_limit', OF_ACCOUNT)})",
                    "job limit",
                ),
            ],
            stacked=True,
            colours=STATUSES,
            dashed={"job limit": RED},
            height=6,
        ),
        lines(
            "Finished",
            "Generations that ended in each bar, by outcome. A dip of 'completed' without one in flight "
            "means that nobody "
            "submits; with many in flight, that the vendor does not finish them.",
            "short",
            [over_time(ask.each_interval("vivix_generations_total", "status"), "{{status}}")],
            stacked=True,
            counts=True,
            colours=STATUSES,
            height=6,
        ),
        lines(
            "Failure ratio, 30 min, by account",
            "Part that failed of what ended in 30 minutes, by account. The dashed lines are the error budget "
            "and the multiples of it that alerts fire at. One account above: its prompts or its key; all: "
            "the vendor.",
            "percentunit",
            [over_time(ask.failed_part("30m", "account"), "{{account}}")],
            steps=FAILURE_STEPS,
            most=1,
            height=6,
            links=[("Failures", to(FAILURES))],
        ),
    ]


def _models() -> Sequence[Part]:
    histogram, completed = "vivix_generation_duration_seconds", f'{OF_MODEL}, status="completed"'
    return [
        listing(
            "How long, by model",
            "Time from submission to completion in the chosen range, queue included: half are faster than "
            "p50, 1 in 20 is slower than p95. Slower than usual: compare with Slowness on the Failures "
            "dashboard.",
            {"model": "Model"},
            [
                Column("p50", ask.spread(0.5, histogram, completed, "$__range", "model"), "s", decimals=1),
                Column("p95", ask.spread(0.95, histogram, completed, "$__range", "model"), "s", decimals=1),
                Column("p99", ask.spread(0.99, histogram, completed, "$__range", "model"), "s", decimals=1),
            ],
            sort="p95",
            height=6,
        ),
        lines(
            "95 of 100 done within, by model",
            "p95 of the time to completion by model, over 30 min. A step up of one model is its provider; of "
            "all at once, the vendor's queue or the plan's job limit.",
            "s",
            [over_time(ask.spread(0.95, histogram, completed, "30m", "model"), "{{model}}")],
            height=6,
        ),
        lines(
            "Failures, by reason",
            "Failures in each bar, by the API's error code. One reason that grows: see its runbook entry "
            "under "
            f"VivixFailureReasonDominant. {EMPTY}",
            "short",
            [over_time(ask.each_interval("vivix_generation_failures_total", "reason"), "{{reason}}")],
            stacked=True,
            counts=True,
            height=6,
            links=[("Failures", to(FAILURES))],
        ),
    ]


def _rest() -> Sequence[Part]:
    return [
        listing(
            "Alerts",
            "What fires now, worst first. Click its name for the rule and its runbook, which says what to "
            f"do. {EMPTY}",
            {"severity": "Severity", "alertname": "Alert", "account": "Account"},
            [
                Column(
                    "Since",
                    ask.FIRING_SINCE,
                    "dateTimeFromNow",
                )
            ],
            sort="Severity",
            ascending=True,
            height=5,
            links={"Alert": ("Rule and runbook", "/alerting/list?search=${__value.text}")},
        ),
        lines(
            "Credits, by account",
            "What the generations that ended in each bar cost. Compare with the plan's grant on the Cost "
            "dashboard.",
            CREDITS,
            [over_time(ask.each_interval("vivix_credits_used_total", "account"), "{{account}}")],
            stacked=True,
            counts=True,
            height=5,
            links=[("Cost", to(COST))],
        ),
        listing(
            "Wallets",
            "Each account's balance, how long it lasts at the pace of the last day, and when the next "
            "grant comes. Orange: it will be empty within hours.",
            {"account": "Account"},
            [
                Column("Balance", f"max by (account) ({ask.BALANCE})", CREDITS),
                Column("Lasts", f"min by (account) ({ask.LASTS})", "s", LASTS_STEPS, RED, decimals=1),
                Column("Next grant in", f"min by (account) ({ask.UNTIL_RESET})", "s", decimals=1),
            ],
            sort="Lasts",
            ascending=True,
            height=5,
            links={"Account": ("Cost", to(COST))},
        ),
    ]
