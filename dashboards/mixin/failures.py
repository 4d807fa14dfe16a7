"""What fails, why, since when, and how much of it the error budget still allows."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.alert import spoken
from mixin.overview import FAILURE_STEPS
from mixin.pieces import (
    COUNT,
    EMPTY,
    GREEN,
    MODEL,
    OF_ACCOUNT,
    OF_MODEL,
    ORANGE,
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
    known, counter = f'{OF_MODEL}, model!="unknown"', "vivix_generations_total"
    return ratio(
        ask.growth(counter, "30m", "model", f'{known}, status="failed"'),
        ask.growth(counter, "30m", "model", known),
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
        section("Whose doing, and where the time goes"),
        *_whose(),
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
            COUNT,
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
            f"Burn rate, {limits.FAST_WINDOWS[0]}",
            f"Failure ratio of the last {spoken(limits.FAST_WINDOWS[0])} in multiples of the error budget. "
            "At 1 the budget of 30 days "
            f"lasts 30 days; at {limits.FAST_BURN:.0f} it lasts 6, and an alert calls.",
            TIMES,
            now(burn(limits.FAST_WINDOWS[0])),
            steps=BURN_STEPS,
            decimals=1,
            none="none ended",
            width=4,
        ),
        figure(
            f"Burn rate, {limits.SLOW_WINDOWS[0]}",
            f"As beside, over the last {spoken(limits.SLOW_WINDOWS[0])}. At {limits.SLOW_BURN:.0f} the "
            "budget of 30 days lasts 15: look in working hours.",
            TIMES,
            now(burn(limits.SLOW_WINDOWS[0])),
            steps=BURN_STEPS,
            decimals=1,
            none="none ended",
            width=4,
        ),
        figure(
            "Budget left, 30 days",
            f"What is left of the failures that the budget of {budget} allows in 30 days, or since the "
            "exporter began, where Prometheus does not reach back so far. Negative: overspent; put "
            "reliability before features, or agree on another "
            "budget.",
            "percentunit",
            now(ask.budget_left("30d")),
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
            COUNT,
            now(ask.growth("vivix_generations_dropped_total", "$__range", matchers=OF_ACCOUNT)),
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
            [
                over_time(burn(window), window)
                for window in (*limits.FAST_WINDOWS[::-1], limits.SLOW_WINDOWS[0])
            ],
            steps=BURN_STEPS,
        ),
        lines(
            "Failures, by reason",
            "Failures by the API's error code. CONTENT_POLICY and INVALID_INPUT come from what users send, "
            f"PROVIDER_ERROR and TIMEOUT from the vendor, INSUFFICIENT_CREDITS from the wallet. {EMPTY}",
            "short",
            [
                over_time(
                    ask.each_interval("vivix_generation_failures_total", "reason"),
                    "{{reason}}",
                )
            ],
            stacked=True,
            counts=True,
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
            "vendor about first. A reason's first failure is counted "
            f"too. {EMPTY}",
            {"model": "Model", "reason": "Reason"},
            [Column("Failed", f"{ask.failures('$__range', 'model, reason')} > 0", COUNT, decimals=0)],
            sort="Failed",
        ),
        listing(
            "By model",
            "What ended of each model in the chosen range, and the part of it that failed. A high ratio of "
            "few is chance: read both columns. 'unknown' are failures that the API reported without "
            "their model.",
            {"model": "Model"},
            [
                Column("Ended", f"{ask.ended('$__range', 'model')} > 0", COUNT, decimals=0),
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
                Column("Ended", f"{ask.ended('$__range', 'account')} > 0", COUNT, decimals=0),
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


def _whose() -> Sequence[Part]:
    callers, wallets = "|".join(limits.CALLERS_REASONS), "|".join(limits.WALLETS_REASONS)
    queue = ask.mean("vivix_generation_queue_seconds", OF_MODEL, "30m", "account")
    whole = ask.mean(DURATION, f'{OF_MODEL}, status="completed"', "30m", "account")
    in_flight = f"sum by (job, account) ({ask.shown('vivix_generations_in_flight')})"
    return [
        lines(
            "Whose doing",
            "Failures in each bar by whose doing they are: the caller's (what was submitted is refused), the "
            f"wallet's (no credits), or the vendor's, which alone can page. {EMPTY}",
            "short",
            [
                over_time(ask.failures_of(f'reason!~"{callers}|{wallets}"'), "vendor"),
                over_time(ask.failures_of(f'reason=~"{callers}"'), "caller"),
                over_time(ask.failures_of(f'reason=~"{wallets}"'), "wallet"),
            ],
            stacked=True,
            counts=True,
            colours={"vendor": RED, "caller": YELLOW, "wallet": ORANGE},
        ),
        lines(
            "Queue or rendering",
            "Mean time until rendering was first seen, and until completion, over 30 min, by account. The "
            "lower "
            "line rises: the plan's job limit, see beside; only the upper one: the provider.",
            "s",
            [over_time(queue, "{{account}} queued"), over_time(whole, "{{account}} completed")],
        ),
        lines(
            "Use of the plan, by account",
            "Generations in flight as part of what the plan renders at once. At 100 % further ones only "
            "wait: "
            "submit more evenly, or take a larger plan.",
            "percentunit",
            [
                over_time(
                    f"{in_flight}\n/ {ask.shown('vivix_account_concurrent_jobs_limit', OF_ACCOUNT)}",
                    "{{account}}",
                )
            ],
            steps=((1, RED),),
        ),
    ]


def _changes() -> Sequence[Part]:
    failed, ended = "vivix_generation_failures_total", "vivix_generations_total"

    def more(counter: str, labels: str) -> str:
        """What came in the range, less what came in the one before; all of it where there was none before."""
        this = ask.growth(counter, "$__range", labels)
        return f"({this} - ({ask.growth_before(counter, labels)})) or {this}"

    def before(counter: str, labels: str) -> str:
        """What came in the one before; 0 for what is new."""
        return f"{ask.growth_before(counter, labels)} or 0 * {ask.growth(counter, '$__range', labels)}"

    return [
        listing(
            "What changed, by reason",
            f"Failures of the chosen range against {LAST}. A reason that is new or has doubled is the trail; "
            f"set the range so that it begins with the trouble. {EMPTY}",
            {"reason": "Reason"},
            [
                Column("Before", before(failed, "reason"), COUNT, decimals=0),
                Column("Now", ask.failures("$__range", "reason"), COUNT, decimals=0),
                Column("More", more(failed, "reason"), COUNT, CHANGE_STEPS, decimals=0),
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
                Column("Before", before(ended, "model"), COUNT, decimals=0),
                Column("Now", ask.ended("$__range", "model"), COUNT, decimals=0),
                Column("More", more(ended, "model"), COUNT, decimals=0),
            ],
            sort="More",
            width=12,
        ),
    ]


def _slow() -> Sequence[Part]:
    # Exemplars are those of the exporter's own series.
    completed, recorded = f'{MODEL}, status="completed"', f'{OF_MODEL}, status="completed"'
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
                    f"({ask.mean(DURATION, recorded, '30m', 'model')})\n/\n"
                    f"({ask.mean(DURATION, recorded, '1d', 'model')})",
                    "{{model}}",
                )
            ],
            steps=((limits.SLOWER_THAN_BEFORE, RED),),
        ),
    ]
