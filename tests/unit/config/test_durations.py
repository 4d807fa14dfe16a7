"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1h30m", 5400), ("30d", 2_592_000), ("1m", 60), ("1d2h3m4s5ms", 93_784.005)],
)
def test_units_add_up(text: str, seconds: float) -> None:
    assert parse_duration(text) == round(seconds * 1_000_000)


@pytest.mark.parametrize("text", ["", "5", "s", "1 h", "1m1h", "1s1s", "-1s", "1.5s", "1w", "²s", "1e3s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_what_is_formatted_is_read_back(millis: int) -> None:
    assert parse_duration(format_duration(millis * 1_000)) == millis * 1_000
