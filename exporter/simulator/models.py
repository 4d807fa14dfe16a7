"""Models of the simulated vendor: durations, prices and reasons of failures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import MappingProxyType

from exporter.clock import MICROS


class Category(StrEnum):
    """Kind of output."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


SUFFIXES: Mapping[Category, str] = MappingProxyType(
    {Category.IMAGE: "jpg", Category.VIDEO: "mp4", Category.AUDIO: "mp3"}
)
"""File name endings of output URLs."""

FAILURE_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "PROVIDER_ERROR": "Underlying model returned an error.",
        "CONTENT_POLICY": "The request was rejected by the provider's content policy.",
        "TIMEOUT": "The provider did not finish in time.",
        "INSUFFICIENT_CREDITS": "The wallet ran out of credits before rendering.",
        "INVALID_INPUT": "The provider refused an input parameter.",
    }
)
"""Reasons of failures, with the API's message for each."""

FailureWeights = tuple[tuple[str, float], ...]

_COMMON: FailureWeights = (
    ("PROVIDER_ERROR", 6.0),
    ("CONTENT_POLICY", 3.0),
    ("TIMEOUT", 1.0),
    ("INSUFFICIENT_CREDITS", 0.5),
)
_VIDEO: FailureWeights = (
    ("PROVIDER_ERROR", 5.0),
    ("TIMEOUT", 3.0),
    ("CONTENT_POLICY", 2.0),
    ("INSUFFICIENT_CREDITS", 0.5),
)
_AUDIO: FailureWeights = (("PROVIDER_ERROR", 4.0), ("INVALID_INPUT", 2.0), ("TIMEOUT", 1.0))


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One model. Rendering lasts lognormally around `median_s` seconds, kept within shortest and longest.

    `credits_min` and `credits_max` bound the price of one result; `failure_weights` are relative.
    """

    slug: str
    name: str
    category: Category
    creator: str
    credits_min: int
    credits_max: int
    median_s: float
    sigma: float
    shortest_s: float
    longest_s: float
    failure_weights: FailureWeights = _COMMON

    @property
    def most_results(self) -> int:
        """Maximum `number_results`; several are documented for image models only."""
        return 4 if self.category is Category.IMAGE else 1

    def draw_rendering_us(self, rng: Random) -> int:
        """Draw the duration of rendering, in microseconds."""
        seconds = rng.lognormvariate(math.log(self.median_s), self.sigma)
        return round(min(max(seconds, self.shortest_s), self.longest_s) * MICROS)

    def draw_reason(self, rng: Random) -> str:
        """Draw the reason of a failure."""
        reasons, weights = zip(*self.failure_weights, strict=True)
        return str(rng.choices(reasons, weights)[0])


# 12 s for images and 60 to 180 s (about 90 s) for videos are the vendor's own figures.
MODELS: tuple[SimulatedModel, ...] = (
    SimulatedModel(
        "grok-imagine-image-quality",
        "Grok Imagine Image Quality",
        Category.IMAGE,
        "xAI",
        credits_min=80,
        credits_max=211,
        median_s=12,
        sigma=0.35,
        shortest_s=4,
        longest_s=60,
    ),
    SimulatedModel(
        "runware:101@1",
        "FLUX.1 [dev]",
        Category.IMAGE,
        "Black Forest Labs",
        credits_min=4,
        credits_max=12,
        median_s=5,
        sigma=0.4,
        shortest_s=1.5,
        longest_s=40,
    ),
    SimulatedModel(
        "seedream-4.0",
        "Seedream 4.0",
        Category.IMAGE,
        "ByteDance",
        credits_min=40,
        credits_max=96,
        median_s=14,
        sigma=0.3,
        shortest_s=5,
        longest_s=60,
    ),
    SimulatedModel(
        "wan-2.7-text-to-video",
        "Wan 2.7 Text to Video",
        Category.VIDEO,
        "Alibaba",
        credits_min=400,
        credits_max=1440,
        median_s=90,
        sigma=0.3,
        shortest_s=60,
        longest_s=180,
        failure_weights=_VIDEO,
    ),
    SimulatedModel(
        "kling-2.5-image-to-video",
        "Kling 2.5 Image to Video",
        Category.VIDEO,
        "Kuaishou",
        credits_min=600,
        credits_max=1800,
        median_s=110,
        sigma=0.25,
        shortest_s=60,
        longest_s=180,
        failure_weights=_VIDEO,
    ),
    SimulatedModel(
        "lyria-2-music",
        "Lyria 2 Music",
        Category.AUDIO,
        "Google",
        credits_min=60,
        credits_max=120,
        median_s=20,
        sigma=0.3,
        shortest_s=8,
        longest_s=60,
        failure_weights=_AUDIO,
    ),
)

BY_SLUG: Mapping[str, SimulatedModel] = MappingProxyType({model.slug: model for model in MODELS})
