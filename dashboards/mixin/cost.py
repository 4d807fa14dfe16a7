"""Where the credits go, whether they last, and whether the exporter saw all of them."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.overview import LASTS_STEPS
from mixin.pieces import (
    COUNT,
    CREDITS,
    CREDITS_PER_HOUR,
    GREEN,
    OF_ACCOUNT,
    OF_MODEL,
    ORANGE,
    RED,
    YELLOW,
    Column,
    Part,
    bars,
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
from mixin.records import SPENDS, changed
from mixin.uids import COST

SPENT = ask.shown("vivix_account_credits_spent", OF_ACCOUNT)
GRANTED = ask.shown("vivix_account_credits_granted", OF_ACCOUNT)
OBSERVED, FOLLOWED = (f"({changed(metric, '$__range', OF_ACCOUNT)})" for metric in SPENDS)
WALLET = f"({OBSERVED} > 0)"
"""What the wallets paid in the range, through the ends of cycles; no data where nothing was spent."""
COUNTED = FOLLOWED
"""What followed generations explain of it, as of the same reads."""
CYCLE_SECONDS = 30 * 86_400
"""Of a billing cycle, which the API names the end of alone."""
COVERAGE_STEPS = ((0.8, YELLOW), (0.95, GREEN), (1.1, YELLOW))


def per_completion(window: str, labels: str) -> str:
    """Credits for one that completed; failures are refunded."""
    return ratio(ask.credits(window, labels), ask.ended(window, labels, "completed"))


def estimated(window: str, labels: str, status: str) -> str:
    """What the API had estimated for those that ended with a status, as far as an answer told it."""
    return ask.growth("vivix_credits_estimated_total", window, labels, f'{OF_MODEL}, status="{status}"')


CHARGED = ask.growth("vivix_credits_used_where_estimated_total", "$__range", "model")
OUTPUTS = ask.growth("vivix_generation_outputs_total", "$__range", "model")
SECONDS = ask.growth(
    "vivix_generation_duration_seconds_sum", "$__range", "model", f'{OF_MODEL}, status="completed"'
)


def build() -> dashboard.Dashboard:
    """The dashboard."""
    beginning = start(
        COST, "Cost", "Where the credits go, whether they last, and whether all were seen.", "24h"
    )
    parts = [
        *_figures(),
        *_where(),
        section("Does it last?"),
        *_forecast(),
        section("Is it all, and was it worth it?"),
        *_coverage(),
    ]
    return board(beginning, parts)


def _figures() -> Sequence[Part]:
    return [
        figure(
            "Credits used",
            "What generations that ended in the chosen range cost.",
            CREDITS,
            now(ask.credits("$__range")),
            width=4,
        ),
        figure(
            "Per completed generation",
            "Credits for each generation that completed in the chosen range. It rises with dearer models or "
            "with more results asked for at once; the bars below say which.",
            CREDITS,
            now(ratio(ask.credits("$__range"), ask.ended("$__range", status="completed"))),
            decimals=1,
            none="none completed",
            width=4,
        ),
        figure(
            "Reserved",
            "What the generations in flight will cost by the API's estimate; it is spoken for, although not "
            "yet used.",
            CREDITS,
            now(f"sum({ask.shown('vivix_credits_in_flight')})"),
            width=4,
        ),
        figure(
            "Credits left",
            "The balance of all chosen accounts together; below, each by itself.",
            CREDITS,
            now(f"sum({ask.BALANCE})"),
            width=4,
        ),
        figure(
            "First runs out in",
            "How long the balance lasts, for the account where it ends first, at the pace of the last day.",
            "s",
            now(f"min({ask.LASTS})"),
            steps=LASTS_STEPS,
            base=RED,
            decimals=1,
            none="no spending to go by",
            width=4,
        ),
        figure(
            "Seen by the exporter",
            "The part of what the wallets paid in the chosen range that followed generations explain, as "
            "of the "
            "same reads. Well below 100 %: somebody spends whose ids are not registered.",
            "percentunit",
            now(f"sum({COUNTED} and on (job, account) {WALLET}) / sum({WALLET})"),
            steps=COVERAGE_STEPS,
            base=RED,
            decimals=1,
            none="nothing spent",
            width=4,
        ),
    ]


def _where() -> Sequence[Part]:
    return [
        lines(
            "Credits, by model",
            "What the generations that ended in each bar cost, by model. The widest area is what to save on "
            "first.",
            CREDITS,
            [over_time(ask.each_interval("vivix_credits_used_total", "model"), "{{model}}")],
            stacked=True,
            counts=True,
        ),
        lines(
            "Credits, by account",
            "The same by account: who spends. A steep rise of one: ask whoever submits with its key.",
            CREDITS,
            [over_time(ask.each_interval("vivix_credits_used_total", "account"), "{{account}}")],
            stacked=True,
            counts=True,
        ),
        bars(
            "Per completed generation, by model",
            "Credits for each completed generation of a model in the chosen range. The same picture from a "
            "cheaper model?",
            CREDITS,
            now(per_completion("$__range", "model"), "{{model}}"),
        ),
        listing(
            "By account and model",
            "What each account paid for each model in the chosen range, and for how many. The top line is "
            "the bill.",
            {"account": "Account", "model": "Model"},
            [
                Column("Credits", f"{ask.credits('$__range', 'account, model')} > 0", CREDITS),
                Column(
                    "Completed",
                    f"{ask.ended('$__range', 'account, model', 'completed')} > 0",
                    COUNT,
                    decimals=0,
                ),
                Column("Each", per_completion("$__range", "account, model"), CREDITS, decimals=1),
            ],
            sort="Credits",
            width=24,
        ),
    ]


def _forecast() -> Sequence[Part]:
    until = f"clamp_min({ask.UNTIL_RESET}, 0)"
    pace = f"clamp_min({ask.SPENDING}, 0)"
    return [
        listing(
            "Until the next grant",
            "Each wallet now and, at the pace of the last day, when the cycle ends. A forecast below "
            "zero means that it runs empty before: top up, or submit less; the alert says when it is urgent.",
            {"account": "Account"},
            [
                Column("Granted", f"max by (account) ({GRANTED})", CREDITS),
                Column("Spent", f"max by (account) ({SPENT})", CREDITS),
                Column("Left", f"max by (account) ({ask.BALANCE})", CREDITS),
                Column("Per hour", f"max by (account) ({pace} * 3600)", CREDITS_PER_HOUR),
                Column(
                    "Spent of it", f"max by (account) ({SPENT} / ({GRANTED} > 0))", "percentunit", decimals=0
                ),
                Column(
                    "Elapsed",
                    f"max by (account) (clamp_min(1 - {until} / {CYCLE_SECONDS}, 0))",
                    "percentunit",
                    decimals=0,
                ),
                Column("Next grant in", f"max by (account) ({until})", "s", decimals=1),
                Column("Lasts", f"min by (account) ({ask.LASTS})", "s", LASTS_STEPS, RED, decimals=1),
                Column(
                    "Left then",
                    f"min by (account) ({ask.BALANCE} - {pace} * {until})",
                    CREDITS,
                    ((0, GREEN),),
                    RED,
                ),
            ],
            sort="Left then",
            ascending=True,
            width=24,
            height=6,
        ),
        lines(
            "Credits left, by account",
            "Each wallet's balance. Steps up are grants and top-ups; the slope is the pace.",
            CREDITS,
            [over_time(f"max by (account) ({ask.BALANCE})", "{{account}}")],
            width=12,
        ),
        lines(
            "Left of the grant, by account",
            "Balance as part of what the cycle granted; an alert fires at the dashed line.",
            "percentunit",
            [over_time(f"max by (account) ({ratio(ask.BALANCE, GRANTED)})", "{{account}}")],
            steps=((limits.LOW_BALANCE, ORANGE),),
            width=12,
        ),
    ]


def _coverage() -> Sequence[Part]:
    return [
        listing(
            "Spend that the exporter did not see",
            "What each wallet paid in the chosen range, through the ends of cycles, what followed "
            "generations "
            "explain of it, and the difference: credits of generations whose ids nobody registered.",
            {"account": "Account"},
            [
                Column("Paid", f"max by (account) ({WALLET})", CREDITS),
                Column(
                    "Counted",
                    f"max by (account) ({COUNTED} and on (job, account) {WALLET})",
                    CREDITS,
                ),
                Column(
                    "Not seen",
                    f"max by (account) ({WALLET} - {COUNTED})",
                    CREDITS,
                ),
                Column(
                    "Seen",
                    f"max by (account) ({COUNTED} / {WALLET})",
                    "percentunit",
                    COVERAGE_STEPS,
                    RED,
                    decimals=1,
                ),
            ],
            sort="Not seen",
            width=9,
        ),
        listing(
            "Estimate against actual",
            "Credits by the API's estimate, and as charged, of the same generations: those that completed in "
            "the chosen range after an answer had told an estimate. Charged above estimated: budgets made "
            "from estimates are too small.",
            {"model": "Model"},
            [
                Column("Estimated", f"{estimated('$__range', 'model', 'completed')} > 0", CREDITS),
                Column("Charged", f"{CHARGED} > 0", CREDITS),
                Column(
                    "Ratio",
                    ratio(CHARGED, estimated("$__range", "model", "completed")),
                    "percentunit",
                    ((1.05, YELLOW),),
                    decimals=0,
                ),
            ],
            sort="Ratio",
            width=9,
        ),
        listing(
            "Refunded for failures",
            "Credits that failed generations had reserved and got back, by the API's estimates as far as "
            "answers told them: no money, but work that users waited for in vain. The top line is the "
            "failure to fix first.",
            {"account": "Account"},
            [
                Column("Refunded", estimated("$__range", "account", "failed"), CREDITS, ((1, ORANGE),)),
            ],
            sort="Refunded",
            width=6,
        ),
        listing(
            "Per output, by model",
            "What a single picture, video or sound took of credits and of time in the chosen range. A "
            "model that "
            "brings several at once is cheaper than it looks.",
            {"model": "Model"},
            [
                Column("Credits", ratio(ask.credits("$__range", "model"), OUTPUTS), CREDITS, decimals=1),
                Column("Time", ratio(SECONDS, OUTPUTS), "s", decimals=1),
            ],
            sort="Credits",
            width=24,
            height=6,
        ),
    ]
