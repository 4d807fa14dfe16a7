"""The hazard rate is usable whatever was learnt: neither zero nor infinite, its integral invertible."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.hazard import Hazard
from support.learnt import CATEGORIES, DURATIONS


def hazard(category: str | None, durations: list[float]) -> Hazard:
    learnt = Hazard(category)
    for duration in durations:
        learnt.learn(duration)
    return learnt


@given(
    ages=st.lists(st.floats(0, 1e6), min_size=2, max_size=20, unique=True),
    durations=DURATIONS,
    category=CATEGORIES,
)
def test_the_integral_of_the_hazards_root_increases_with_age(
    ages: list[float], durations: list[float], category: str | None
) -> None:
    learnt = hazard(category, durations)
    for earlier, later in pairwise(sorted(ages)):
        assert learnt.sqrt_integral(earlier) <= learnt.sqrt_integral(later)
        if later - earlier > 1e-3:
            assert learnt.sqrt_integral(earlier) < learnt.sqrt_integral(later)


@given(age=st.floats(0, 1e6), durations=DURATIONS, category=CATEGORIES)
def test_an_age_is_found_again_by_its_integral(
    age: float, durations: list[float], category: str | None
) -> None:
    learnt = hazard(category, durations)
    assert learnt.age_at(learnt.sqrt_integral(age)) == pytest.approx(age, rel=1e-6, abs=1e-6)


@given(durations=DURATIONS, category=CATEGORIES)
def test_the_mean_of_the_hazards_inverse_root_is_a_positive_number(
    durations: list[float], category: str | None
) -> None:
    assert 0 < hazard(category, durations).mean_inverse_sqrt() < math.inf
