"""A delivery that is lost is found by the safety net soon, over HTTP, with a vendor that loses some."""

import random
from pathlib import Path

from exporter.clock import MICROS
from exporter.simulator.deliveries import Kind, Mishaps
from exporter.simulator.models import MODELS, Category
from support.pushing import ACCOUNTS, Scene, scene

REGISTERED = 300
SLACK = 60.0
"""Simulated seconds that a slow machine may add."""
SHORT = [model for model in MODELS if model.category is not Category.VIDEO]


async def register_all(at: Scene) -> None:
    """Submit steadily, and register everything."""
    rng = random.Random(4)
    for number in range(REGISTERED):
        name, model = ACCOUNTS[number % len(ACCOUNTS)].name, rng.choice(SHORT)
        with at.clock.still():
            id = at.api.world.submit(name, model, 1, at.clock.now_us()).id
            at.registered.add(id)
            await at.running.register(name, id)
        await at.clock.sleep(0.5)


async def test_a_lost_delivery_is_found_within_about_twice_the_usual_duration(tmp_path: Path) -> None:
    mishaps = Mishaps(5, {Kind.LOST: 0.03})
    async with scene(tmp_path, 15.0, mishaps) as at:
        await register_all(at)
        await at.all_ended()
        page = await at.running.scrape()
        lost = [one for one in at.api.world if Kind.LOST in at.api.delivered.of(one.id).kinds]
    assert len(lost) > 4
    for one in lost:
        shown, ended_us = at.api.shown.of(one.id).ended_us, one.ended_us
        assert shown is not None
        assert ended_us is not None
        found, duration = (shown - one.created_us) / MICROS, (ended_us - one.created_us) / MICROS
        assert found <= max(2 * one.model.median_s + 30, 2 * duration) + SLACK
    calls = sum(at.api.shown.of(id).answers for id in at.registered)
    assert calls <= 1.1 * REGISTERED
    assert page.sum("vivix_generations_total") == REGISTERED
