"""Ends that are pushed: believed by their signature, counted once, and looked for where they do not come."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
from structlog.testing import capture_logs

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliveries import Delays, Kind, Mishaps
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from exporter.web.webhooks import MAX_BODY
from support.pushing import ACCOUNTS, GENERATIONS, SECRET, configure, scene
from support.running import Running, exporter, start_process
from support.scrape import Scrape


@pytest.mark.long(70)
async def test_where_webhooks_arrive_hardly_any_call_is_needed(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    async with scene(tmp_path, 25.0, Mishaps.none(), state_at) as at:
        await at.submit_steadily()
        await at.all_ended()
        page, known = await at.running.scrape(), await at.known()
    at.assert_counted(page, known)
    assert {id for id, one in known.items() if one["source"] == "api"} == at.registered
    assert not any(at.api.shown.of(id).answers for id in known if id not in at.registered)
    polls = sum(at.api.shown.of(id).answers for id in at.registered)
    assert len(at.registered) <= polls <= 1.1 * len(at.registered)
    pushed = [id for id in at.registered if known[id]["observed_via"] == "webhook"]
    assert page.sum("vivix_exporter_detection_lag_seconds_count", via="webhook") == len(pushed)
    assert len(pushed) >= 0.99 * len(at.registered)
    assert by_result(page)["accepted"] >= 0.99 * GENERATIONS


@pytest.mark.long(100)
async def test_lost_doubled_and_very_late_deliveries_change_no_sum(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    rates = {
        Kind.LOST: 0.05,
        Kind.DOUBLED: 0.05,
        Kind.LATE: 0.05,
        Kind.FORGED: 0.05,
        Kind.UNKNOWN_EVENT: 0.02,
    }
    registered: set[str] = set()
    mishaps = Mishaps(5, rates, Delays(late_s=(3600, 3600)), befalls=registered.__contains__)
    async with scene(tmp_path, 100.0, mishaps, state_at) as at:
        at.registered = registered
        await at.submit_steadily()
        await at.all_ended()
        page, known = await at.running.scrape(), await at.known()
    at.assert_counted(page, known)
    planned = Counter(kind for kinds in map(at.api.delivered.of, known) for kind in kinds.kinds)
    assert min(planned[kind] for kind in (Kind.LOST, Kind.DOUBLED, Kind.LATE)) > 20
    assert page.sum("vivix_exporter_webhook_missed_total") >= planned[Kind.LOST]
    for (_account, kind, status), attempts in at.api.delivered.statuses.items():
        assert status == (401 if kind is Kind.FORGED else 204), (kind, attempts)
    assert by_result(page).keys() == {"accepted", "repeat", "bad_signature", "unknown_event"}


def by_result(page: Scrape) -> Counter[str]:
    sums: Counter[str] = Counter()
    for (_account, result), value in page.of("vivix_exporter_webhook_deliveries_total").items():
        sums[result] += int(value)
    return sums


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Vivix-Signature": signature(secret, body), "X-Vivix-Event": "generation.completed"}


def delivery(**fields: object) -> bytes:
    body = {
        "generation_id": str(uuid.uuid4()),
        "status": "completed",
        "model": "runware:101@1",
        "output_url": "https://pub.r2.dev/1.jpg",
        "output_urls": ["https://pub.r2.dev/1.jpg"],
        "credits_charged": 12,
        "duration_ms": 4321,
        "completed_at": "2026-05-12T18:23:45.123Z",
    }
    return json.dumps({**body, **fields}).encode()


@asynccontextmanager
async def quiet(folder: Path, **account: object) -> AsyncIterator[Running]:
    """An exporter whose API says nothing. It remembers ids for ever, however old the documents' times are."""
    api = SimulatedApi(World(1, ACCOUNTS), SystemClock())
    async with serve(create_app(api)) as address:
        path = configure(folder, address.url, None, **account)
        path.write_text(path.read_text() + "state: {retention: 36500d}\n")
        async with exporter(path) as running:
            yield running


async def post(running: Running, body: bytes, headers: dict[str, str], account: str = "studio") -> int:
    answer = await running.http.post(f"{running.url}/webhooks/{account}", content=body, headers=headers)
    return answer.status_code


async def test_a_failure_that_was_charged_counts_no_credits_and_the_log_says_so_once(tmp_path: Path) -> None:
    async with quiet(tmp_path) as running:
        with capture_logs() as log:
            for id in ("one", "two"):
                body = delivery(generation_id=id, status="failed", error_code="PROVIDER_ERROR")
                assert await post(running, body, signed(body)) == 204
        known = (await running.http.get(f"{running.url}/api/v1/generations/one")).json()
        page = await running.scrape()
    assert known["credits_used"] == 0
    assert page.sum("vivix_credits_used_total") == 0
    assert page.sum("vivix_generation_failures_total") == 2
    [said] = [line for line in log if "refunded" in line["event"]]
    assert (said["account"], said["id"], said["charged"]) == ("studio", "one", 12)


async def test_an_id_that_nobody_registered_is_adopted_with_its_time_of_creation(tmp_path: Path) -> None:
    async with quiet(tmp_path) as running:
        body = delivery(generation_id="abc123")
        assert await post(running, body, signed(body)) == 204
        known = (await running.http.get(f"{running.url}/api/v1/generations/abc123")).json()
        page = await running.scrape()
    assert known["created_at"] == "2026-05-12T18:23:40.802Z"
    assert (known["source"], known["polls"]) == ("webhook", 0)
    assert page.of("vivix_credits_used_total") == {("studio", "runware:101@1"): 12}
    assert page.of("vivix_exporter_detection_lag_seconds_count") == {}


async def test_a_failed_one_counts_with_its_reason(tmp_path: Path) -> None:
    async with quiet(tmp_path) as running:
        body = delivery(
            status="failed", output_url=None, output_urls=None, credits_charged=0, error_code="PROVIDER_ERROR"
        )
        assert await post(running, body, {**signed(body), "X-Vivix-Event": "generation.failed"}) == 204
        page = await running.scrape()
    assert page.of("vivix_generation_failures_total") == {("studio", "runware:101@1", "PROVIDER_ERROR"): 1}
    assert page.sum("vivix_generation_outputs_total") == 0


async def test_either_secret_holds_while_they_are_rotated(tmp_path: Path) -> None:
    async with quiet(tmp_path) as running:
        (tmp_path / "webhook.secret").write_text(f"whsec_new\n{SECRET}\n")
        new, old = delivery(), delivery()

        async def with_new() -> bool:
            return await post(running, new, signed(new, "whsec_new")) == 204

        while not await with_new():  # it is read again every two seconds
            await asyncio.sleep(0.1)
        assert await post(running, old, signed(old)) == 204
        page = await running.scrape()
    assert page.sum("vivix_generations_total") == 2


async def test_an_account_without_webhooks_or_that_does_not_exist_receives_none(tmp_path: Path) -> None:
    async with quiet(tmp_path, webhook_secret_file=None) as running:
        body = delivery()
        assert await post(running, body, signed(body)) == 404
        assert await post(running, body, signed(body), account="nobody") == 404


@pytest.mark.parametrize(
    ("body", "headers", "status", "result"),
    [
        (delivery(), {}, 401, "bad_signature"),
        (delivery(), {"X-Vivix-Signature": "sha256="}, 401, "bad_signature"),
        (delivery(), {"X-Vivix-Signature": "ünïcode"}, 401, "bad_signature"),
        (delivery(), signed(b"another body"), 401, "bad_signature"),
        (b"{}", signed(b"{}"), 400, "bad_payload"),
        (b"[1]", signed(b"[1]"), 400, "bad_payload"),
        (b"\xff", signed(b"\xff"), 400, "bad_payload"),
        (b"[" * 60_000, signed(b"[" * 60_000), 400, "bad_payload"),
        (b" " * (MAX_BODY + 1), signed(b" " * (MAX_BODY + 1)), 413, "too_large"),
        (b"{}", {**signed(b"{}"), "X-Vivix-Event": "credits.low"}, 204, "unknown_event"),
    ],
)
async def test_what_is_no_end_is_counted_as_what_it_is(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int, result: str
) -> None:
    async with quiet(tmp_path) as running:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await running.http.post(f"{running.url}/webhooks/studio", content=body, headers=raw)
        page = await running.scrape()
    assert answer.status_code == status
    assert SECRET not in answer.text
    assert page.of("vivix_exporter_webhook_deliveries_total") == {("studio", result): 1}
    assert page.sum("vivix_generations_total") == 0


async def test_a_very_old_end_of_an_unknown_id_may_have_been_counted_before(tmp_path: Path) -> None:
    async with quiet(tmp_path) as running:
        body = delivery(completed_at="1926-05-12T18:23:45.123Z")
        early = delivery(completed_at="2001-05-12T18:23:45.123Z")
        assert await post(running, body, signed(body)) == 204
        running.app._config.state.__dict__["retention"] = 1
        assert await post(running, early, signed(early)) == 204
        page = await running.scrape()
    assert page.of("vivix_exporter_webhook_deliveries_total")[("studio", "stale")] == 1


FORGERIES = 10_000


async def test_ten_thousand_bad_deliveries_bring_in_nothing_and_fill_no_memory(tmp_path: Path) -> None:
    rng = random.Random(9)
    genuine = [delivery(generation_id=f"real-{n}", completed_at=None) for n in range(5)]

    def one() -> tuple[bytes, dict[str, str]]:
        """A replay, or something that must not be accepted."""
        real = rng.choice(genuine)
        match rng.randrange(7):
            case 0:
                return real, signed(real)
            case 1:
                return real[: rng.randrange(len(real))], signed(real)
            case 2:
                return delivery(), signed(real)
            case 3:
                return delivery(), signed(delivery(), "whsec_guessed")
            case 4:
                return b"x" * rng.randrange(MAX_BODY + 1, 4 * MAX_BODY), signed(real)
            case 5:
                return rng.randbytes(rng.randrange(200)), {"X-Vivix-Signature": f"sha256={rng.random()}"}
            case _:
                spoilt = bytearray(real)
                spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
                return bytes(spoilt), signed(real)

    api = SimulatedApi(World(1, ACCOUNTS), SystemClock())
    async with serve(create_app(api)) as address, httpx.AsyncClient(timeout=60) as http:
        path = configure(tmp_path, address.url)
        running = await start_process(path, http, 1.0, SystemClock().now_us())
        statuses: Counter[int] = Counter()
        try:
            await running.ready()
            url, at_once = f"{running.url}/webhooks/studio", asyncio.Semaphore(16)
            async with aiohttp.ClientSession() as vendor:

                async def send(body: bytes, headers: dict[str, str]) -> None:
                    async with at_once:
                        try:
                            async with vendor.post(url, data=body, headers=headers) as answer:
                                statuses[answer.status] += 1
                        except aiohttp.ClientOSError:
                            # Refused by its announced length before it was sent.
                            statuses[413] += 1

                for body in genuine:
                    await send(body, signed(body))
                memory: list[float] = []
                for _ in range(5):
                    await asyncio.gather(*(send(*one()) for _ in range(FORGERIES // 5)))
                    memory.append((await running.scrape()).sum("process_resident_memory_bytes"))
            page = await running.scrape()
        finally:
            await running.kill()
    assert statuses.keys() == {204, 401, 413}
    assert page.sum("vivix_generations_total") == len(genuine)
    assert page.sum("vivix_generations_discovered_total") == len(genuine)
    results = {result for _, result in page.of("vivix_exporter_webhook_deliveries_total")}
    assert results == {"accepted", "repeat", "bad_signature", "too_large"}
    assert memory[-1] - memory[1] < 4 << 20
