"""Polls go to where ends are: by what is usual for the kind of model, then by what was learnt."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.cadence import DELIVERY, Cadence
from support.learnt import CATEGORIES, DURATIONS

LAG, SHORTEST, LONGEST = 2.0, 0.5, 60.0
"""Seconds: the defaults of the configuration."""

AGES = st.floats(-1e6, 1e6)


def cadence(max_models: int = 100) -> Cadence:
    learnt = Cadence(LAG, SHORTEST, LONGEST, max_models)
    learnt.set_category("picture", "image")
    learnt.set_category("film", "video")
    return learnt


def polls(schedule: Cadence, model: str | None, until: float) -> list[float]:
    """The ages at which a generation that goes on and on is polled."""
    age, ages = 0.0, []
    while age < until:
        age += schedule.interval(model, age)
        ages.append(age)
    return ages


def learn(schedule: Cadence, model: str, around: float, times: int = 500) -> None:
    rng = random.Random(1)
    for _ in range(times):
        schedule.learn(model, around * rng.uniform(0.9, 1.1))


def test_a_picture_is_first_looked_at_after_some_seconds() -> None:
    assert 4 <= polls(cadence(), "picture", 1)[0] <= 12


def test_a_film_is_first_looked_at_later_than_a_picture() -> None:
    assert 10 <= polls(cadence(), "film", 1)[0] <= 60


def test_an_unknown_model_is_looked_at_ever_more_rarely() -> None:
    schedule = cadence()
    assert schedule.interval(None, 0.0) <= 4
    pauses = [schedule.interval(None, 2.0**doubling) for doubling in range(11)]
    assert all(1 < later / earlier < 2 for earlier, later in pairwise(pauses))
    gaps = [after - before for before, after in pairwise(polls(schedule, None, 1_000))]
    assert all(later > 0.99 * earlier for earlier, later in pairwise(gaps))


def test_a_category_that_is_not_known_is_like_none() -> None:
    schedule = cadence()
    schedule.set_category("song", "audio")
    assert polls(schedule, "song", 300) == polls(schedule, None, 300)


@pytest.mark.parametrize("category", [None, "image", "video"])
def test_looks_move_to_where_ends_are(category: str | None) -> None:
    schedule = cadence()
    if category is not None:
        schedule.set_category("m", category)
    learn(schedule, "m", around=30)
    ages = polls(schedule, "m", 300)
    assert ages[0] >= 15
    assert sum(25 <= age <= 36 for age in ages) >= 3
    wide = [after - before for before, after in pairwise(ages) if before > 60]
    close = [after - before for before, after in pairwise(ages) if 25 <= before <= 33]
    assert min(wide) > 2 * max(close)


def test_a_model_that_became_slower_is_learnt_anew() -> None:
    schedule = cadence()
    learn(schedule, "m", around=10)
    learn(schedule, "m", around=120, times=4_000)
    ages = polls(schedule, "m", 150)
    assert sum(age < 60 for age in ages) < sum(100 <= age <= 140 for age in ages)


@pytest.mark.parametrize("category", [None, "image", "video"])
@pytest.mark.parametrize(("before", "after"), [(30.0, 60.0), (10.0, 200.0)])
def test_a_model_that_has_become_slower_is_believed_within_ten_ends(
    before: float, after: float, category: str | None
) -> None:
    schedule = cadence()
    if category is not None:
        schedule.set_category("m", category)
    learn(schedule, "m", around=before)
    learn(schedule, "m", around=after, times=10)
    ages = polls(schedule, "m", 1.2 * after)
    where_ends_were = sum(0.85 * before <= age <= 1.2 * before for age in ages)
    assert sum(0.85 * after <= age <= 1.2 * after for age in ages) > 2 * where_ends_were


@pytest.mark.parametrize("category", [None, "image", "video"])
def test_a_model_that_has_become_quicker_is_believed_within_ten_ends(category: str | None) -> None:
    schedule = cadence()
    if category is not None:
        schedule.set_category("m", category)
    learn(schedule, "m", around=60)
    assert sum(age <= 36 for age in polls(schedule, "m", 36)) <= 1
    learn(schedule, "m", around=30, times=10)
    assert sum(25 <= age <= 36 for age in polls(schedule, "m", 36)) >= 3


@given(strange=st.lists(st.one_of(st.just(math.inf), st.floats(0, 1e5)), max_size=2))
def test_one_or_two_strange_ends_are_not_a_change(strange: list[float]) -> None:
    schedule = cadence()
    learn(schedule, "m", around=30)
    for duration in strange:
        schedule.learn("m", duration)
    ages = polls(schedule, "m", 40)
    assert ages[0] >= 15
    assert sum(25 <= age <= 36 for age in ages) >= 3


def test_a_run_of_the_slower_kind_of_a_models_work_is_not_a_change() -> None:
    schedule = cadence()
    for _ in range(100):
        learn(schedule, "m", around=10, times=4)
        learn(schedule, "m", around=40, times=8)
    ages = polls(schedule, "m", 60)
    assert sum(8 <= age <= 13 for age in ages) >= 1
    assert sum(14 <= age <= 25 for age in ages) <= 1
    assert sum(34 <= age <= 48 for age in ages) >= 2


def test_twenty_ends_of_an_unknown_model_show_where_not_to_poll() -> None:
    schedule = cadence()
    learn(schedule, "m", around=60, times=20)
    ages = polls(schedule, "m", 80)
    assert ages[0] >= 30
    assert sum(50 <= age <= 72 for age in ages) >= 3


def test_ends_are_found_about_as_late_as_aimed_at() -> None:
    schedule, rng = cadence(), random.Random(1)
    durations = [rng.lognormvariate(math.log(30), 0.5) for _ in range(2_000)]
    for duration in durations:
        schedule.learn("m", duration)
    ages = polls(schedule, "m", max(durations))
    lags = [next(age for age in ages if age >= duration) - duration for duration in durations]
    assert LAG / 2 < sum(lags) / len(lags) < 1.5 * LAG


def test_what_one_model_taught_does_not_change_another() -> None:
    schedule = cadence()
    before = polls(schedule, "other", 100)
    learn(schedule, "m", around=30)
    assert polls(schedule, "other", 100) == before


def test_models_beyond_the_limit_share_what_is_learnt() -> None:
    schedule = cadence(max_models=2)
    learn(schedule, "first", around=5)
    learn(schedule, "second", around=500)
    learn(schedule, "third", around=30)
    assert polls(schedule, "fourth", 100) == polls(schedule, "third", 100)
    assert polls(schedule, "third", 100)[0] >= 15
    assert polls(schedule, "first", 100) != polls(schedule, "third", 100)


def test_a_category_that_arrives_late_does_not_lose_what_was_learnt() -> None:
    schedule = cadence()
    learn(schedule, "m", around=100)
    schedule.set_category("m", "image")
    assert polls(schedule, "m", 1)[0] >= 50


def test_a_category_that_arrives_late_is_the_prior_of_what_was_not_learnt() -> None:
    schedule = cadence()
    schedule.interval("m", 0.0)
    schedule.set_category("m", "video")
    assert polls(schedule, "m", 300) == polls(schedule, "film", 300)


@given(age=AGES, durations=DURATIONS, category=CATEGORIES)
def test_every_pause_is_within_its_bounds(age: float, durations: list[float], category: str | None) -> None:
    schedule = Cadence(LAG, SHORTEST, LONGEST, 1)
    if category is not None:
        schedule.set_category("m", category)
    for duration in durations:
        schedule.learn("m", duration)
    assert SHORTEST <= schedule.interval("m", age) <= LONGEST


def test_a_generation_that_is_not_created_yet_is_looked_at_no_later_than_a_new_one() -> None:
    # The API's clock may be ahead of the machine's.
    schedule = cadence()
    for model in ("picture", "film", None):
        for age in (-0.1, -3.0, -20.0):
            assert age + schedule.interval(model, age) <= schedule.interval(model, 0.0)


@pytest.mark.parametrize(("lag", "bound"), [(1e-6, SHORTEST), (1e6, LONGEST)])
def test_a_wish_out_of_bounds_is_held_within_them(lag: float, bound: float) -> None:
    schedule = Cadence(lag, SHORTEST, LONGEST, 1)
    assert schedule.interval("m", 10.0) == bound


@pytest.mark.parametrize(("model", "usual"), [("picture", 12.0), ("film", 90.0)])
def test_by_the_prior_alone_the_net_polls_at_about_twice_the_usual_duration(model: str, usual: float) -> None:
    assert 1.5 * usual + DELIVERY <= cadence().net_age(model, 0.0) <= 2.3 * usual + 30


@pytest.mark.parametrize(("usual", "sigma"), [(5.0, 0.4), (12.0, 0.35), (90.0, 0.32), (600.0, 0.3)])
@pytest.mark.parametrize("category", [None, "image", "video"])
def test_the_net_polls_within_twice_the_usual_duration_and_hardly_ever_in_vain(
    usual: float, sigma: float, category: str | None
) -> None:
    schedule, rng = cadence(), random.Random(1)
    if category is not None:
        schedule.set_category("m", category)
    for _ in range(500):
        schedule.learn("m", rng.lognormvariate(math.log(usual), sigma))
    age = schedule.net_age("m", 0.0)
    assert age <= 2 * usual + 30
    later = [rng.lognormvariate(math.log(usual), sigma) for _ in range(10_000)]
    assert sum(duration > age for duration in later) <= 0.05 * len(later)


def test_a_few_ends_do_away_with_the_ignorance_about_an_unknown_model() -> None:
    schedule = cadence()
    assert schedule.net_age("m", 0.0) > 1_000
    learn(schedule, "m", around=12, times=15)
    assert schedule.net_age("m", 0.0) <= 2.5 * 12 + DELIVERY


def test_a_generation_whose_model_is_unknown_is_expected_to_take_as_long_as_any() -> None:
    schedule = cadence()
    learn(schedule, "picture", around=12, times=50)
    assert schedule.net_age(None, 0.0) <= 2.5 * 12 + DELIVERY


@given(DURATIONS, CATEGORIES, st.floats(0, 1e6))
def test_the_net_finds_an_end_by_its_first_age_or_twice_the_duration(
    durations: list[float], category: str | None, duration: float
) -> None:
    schedule = cadence()
    if category is not None:
        schedule.set_category("m", category)
    for one in durations:
        schedule.learn("m", one)
    first = age = schedule.net_age("m", 0.0)
    assert DELIVERY <= first < math.inf
    while age < duration:
        later = schedule.net_age("m", age)
        assert later >= 2 * age
        age = later
    assert age <= max(first, 2 * duration)


def test_other_aims_keep_what_was_learnt() -> None:
    schedule = cadence()
    learn(schedule, "m", around=30)
    before = polls(schedule, "m", 40)
    schedule.aim(2 * LAG, SHORTEST, LONGEST)
    assert len(polls(schedule, "m", 40)) < len(before)
    schedule.aim(LAG, SHORTEST, LONGEST)
    assert polls(schedule, "m", 40) == before
