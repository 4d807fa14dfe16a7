"""Where the credits go, whether they last, and whether the exporter saw all of them."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard

from mixin import expressions as ask
from mixin import limits
from mixin.overview import LASTS_STEPS
from mixin.pieces import (
    ACCOUNT,
    CREDITS,
    CREDITS_PER_HOUR,
    GREEN,
    MODEL,
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
from mixin.uids import COST

SPENT = f"vivix_account_credits_spent{{{ACCOUNT}}}"
GRANTED = f"max by (job, account) (vivix_account_credits_granted{{{ACCOUNT}}})"
WALLET = f"(max by (job, account) (delta({SPENT}[$__range])) > 0)"
"""What the wallets paid in the range; no data where a cycle ended in it, or nothing was spent."""
COUNTED = ask.credits("$__range", "job, account")
COVERAGE_STEPS = ((0.8, YELLOW), (0.95, GREEN), (1.1, YELLOW))


def per_completion(window: str, labels: str) -> str:
    """Credits for one that completed; failures are refunded."""
    return ratio(ask.credits(window, labels), ask.ended(window, labels, "completed"))


def estimate(window: str, labels: str) -> str:
    """What the API estimates for one in flight, on average over a window."""
    return ratio(
        f"sum by ({labels}) (avg_over_time(vivix_credits_in_flight{{{MODEL}}}[{window}]))",
        f"sum by ({labels}) (avg_over_time(vivix_generations_in_flight{{{MODEL}}}[{window}]))",
    )


def refunded(window: str, labels: str) -> str:
    """Credits that failures had reserved, by what completed ones of the same model cost."""
    failed, each = (
        ask.ended(window, "account, model", "failed"),
        per_completion(window, "account, model"),
    )
    return f"sum by ({labels}) ({failed} * {each})"


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
            now(f"sum(vivix_credits_in_flight{{{MODEL}}})"),
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
            "How long the balance lasts, for the account where it ends first, at the pace of the last six "
            "hours.",
            "s",
            now(f"min({ask.LASTS})"),
            steps=LASTS_STEPS,
            base=RED,
            decimals=1,
            none="not at this rate",
            width=4,
        ),
        figure(
            "Seen by the exporter",
            "Credits counted here, as part of what the wallets paid in the chosen range. Well below 100 %: "
            "somebody spends whose ids are not registered. Above: old generations were registered, or some "
            "that were paid for before the range ended in it; take a longer range.",
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
            "Credits per hour, by model",
            "The pace at which ended generations cost credits, by model. The widest area is what to save on "
            "first.",
            CREDITS_PER_HOUR,
            [over_time(ask.rate("vivix_credits_used_total", MODEL, "model", 3600), "{{model}}")],
            stacked=True,
        ),
        lines(
            "Credits per hour, by account",
            "The pace by account: who spends. A steep rise of one: ask whoever submits with its key.",
            CREDITS_PER_HOUR,
            [over_time(ask.rate("vivix_credits_used_total", MODEL, "account", 3600), "{{account}}")],
            stacked=True,
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
                    "short",
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
            "Each wallet now and, at the pace of the last six hours, when the cycle ends. A forecast below "
            "zero means that it runs empty before: top up, or submit less; the alert says when it is urgent.",
            {"account": "Account"},
            [
                Column("Granted", f"max by (account) ({GRANTED})", CREDITS),
                Column("Spent", f"max by (account) ({SPENT})", CREDITS),
                Column("Left", f"max by (account) ({ask.BALANCE})", CREDITS),
                Column("Per hour", f"max by (account) ({pace} * 3600)", CREDITS_PER_HOUR),
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
            "What each wallet paid in the chosen range, what was counted here, and the difference: credits "
            "of generations whose ids nobody registered. Negative, or a small part: those in flight at "
            "either end of the range. An account is left out where its cycle ended in the range.",
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
                    f"max by (account) ({WALLET} - on (job, account) {COUNTED})",
                    CREDITS,
                ),
                Column(
                    "Seen",
                    f"max by (account) ({COUNTED} / on (job, account) {WALLET})",
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
            "Credits of one generation: by the API's estimate while in flight, and as charged once "
            "completed, on average over the chosen range. Charged above estimated: budgets made from "
            "estimates are too small.",
            {"model": "Model"},
            [
                Column("Estimated", estimate("$__range", "model"), CREDITS, decimals=1),
                Column("Charged", per_completion("$__range", "model"), CREDITS, decimals=1),
                Column(
                    "Ratio",
                    f"({per_completion('$__range', 'model')})\n/\n({estimate('$__range', 'model')})",
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
            "Credits that failed generations had reserved and got back, at what completed ones of the model "
            "cost: no money, but work that users waited for in vain. The top line is the failure to fix "
            "first.",
            {"account": "Account"},
            [
                Column("Refunded", refunded("$__range", "account"), CREDITS, ((1, ORANGE),)),
            ],
            sort="Refunded",
            width=6,
        ),
    ]
