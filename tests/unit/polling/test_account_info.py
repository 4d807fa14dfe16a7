"""Plan and models are asked for in turn, and shown only as long as they are news."""

from dataclasses import replace

import pytest

from exporter.polling.account_info import MODELS_EVERY, PLAN_EVERY, STALE, AccountInfo, Due
from exporter.vivix.payload import Model, Plan

PLAN = Plan("pro", 100.0, 20.0, 120.0, None, 240, 5)
MODELS = (Model("m", "image", "maker"),)
A_MOMENT = 1e-3


def settled(now: float = 0.0) -> AccountInfo:
    """Asked for and answered, all of it."""
    account_info = AccountInfo()
    for what in Due:
        account_info.asked(what, now)
    account_info.set_plan(PLAN, now)
    account_info.set_models(MODELS, now)
    return account_info


def test_the_plan_is_asked_for_first_then_the_models_then_nothing() -> None:
    account_info = AccountInfo()
    asked = []
    while (what := account_info.due(0.0)) is not None:
        account_info.asked(what, 0.0)
        asked.append(what)
    assert asked == [Due.PLAN, Due.MODELS]


def test_nothing_is_known_before_it_was_answered() -> None:
    account_info = AccountInfo()
    account_info.answered(None, 5.0, 0.0)
    assert account_info.plan(0.0) is None
    assert account_info.models(0.0) == ()
    assert account_info.calls_remaining(0.0) is None


def test_the_plan_is_asked_for_every_round() -> None:
    account_info = settled()
    assert account_info.next_due() == PLAN_EVERY
    assert account_info.due(PLAN_EVERY - A_MOMENT) is None
    assert account_info.due(PLAN_EVERY) is Due.PLAN


def test_the_models_are_asked_for_rarely_once_they_are_known() -> None:
    account_info = settled()
    account_info.asked(Due.PLAN, MODELS_EVERY)
    assert account_info.due(MODELS_EVERY - A_MOMENT) is None
    assert account_info.due(MODELS_EVERY) is Due.MODELS


@pytest.mark.parametrize("what", list(Due))
def test_what_was_asked_for_in_vain_is_asked_for_again_a_round_later(what: Due) -> None:
    account_info = settled(-PLAN_EVERY)
    account_info.asked(Due.PLAN, 1.0)
    account_info.asked(what, 0.0)
    assert account_info.due(PLAN_EVERY - A_MOMENT) is None
    assert account_info.due(PLAN_EVERY) is what


def test_a_plan_is_shown_for_as_long_as_a_few_rounds_may_fail() -> None:
    account_info = settled()
    assert account_info.plan(STALE * PLAN_EVERY) == PLAN
    assert account_info.plan(STALE * PLAN_EVERY + A_MOMENT) is None


def test_models_are_shown_for_as_long_as_a_few_rounds_may_fail() -> None:
    account_info = settled()
    assert account_info.models(STALE * MODELS_EVERY) == MODELS
    assert account_info.models(STALE * MODELS_EVERY + A_MOMENT) == ()


def test_any_answer_brings_the_wallet_up_to_date_and_leaves_the_rest() -> None:
    account_info = settled()
    account_info.answered(7, 12.5, 1.0)
    assert account_info.plan(1.0) == replace(PLAN, balance=12.5)
    account_info.answered(None, None, 2.0)
    assert account_info.plan(2.0) == replace(PLAN, balance=12.5)


def test_calls_remaining_are_those_of_the_last_minute_alone() -> None:
    account_info = settled()
    account_info.answered(7, None, 0.0)
    account_info.answered(None, None, 30.0)
    assert account_info.calls_remaining(60.0) == 7
    assert account_info.calls_remaining(60.0 + A_MOMENT) is None
    account_info.answered(0, None, 100.0)
    assert account_info.calls_remaining(100.0) == 0
