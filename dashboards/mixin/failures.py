"""What fails, why, since when, and how much of it the error budget still allows."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.overview import FAILURE_STEPS
from mixin.pieces import (
    ACCOUNT,
    EMPTY,
    GREEN,
    MODEL,
    ORANGE,
    PER_MINUTE,
    RED,
    TIMES,
    YELLOW,
    Column,
    Part,
    board,
    figure,
    lines,
    listing,
    now,
    over_time,
    ratio,
    section,
    start,
)
from mixin.uids import FAILURES

DURATION = "vivix_generation_duration_seconds"
BURN_STEPS = ((1, YELLOW), (limits.SLOW_BURN, ORANGE), (limits.FAST_BURN, RED))
CHANGE_STEPS = ((1, YELLOW), (limits.LEAST_FAILURES, RED))
LAST = "the same range just before"


def burn(window: str, labels: str = "") -> str:
    """How many times faster than it may the error budget is used up."""
    return f"({ask.failed_part(window, labels)}) / {limits.FAILURE_BUDGET}"


def _ratio_of_known_models() -> str:
    known, counter = f'{MODEL}, model!="unknown"', "vivix_generations_total"
    return ratio(
        f'sum by (model) (increase({counter}{{{known}, status="failed"}}[30m]))',
        f"sum by (model) (increase({counter}{{{known}}}[30m]))",
    )


def build() -> dashboard.Dashboard:
    """The dashboard."""
    beginning = start(
        FAILURES,
        "Failures",
        "Which generations fail, why, since when, and what the error budget says about it.",
        "6h",
    )
    parts = [
        *_budget(),
        *_what(),
        section("What changed"),
        *_changes(),
        section("Slowness and traces"),
        *_slow(),
    ]
    return board(beginning, parts)


def _budget() -> Sequence[Part]:
    budget = f"{limits.FAILURE_BUDGET:.0%}"
    return [
        figure(
            "Failed",
            "Generations that failed in the chosen range. Read it beside the ratio: many of many may be "
            "within budget.",
            "short",
            now(ask.ended("$__range", status="failed")),
            decimals=0,
            width=4,
        ),
        figure(
            "Failure ratio",
            f"Part that failed of what ended in the chosen range. The error budget is {budget}: above it, "
            "over weeks, promises to users do not hold. Red: find the reason below.",
            "percentunit",
            now(ask.failed_part("$__range")),
            steps=FAILURE_STEPS,
            decimals=1,
            none="none ended",
            width=4,
        ),
        figure(
            "Burn rate, 1 h",
            "Failure ratio of the last hour in multiples of the error budget. At 1 the budget of 30 days "
            f"lasts 30 days; at {limits.FAST_BURN:.0f} it lasts 6, and an alert calls.",
            TIMES,
            now(burn("1h")),
            steps=BURN_STEPS,
            decimals=1,
            none="none ended",
            width=4,
        ),
        figure(
            "Burn rate, 6 h",
            f"As beside, over six hours. At {limits.SLOW_BURN:.0f} the budget of 30 days lasts 15: look in "
            "working hours.",
            TIMES,
            now(burn("6h")),
            steps=BURN_STEPS,
            decimals=1,
            none="none ended",
            width=4,
        ),
        figure(
            "Budget left, 30 days",
            f"What is left of the failures that the budget of {budget} allows in 30 days, as far back as "
            "Prometheus remembers. Negative: overspent; put reliability before features, or agree on another "
            "budget.",
            "percentunit",
            now(f"1 - {burn('30d')}"),
            steps=((0, ORANGE), (0.25, YELLOW), (0.5, GREEN)),
            base=RED,
            decimals=0,
            none="none ended",
            width=4,
        ),
        figure(
            "Dropped",
            "Generations no longer followed although their end was not seen: unknown to the API, another "
            "account's, or given up. They are in no ratio. More than a few: the ids registered are wrong.",
            "short",
            now(f"sum(increase(vivix_generations_dropped_total{{{ACCOUNT}}}[$__range])) or vector(0)"),
            steps=((1, YELLOW),),
            decimals=0,
            width=4,
        ),
    ]


def _what() -> Sequence[Part]:
    return [
        lines(
            "Burn rate",
            "Failure ratio over three windows in multiples of the error budget; the dashed lines are where "
            "alerts fire. The short window leads and falls first: once it is down again, the trouble is "
            "over.",
            TIMES,
            [over_time(burn(window), window) for window in ("5m", "1h", "6h")],
            steps=BURN_STEPS,
        ),
        lines(
            "Failures, by reason",
            "Failures by the API's error code. CONTENT_POLICY and INVALID_INPUT come from what users send, "
            f"PROVIDER_ERROR and TIMEOUT from the vendor, INSUFFICIENT_CREDITS from the wallet. {EMPTY}",
            PER_MINUTE,
            [
                over_time(
                    ask.rate("vivix_generation_failures_total", MODEL, "reason", 60),
                    "{{reason}}",
                    exemplars=True,
                )
            ],
            stacked=True,
        ),
        lines(
            "Failure ratio, 30 min, by model",
            "Part that failed of each model. One model alone: take another one until its provider has "
            "recovered. Failures that the API reported without their model are left out here: they would be "
            "a model that always fails.",
            "percentunit",
            [over_time(_ratio_of_known_models(), "{{model}}")],
            steps=FAILURE_STEPS,
            most=1,
        ),
        listing(
            "Failures, by model and reason",
            "How often each reason struck each model in the chosen range; the top line is what to ask the "
            "vendor about first. The very first failure of an account for a reason that the API does not "
            f"document is missing: what begins at 1 has no increase that Prometheus could see. {EMPTY}",
            {"model": "Model", "reason": "Reason"},
            [Column("Failed", f"{ask.failures('$__range', 'model, reason')} > 0", "short", decimals=0)],
            sort="Failed",
        ),
        listing(
            "By model",
            "What ended of each model in the chosen range, and the part of it that failed. A high ratio of "
            "few is chance: read both columns. 'unknown' are failures that the API reported without "
            "their model.",
            {"model": "Model"},
            [
                Column("Ended", f"{ask.ended('$__range', 'model')} > 0", "short", decimals=0),
                Column(
                    "Failed",
                    f"{ask.failed_part('$__range', 'model')}",
                    "percentunit",
                    FAILURE_STEPS,
                    decimals=1,
                ),
            ],
            sort="Failed",
        ),
        listing(
            "By account",
            "As beside, by account. One account alone: its prompts, its key, its wallet; all of them: the "
            "vendor.",
            {"account": "Account"},
            [
                Column("Ended", f"{ask.ended('$__range', 'account')} > 0", "short", decimals=0),
                Column(
                    "Failed",
                    f"{ask.failed_part('$__range', 'account')}",
                    "percentunit",
                    FAILURE_STEPS,
                    decimals=1,
                ),
            ],
            sort="Failed",
        ),
    ]


def _changes() -> Sequence[Part]:
    failed = f"vivix_generation_failures_total{{{MODEL}}}[$__range]"
    ended = f"vivix_generations_total{{{MODEL}}}[$__range]"

    def more(counter: str, labels: str) -> str:
        """What came in the range, less what came in the one before; all of it where there was none before."""
        this = f"sum by ({labels}) (increase({counter}))"
        before = f"sum by ({labels}) (increase({counter} offset $__range))"
        return f"({this} - {before}) or {this}"

    def before(counter: str, labels: str) -> str:
        """What came in the one before; 0 for what is new."""
        former = f"sum by ({labels}) (increase({counter} offset $__range))"
        return f"{former} or 0 * sum by ({labels}) (increase({counter}))"

    return [
        listing(
            "What changed, by reason",
            f"Failures of the chosen range against {LAST}. A reason that is new or has doubled is the trail; "
            f"set the range so that it begins with the trouble. {EMPTY}",
            {"reason": "Reason"},
            [
                Column("Before", before(failed, "reason"), "short", decimals=0),
                Column("Now", ask.failures("$__range", "reason"), "short", decimals=0),
                Column("More", more(failed, "reason"), "short", CHANGE_STEPS, decimals=0),
            ],
            sort="More",
            width=12,
        ),
        listing(
            "What changed, by model",
            f"Ended generations of the chosen range against {LAST}. Much more of one model: its failures "
            "grow with it, and its cost.",
            {"model": "Model"},
            [
                Column("Before", before(ended, "model"), "short", decimals=0),
                Column("Now", ask.ended("$__range", "model"), "short", decimals=0),
                Column("More", more(ended, "model"), "short", decimals=0),
            ],
            sort="More",
            width=12,
        ),
    ]


def _slow() -> Sequence[Part]:
    completed = f'{MODEL}, status="completed"'
    return [
        lines(
            "How long, with traces",
            "p95 of completed generations by model; each diamond is one generation. Click it to see its "
            "trace: how long it queued, and how long it was rendered.",
            "s",
            [
                over_time(
                    ask.quantile(0.95, DURATION, completed, "$__rate_interval", "model"),
                    "{{model}}",
                    exemplars=True,
                )
            ],
        ),
        lines(
            "Failed after, with traces",
            "p95 of how long failed generations took to fail; each diamond is one of them, and its trace "
            f"holds the API's message. Failures after long are the dear ones for users who wait. {EMPTY}",
            "s",
            [
                over_time(
                    ask.quantile(0.95, DURATION, f'{MODEL}, status="failed"', "$__rate_interval", "account"),
                    "{{account}}",
                    exemplars=True,
                )
            ],
        ),
        lines(
            "Slowness against the day before",
            "Mean duration of 30 minutes relative to that of the day before, by model; the dashed line is "
            "where an alert fires. Above 1 for all models: the queue; for one: its provider.",
            TIMES,
            [
                over_time(
                    f"({ask.mean(DURATION, completed, '30m', 'model')})\n/\n"
                    f"({ask.mean(DURATION, completed, '1d', 'model')})",
                    "{{model}}",
                )
            ],
            steps=((limits.SLOWER_THAN_BEFORE, RED),),
        ),
    ]
