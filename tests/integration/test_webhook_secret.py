"""A webhook secret that is not the vendor's: said once, with what to check, and kept apart from silence."""

import uuid
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from exporter.simulator.deliveries import Kind, Mishaps
from exporter.simulator.models import BY_SLUG
from exporter.simulator.webhooks import Endpoint
from exporter.web.webhooks import MAX_BODY
from support.pushing import SECRET, Scene, scene
from support.running import until
from support.scrape import Scrape

IMAGE = BY_SLUG["grok-imagine-image-quality"]
SPEED = 25.0

Log = MutableMapping[str, Any]


def about_webhooks(logs: list[Log]) -> list[Log]:
    return [line for line in logs if "webhook" in line["event"]]


async def submit(at: Scene, count: int) -> None:
    """Submit for one account, and register everything; returns once all have been seen to end."""
    for _ in range(count):
        id = at.api.world.submit("studio", IMAGE, 1, at.clock.now_us()).id
        await at.running.register("studio", id)
    await at.all_ended()


def results(page: Scrape) -> dict[tuple[str, ...], float]:
    return page.of("vivix_exporter_webhook_deliveries_total")


async def test_a_wrong_secret_is_logged_when_it_begins_and_when_it_is_right(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with scene(tmp_path, SPEED, Mishaps.none()) as at:
            url = f"{at.running.url}/webhooks/studio"
            at.api.endpoints.set("studio", [Endpoint(url, "whsec_of_another_endpoint")])
            await submit(at, 8)
            wrong = await at.running.scrape()
            at.api.endpoints.set("studio", [Endpoint(url, SECRET)])
            await submit(at, 8)
            page = await at.running.scrape()
    refused = results(wrong)["studio", "bad_signature"]
    begun, unbelieved, ended = about_webhooks(logs)
    assert begun["event"] == "webhook deliveries are refused: wrong signature"
    assert (begun["account"], begun["log_level"]) == ("studio", "warning")
    assert "secret" in begun["check"]
    assert "dashboard" in begun["check"]
    assert unbelieved["event"].startswith("webhook deliveries arrive with a wrong signature")
    assert 0 < unbelieved["refused"] <= refused
    assert unbelieved["check"] == begun["check"]
    assert ended["event"] == "a genuine webhook delivery arrived again"
    assert ended["refused"] == refused
    assert "whsec" not in str(logs)
    assert page.sum("vivix_generations_total") == 16


async def test_deliveries_that_never_come_are_not_mistaken_for_a_wrong_secret(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with scene(tmp_path, SPEED, Mishaps(1, {Kind.LOST: 1.0})) as at:
            await submit(at, 8)
    [line] = about_webhooks(logs)
    assert line["event"].startswith("no webhook deliveries arrive")
    assert "URL" in line["check"]
    assert "refused" not in line


async def test_a_forger_fills_no_log_and_makes_nobody_poll(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with scene(tmp_path, SPEED, Mishaps.none()) as at:
            url = f"{at.running.url}/webhooks/studio"

            async def forge() -> None:
                for body in (
                    b"{}",
                    b"x" * 100,
                    b" " * MAX_BODY,
                    f'{{"generation_id": "{uuid.uuid4()}"}}'.encode(),
                ):
                    headers = {"X-Vivix-Signature": "sha256=" + "0" * 64}
                    answer = await at.running.http.post(url, content=body, headers=headers)
                    assert answer.status_code == 401

            for _ in range(5):
                await forge()
                await submit(at, 2)
                await forge()
            await until(lambda: not at.deliverer.outstanding, "everything is delivered")
            page = await at.running.scrape()
            polls = sum(at.api.shown.of(one.id).answers for one in at.api.world)
    assert [line["event"] for line in about_webhooks(logs)] == [
        "webhook deliveries are refused: wrong signature",
        "a genuine webhook delivery arrived again",
    ]
    assert results(page)["studio", "bad_signature"] == 40
    assert page.of("vivix_exporter_webhooks_relied_on").get(("studio",), 1) == 1
    assert polls == 10
