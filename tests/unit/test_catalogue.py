"""Plan and models are asked for in turn, and shown only as long as they are news."""

from dataclasses import replace

import pytest

from exporter.catalogue import MODELS_EVERY, PLAN_EVERY, STALE, Catalogue, Due
from exporter.payload import Model, Plan

PLAN = Plan("pro", 100.0, 20.0, 120.0, None, 240, 5)
MODELS = (Model("m", "image", "maker"),)
A_MOMENT = 1e-3


def settled(now: float = 0.0) -> Catalogue:
    """Asked for and answered, all of it."""
    catalogue = Catalogue()
    for what in Due:
        catalogue.asked(what, now)
    catalogue.set_plan(PLAN, now)
    catalogue.set_models(MODELS, now)
    return catalogue


def test_the_plan_is_asked_for_first_then_the_models_then_nothing() -> None:
    catalogue = Catalogue()
    asked = []
    while (what := catalogue.due(0.0)) is not None:
        catalogue.asked(what, 0.0)
        asked.append(what)
    assert asked == [Due.PLAN, Due.MODELS]


def test_nothing_is_known_before_it_was_answered() -> None:
    catalogue = Catalogue()
    catalogue.answered(None, 5.0, 0.0)
    assert catalogue.plan(0.0) is None
    assert catalogue.models(0.0) == ()
    assert catalogue.calls_remaining(0.0) is None


def test_the_plan_is_asked_for_every_round() -> None:
    catalogue = settled()
    assert catalogue.next_due() == PLAN_EVERY
    assert catalogue.due(PLAN_EVERY - A_MOMENT) is None
    assert catalogue.due(PLAN_EVERY) is Due.PLAN


def test_the_models_are_asked_for_rarely_once_they_are_known() -> None:
    catalogue = settled()
    catalogue.asked(Due.PLAN, MODELS_EVERY)
    assert catalogue.due(MODELS_EVERY - A_MOMENT) is None
    assert catalogue.due(MODELS_EVERY) is Due.MODELS


@pytest.mark.parametrize("what", list(Due))
def test_what_was_asked_for_in_vain_is_asked_for_again_a_round_later(what: Due) -> None:
    catalogue = settled(-PLAN_EVERY)
    catalogue.asked(Due.PLAN, 1.0)
    catalogue.asked(what, 0.0)
    assert catalogue.due(PLAN_EVERY - A_MOMENT) is None
    assert catalogue.due(PLAN_EVERY) is what


def test_a_plan_is_shown_for_as_long_as_a_few_rounds_may_fail() -> None:
    catalogue = settled()
    assert catalogue.plan(STALE * PLAN_EVERY) == PLAN
    assert catalogue.plan(STALE * PLAN_EVERY + A_MOMENT) is None


def test_models_are_shown_for_as_long_as_a_few_rounds_may_fail() -> None:
    catalogue = settled()
    assert catalogue.models(STALE * MODELS_EVERY) == MODELS
    assert catalogue.models(STALE * MODELS_EVERY + A_MOMENT) == ()


def test_any_answer_brings_the_wallet_up_to_date_and_leaves_the_rest() -> None:
    catalogue = settled()
    catalogue.answered(7, 12.5, 1.0)
    assert catalogue.plan(1.0) == replace(PLAN, balance=12.5)
    catalogue.answered(None, None, 2.0)
    assert catalogue.plan(2.0) == replace(PLAN, balance=12.5)


def test_calls_remaining_are_those_of_the_last_minute_alone() -> None:
    catalogue = settled()
    catalogue.answered(7, None, 0.0)
    catalogue.answered(None, None, 30.0)
    assert catalogue.calls_remaining(60.0) == 7
    assert catalogue.calls_remaining(60.0 + A_MOMENT) is None
    catalogue.answered(0, None, 100.0)
    assert catalogue.calls_remaining(100.0) == 0
