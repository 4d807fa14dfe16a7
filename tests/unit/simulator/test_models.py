import statistics
from random import Random

import pytest

from exporter.simulator.models import BY_SLUG, FAILURE_MESSAGES, MODELS, Category, SimulatedModel


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.slug)
def test_rendering_stays_between_shortest_and_longest(model: SimulatedModel) -> None:
    rng = Random(1)
    for _ in range(2_000):
        assert model.shortest_s * 1e6 <= model.draw_rendering_us(rng) <= model.longest_s * 1e6


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.slug)
def test_rendering_lasts_as_long_as_the_median_says(model: SimulatedModel) -> None:
    rng = Random(2)
    seconds = statistics.median(model.draw_rendering_us(rng) / 1e6 for _ in range(4_000))
    assert seconds == pytest.approx(model.median_s, rel=0.1)


def test_videos_take_a_minute_to_three() -> None:
    videos = [model for model in MODELS if model.category is Category.VIDEO]
    assert videos
    assert all((video.shortest_s, video.longest_s) == (60, 180) for video in videos)


def test_the_documented_models_are_offered() -> None:
    assert {"grok-imagine-image-quality", "wan-2.7-text-to-video", "runware:101@1"} <= BY_SLUG.keys()
    assert len(MODELS) >= 6


def test_every_failure_reason_has_a_message() -> None:
    assert {reason for model in MODELS for reason, _ in model.failure_weights} <= FAILURE_MESSAGES.keys()
