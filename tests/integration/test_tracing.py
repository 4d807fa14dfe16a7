"""Traces, from the simulated API through the exporter to a collector that decodes them."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exporter.clock import MICROS, ScaledClock
from exporter.config import Secret, load_config
from exporter.domain.ledger import Ledger
from exporter.simulator.answers import OUTPUT_HOST, output_urls, precise_timestamp
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.store import Transaction, open_database
from support.collector import (
    Collector,
    Received,
    attributes_of,
    collector,
    garbage,
    grpc_collector,
    partial,
    slow,
    status,
)
from support.prometheus import free_port, prometheus
from support.running import PATIENCE, Running, exporter, start_process, until, write_config
from support.traces import QUICK, SPEED, Scene, hashed, seen

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def all_ended(running: Running) -> bool:
    return not any(running.app.followed().values())


async def pending(running: Running) -> float:
    return (await running.scrape()).sum("vivix_exporter_spans_pending")


async def until_delivered(running: Running) -> None:
    async with asyncio.timeout(PATIENCE):
        while not all_ended(running) or await pending(running):
            await asyncio.sleep(0.02)


async def test_a_thousand_generations_become_exactly_the_expected_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, accounts=8)
    scene.submit(1_000)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        monkeypatch.setenv(ENDPOINT, otlp.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        async with exporter(scene.configure(address.url), scene.clock) as running:
            await until_delivered(running)
            page = await running.scrape()
    expected = scene.expected()
    assert otlp.spans.keys() == expected.keys()
    for id, span in otlp.spans.items():
        assert seen(span) == expected[id]
        attributes = attributes_of(span)
        if span.kind == Span.SPAN_KIND_CLIENT:
            assert (attributes["server.address"], attributes["server.port"]) == (address.host, address.port)
        else:
            assert 0 <= attributes["vivix.observation.uncertainty_ms"] < 3_600_000  # type: ignore[operator]
    assert page.sum("vivix_exporter_spans_exported_total") == len(expected)
    assert page.sum("vivix_exporter_span_export_failures_total") == 0
    for request in otlp.requests:
        assert request.headers["content-encoding"] == "gzip"
        assert request.resource["service.name"] == "vivix-exporter"
        assert request.resource["deployment.environment"] == "test"
        assert OUTPUT_HOST.encode() not in request.body
        assert b"prompt" not in request.body.lower()


async def test_with_the_collector_down_and_the_exporter_killed_every_span_arrives(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    scene = Scene(tmp_path, accounts=3, state_at=state_at)
    scene.submit(150, QUICK)
    port = free_port()
    environment = {ENDPOINT: f"http://127.0.0.1:{port}"}
    async with serve(create_app(scene.api)) as address, httpx.AsyncClient(timeout=60) as http:
        path = scene.configure(address.url)
        for ended in (30, 90):
            running = await start_process(path, http, SPEED, scene.clock.origin_us, **environment)
            await running.ready()
            while (await running.scrape()).sum("vivix_generations_total") < ended:
                await asyncio.sleep(0.02)
            await running.kill()
        running = await start_process(path, http, SPEED, scene.clock.origin_us, **environment)
        try:
            await running.ready()
            while (page := await running.scrape()).sum("vivix_generations_total") < 150:
                await asyncio.sleep(0.02)
            while not (page := await running.scrape()).sum("vivix_exporter_span_export_failures_total"):
                await asyncio.sleep(0.02)
            assert page.sum("vivix_exporter_spans_pending") >= 150
            assert page.sum("vivix_exporter_spans_exported_total") == 0
            async with collector(port) as otlp:
                while (page := await running.scrape()).sum("vivix_exporter_spans_pending"):
                    await asyncio.sleep(0.02)
        finally:
            await running.kill()
    ids = [id for listed in scene.listed.values() for id in listed]
    roots = {hashed(id, "generation") for id in ids}
    children = {hashed(id, part) for id in ids for part in ("queued", "processing")}
    assert roots <= otlp.spans.keys() <= roots | children
    # A batch may have been under way before the last account was taken over, which is then behind the others.
    for together in scene.listed.values() if isinstance(state_at, Secret) else [ids]:
        of_these = {hashed(id, "generation") for id in together}
        ends = [otlp.spans[id].end_time_unix_nano for id in otlp.order if id in of_these]
        assert ends == sorted(ends)


TROUBLES: dict[str, Callable[[Collector], object]] = {
    "slow": lambda _: slow(0.5),
    "429": lambda _: status(429, Retry_After="20"),
    "503": lambda _: status(503, Retry_After="20"),
    "500": lambda _: status(500),
    "redirect": lambda _: status(302, Location="https://login.example/"),
    "garbage": lambda _: garbage(),
    "all rejected": lambda otlp: partial(otlp.take, lambda span: True),
    "some rejected": lambda otlp: partial(otlp.take, lambda span: span.span_id[0] < 64),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_collector_in_trouble_disturbs_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    scene = Scene(tmp_path, accounts=2)
    scene.submit(40, QUICK)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        otlp.behaviour = TROUBLES[trouble](otlp)  # type: ignore[assignment]
        monkeypatch.setenv(ENDPOINT, otlp.url)
        async with exporter(scene.configure(address.url), scene.clock) as running:
            await until(lambda: all_ended(running), "every end is seen, whatever the collector does")
            await until(lambda: len(otlp.requests) > 1, "it is tried again")
            page = await running.scrape()
            scene.assert_metrics_are_true(page)
            assert (await running.http.get(f"{running.url}/-/healthy")).status_code == 200
            if trouble != "slow":
                assert page.sum("vivix_exporter_spans_pending") > 0
                assert page.sum("vivix_exporter_span_export_failures_total") > 0
            otlp.behaviour = None
            await until_delivered(running)
    expected = scene.expected()
    assert otlp.spans.keys() == expected.keys()
    assert {id: seen(span) for id, span in otlp.spans.items()} == expected


async def test_spans_that_are_refused_hold_up_no_others_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, accounts=2)
    scene.submit(40, QUICK)
    poison = {scene.listed["a0"][3].replace("-", ""), scene.listed["a1"][7].replace("-", "")}
    refuse = status(400)

    async def picky(received: Received) -> object:
        poisoned = any(span.trace_id.hex() in poison for span in received.spans)
        return await refuse(received) if poisoned else None

    async with serve(create_app(scene.api)) as address, collector() as otlp:
        otlp.behaviour = picky  # type: ignore[assignment]
        monkeypatch.setenv(ENDPOINT, otlp.url)
        with structlog.testing.capture_logs() as logs:
            async with exporter(scene.configure(address.url), scene.clock) as running:
                everyone = {id.replace("-", "") for listed in scene.listed.values() for id in listed}
                await until(lambda: otlp.traces() == everyone - poison, "all others arrive")
                assert await pending(running) > 0
                otlp.behaviour = None
                await until_delivered(running)
    assert otlp.traces() == everyone
    [begin, *end] = [line for line in logs if "accepted" in line["event"]]
    assert begin["trace_id"] in poison
    assert [line["generations"] for line in end] in ([], [2])


async def test_stopping_lets_a_batch_under_way_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    scene.submit(5, QUICK)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        otlp.behaviour = slow(1.0)
        monkeypatch.setenv(ENDPOINT, otlp.url)
        path = scene.configure(address.url)
        async with exporter(path, scene.clock):
            await until(lambda: len(otlp.requests) == 1, "a batch is under way")
            assert otlp.spans == {}
        database = open_database(load_config(path).state_at, owner=False)
        with database.begin() as connection:
            waiting = Transaction(connection, Ledger((), 1, 1), traced=True).due_spans(100)
        database.close()
    assert otlp.spans.keys() >= {span.span_id.hex() for span in otlp.requests[0].spans}
    assert otlp.traces().isdisjoint(one.generation.id.replace("-", "") for one in waiting)


async def test_a_registered_generation_joins_the_trace_of_its_caller_where_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    (tmp_path / "token").write_text("let-me-register")
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        monkeypatch.setenv(ENDPOINT, otlp.url)
        path = scene.configure(address.url, web={"registration_token_file": "token"})
        now_us = scene.clock.now_us()
        ids = [scene.api.world.submit("a0", MODELS[0], 1, now_us).id for _ in range(3)]
        contexts = [{"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-{flags}"} for flags in ("01", "00")]
        body = [{"id": id, **context} for id, context in zip(ids, [*contexts, {}], strict=True)]
        async with exporter(path, scene.clock) as running:
            registered = await running.http.post(
                f"{running.url}/api/v1/generations",
                json={"generations": body},
                headers={"Authorization": "Bearer let-me-register"},
            )
            assert registered.status_code == 202
            await until_delivered(running)
            text = (await running.http.get(f"{running.url}/metrics", headers=OPENMETRICS)).text
            known = [(await running.http.get(f"{running.url}/api/v1/generations/{id}")).json() for id in ids]
    joined, alone = (otlp.spans[hashed(ids[n], "generation")] for n in (0, 2))
    assert (joined.trace_id.hex(), joined.parent_span_id.hex()) == (CALLER_TRACE, CALLER_SPAN)
    assert (alone.trace_id.hex(), alone.parent_span_id) == (ids[2].replace("-", ""), b"")
    assert hashed(ids[1], "generation") not in otlp.spans
    assert [one["trace_id"] for one in known] == [CALLER_TRACE, CALLER_TRACE, ids[2].replace("-", "")]
    assert f'trace_id="{CALLER_TRACE}"' in text or f'trace_id="{ids[2].replace("-", "")}"' in text


async def test_a_traceparent_that_comes_after_the_end_is_taken_up_while_the_spans_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    (tmp_path / "token").write_text("let-me-register")
    (tmp_path / "secret").write_text("whsec")
    port = free_port()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
    context = f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"
    async with serve(create_app(scene.api)) as address:
        account: dict[str, object] = {
            "name": "a0",
            "base_url": address.url,
            "api_key": "k" * 41,
            "webhook_secret_file": "secret",
        }
        path = write_config(tmp_path, [account], web={"registration_token_file": "token"})
        async with exporter(path, scene.clock) as running:

            async def deliver(id: str) -> None:
                end = {"generation_id": id, "status": "completed", "duration_ms": 4321}
                body = json.dumps({**end, "completed_at": precise_timestamp(scene.clock.now_us())}).encode()
                headers = {"X-Vivix-Signature": signature("whsec", body)}
                answer = await running.http.post(f"{running.url}/webhooks/a0", content=body, headers=headers)
                assert answer.status_code == 204

            async def register(id: str) -> str:
                answer = await running.http.post(
                    f"{running.url}/api/v1/generations",
                    json={"generations": [{"id": id, "traceparent": context}]},
                    headers={"Authorization": "Bearer let-me-register"},
                )
                assert answer.json() == {"new": 0, "known": 1}
                known = await running.http.get(f"{running.url}/api/v1/generations/{id}")
                return str(known.json()["trace_id"])

            await deliver("waiting")
            waiting = await register("waiting")
            async with collector(port) as otlp:
                await until_delivered(running)
                await deliver("exported")
                await until_delivered(running)
                exported = await register("exported")
                await until_delivered(running)
    assert waiting == CALLER_TRACE == otlp.spans[hashed("waiting", "generation")].trace_id.hex()
    assert exported == otlp.spans[hashed("exported", "generation")].trace_id.hex() != CALLER_TRACE


async def test_spans_arrive_over_grpc_too_however_late_the_collector_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    scene.submit(12, QUICK)
    port = free_port()
    async with serve(create_app(scene.api)) as address:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        async with exporter(scene.configure(address.url), scene.clock) as running:
            async with asyncio.timeout(PATIENCE):
                while not (await running.scrape()).sum("vivix_exporter_span_export_failures_total"):
                    await asyncio.sleep(0.02)
            async with grpc_collector(port) as otlp:
                await until_delivered(running)
    assert {id: seen(span) for id, span in otlp.spans.items()} == scene.expected()


async def test_output_urls_are_told_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, failure_ratio=0.0)
    scene.submit(5, QUICK)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        monkeypatch.setenv(ENDPOINT, otlp.url)
        path = scene.configure(address.url, tracing={"capture_output_urls": True})
        async with exporter(path, scene.clock) as running:
            await until_delivered(running)
    told = [attributes_of(span).get("vivix.output.urls") for span in otlp.spans.values() if span.kind == 3]
    true = [output_urls(one) for one in scene.api.world]
    assert sorted(told, key=str) == sorted(true, key=str)
    with closing(sqlite3.connect(str(load_config(path).state_at))) as connection:
        assert OUTPUT_HOST not in "\n".join(connection.iterdump())


async def test_without_tracing_nothing_is_sent_and_nothing_piles_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    scene.submit(10, QUICK)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        monkeypatch.setenv(ENDPOINT, otlp.url)
        path = scene.configure(address.url, tracing={"exporter": "none"})
        async with exporter(path, scene.clock) as running:
            await until(lambda: all_ended(running), "every end is seen")
            assert await pending(running) == 0
            text = (await running.http.get(f"{running.url}/metrics", headers=OPENMETRICS)).text
        database = open_database(load_config(path).state_at, owner=False)
        with database.begin() as connection:
            assert Transaction(connection, Ledger((), 1, 1), traced=False).count_due_spans().total() == 0
        database.close()
    assert otlp.requests == []
    assert "trace_id" not in text


async def test_a_real_prometheus_has_exemplars_of_traces_that_the_collector_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, failure_ratio=0.5)
    scene.submit(30, QUICK)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        monkeypatch.setenv(ENDPOINT, otlp.url)
        async with (
            exporter(scene.configure(address.url), scene.clock) as running,
            httpx.AsyncClient() as http,
            prometheus(tmp_path, running.url.removeprefix("http://")) as url,
        ):
            await until_delivered(running)
            for name, values in (
                ("vivix_generation_duration_seconds_bucket", None),
                ("vivix_generation_failures_total", {"1"}),
            ):
                found = await exemplars(http, url, name, scene.clock)
                assert {trace for trace, _ in found} <= otlp.traces()
                assert values is None or {value for _, value in found} == values


async def exemplars(
    http: httpx.AsyncClient, url: str, name: str, clock: ScaledClock
) -> list[tuple[str, str]]:
    """Trace id and value of those that Prometheus has of a metric, once it has any, which takes seconds."""
    async with asyncio.timeout(60):
        while True:
            span = {"start": clock.origin_us / MICROS - 3600, "end": clock.now_us() / MICROS + 3600}
            answer = await http.get(f"{url}/api/v1/query_exemplars", params={"query": name, **span})
            answer.raise_for_status()
            found = [
                (one["labels"]["trace_id"], one["value"])
                for series in answer.json()["data"]
                for one in series["exemplars"]
            ]
            if found:
                return found
            await asyncio.sleep(0.2)
