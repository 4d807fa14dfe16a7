"""Spans that a collector refuses, in real time: the others do not wait for them."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
import structlog

from exporter.clock import MICROS, SystemClock
from exporter.config import Secret, load_config
from exporter.domain.ledger import Ledger
from exporter.domain.traceid import trace_id
from exporter.domain.values import (
    AccountName,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.store import Transaction, open_database
from support.collector import Behaviour, Received, collector, status
from support.running import exporter, until
from support.scrape import Scrape
from support.traces import Scene

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SPANS = 3
"""Of each generation."""


def ended_before(path: Path, ids: Sequence[str]) -> None:
    """Leave the state of an exporter that saw these end, a second after each other, and exported nothing."""
    config = load_config(path)
    database = open_database(config.state_at, owner=True)
    account, now_us = AccountName(config.accounts[0].name), SystemClock().now_us()
    with database.begin() as connection:
        ledger = Ledger(config.metrics.duration_buckets, 100, 50)
        transaction = Transaction(connection, ledger, traced=True)
        new = [NewGeneration(GenerationId(id)) for id in ids]
        transaction.discover(account, Source.API, new, now_us, listed=False)
        for place, id in enumerate(ids):
            created_us = now_us + (place - len(ids) - 60) * MICROS
            for seen in (Status.PROCESSING, Status.COMPLETED):
                observation = Observation(
                    at_us=created_us + 20 * MICROS,
                    via=Via.POLL,
                    status=seen,
                    status_text=seen.value,
                    model="m",
                    created_us=created_us,
                    duration_us=10 * MICROS if seen is Status.COMPLETED else None,
                )
                transaction.observe(account, GenerationId(id), observation, None)
        transaction.flush()
    database.close()


def refusing(poison: Collection[str]) -> Behaviour:
    """Answers 400 to whatever holds spans of these generations."""
    refuse, traces = status(400), {trace_id(GenerationId(id)) for id in poison}

    async def answer(received: Received) -> object:
        poisoned = any(span.trace_id.hex() in traces for span in received.spans)
        return await refuse(received) if poisoned else None

    return answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("ids", "poison"),
    [
        pytest.param([f"g{n:03}" for n in range(300)], [f"g{n:03}" for n in range(0, 300, 2)], id="half"),
        pytest.param([f"g{n:03}" for n in range(60)], [f"g{n:03}" for n in range(20)], id="20 ahead"),
    ],
)
async def test_refused_spans_are_set_aside_and_the_others_do_not_wait(
    tmp_path: Path,
    state_at: Path | Secret,
    monkeypatch: pytest.MonkeyPatch,
    ids: Sequence[str],
    poison: Sequence[str],
) -> None:
    good = {trace_id(GenerationId(id)) for id in ids} - {trace_id(GenerationId(id)) for id in poison}
    scene = Scene(tmp_path, state_at=state_at)
    async with serve(create_app(scene.api)) as address, collector() as otlp:
        otlp.behaviour = refusing(poison)
        monkeypatch.setenv(ENDPOINT, otlp.url)
        path = scene.configure(address.url)
        ended_before(path, ids)
        with structlog.testing.capture_logs() as logs:
            async with exporter(path) as running:
                await until(lambda: otlp.traces() == good, "all others arrive")
                await until(lambda: bool(logged(logs)), "the refusal is logged")
                while counted(await running.scrape()) != (
                    SPANS * len(poison),
                    SPANS * len(good),
                    sum(any(one.trace_id.hex() not in good for one in each.spans) for each in otlp.requests),
                ):
                    await asyncio.sleep(0.02)
    [line] = logged(logs)
    assert line["error"] == "HTTP 400"
    assert line["trace_id"] in {trace_id(GenerationId(id)) for id in poison}


def counted(page: Scrape) -> tuple[float, ...]:
    """Spans that wait, spans exported, requests that failed."""
    names = ("spans_pending", "spans_exported_total", "span_export_failures_total")
    return tuple(page.sum(f"vivix_exporter_{name}") for name in names)


def logged(logs: Sequence[object]) -> list[dict[str, object]]:
    """What the log says of spans."""
    return [line for line in logs if isinstance(line, dict) and "spans" in str(line["event"])]
