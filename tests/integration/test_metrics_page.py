"""The page of metrics as a whole: what docs/metrics.md promises is there, and nothing else."""

import itertools
import re
from collections import defaultdict
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.metrics.info_labels import MAX_TIERS
from exporter.metrics.instruments import MAX_CODES, MAX_ERRORS
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import exporter, until, write_config

DOCUMENT = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
ROW = re.compile(r"^\| `(vivix_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def promised() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of every metric in the document's table, by name."""
    return {
        name: (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels in ROW.findall(DOCUMENT)
    }


async def test_the_page_shows_what_the_readme_promises_and_nothing_else(tmp_path: Path) -> None:
    account = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate")
    clock = ScaledClock(30.0, SystemClock().now_us())
    world = World(3, [account], failure_ratio=0.5)
    faults = Faults()
    api = SimulatedApi(world, clock, faults)
    faults.strike_next(Fault.BROKEN_JSON)
    ids = [world.submit("studio", model, 1, clock.now_us()).id for model in MODELS for _ in range(4)]
    (tmp_path / "secret").write_text("whsec_of_the_tests")
    async with serve(create_app(api)) as address:
        path = write_config(
            tmp_path,
            [
                {
                    "name": "studio",
                    "base_url": address.url,
                    "api_key": account.key,
                    "generations": [*ids, "gone"],
                    "webhook_secret_file": "secret",
                }
            ],
        )
        async with exporter(path, clock) as running:
            await until(lambda: not any(running.app.followed().values()), "every end is seen")
            api.world.submit("studio", MODELS[0], 1, clock.now_us())
            text = (await running.http.get(f"{running.url}/metrics")).text
            openmetrics = await running.http.get(
                f"{running.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
            )
    shown: dict[str, tuple[str, frozenset[str]]] = {}
    helps: dict[str, str] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("vivix_"):
            labels = frozenset(name for sample in family.samples for name in sample.labels) - {"le"}
            name = family.name + ("_total" if family.type == "counter" else "")
            shown[name] = (family.type, labels)
            helps[name] = family.documentation
    seen_in_flight = {"vivix_generation_oldest_in_flight_seconds"}
    expected = promised()
    for name in seen_in_flight:
        assert shown[name] == ("gauge", frozenset())
        shown[name] = expected[name]
    assert shown == expected
    assert all(text.endswith(".") for text in helps.values())
    families = parse_openmetrics(openmetrics.text)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {name.removesuffix("_total") for name in expected} <= names


async def test_what_the_api_names_over_time_makes_a_bounded_number_of_series(tmp_path: Path) -> None:
    """Another tier at each call, 2,000 other models each hour, and codes and errors of all kinds."""
    calls = itertools.count()

    async def plan(_request: Request) -> Response:
        return JSONResponse({"tier": f"tier-{next(calls)}", "balance": 1})

    async def models(_request: Request) -> Response:
        hour = next(calls)
        named = [
            {"slug": f"m-{hour}-{n}", "category": f"category-{hour}-{n}", "creator": f"creator-{hour}-{n}"}
            for n in range(2_000)
        ]
        return JSONResponse({"models": named})

    async def generation(_request: Request) -> Response:
        number = next(calls)
        return JSONResponse({"error": f"CODE_{number}"}, status_code=400 + number % 150)

    vendor = Starlette(
        routes=[
            Route("/api/v1/credits", plan),
            Route("/api/v1/models", models),
            Route("/api/v1/generations/{id}", generation),
        ]
    )
    clock = ScaledClock(3600.0, SystemClock().now_us())
    account: dict[str, object] = {
        "name": "studio",
        "api_key": "k" * 41,
        "generations": [f"id-{n}" for n in range(20)],
    }
    ever: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    async with serve(vendor) as address:
        path = write_config(
            tmp_path,
            [{**account, "base_url": address.url}],
            metrics={"max_models": 5},
            polling={"request_timeout": "1h", "not_found_grace": "30d"},
        )
        async with exporter(path, clock) as running:
            page = await running.scrape()
            until_us = clock.now_us() + 6 * 3_600 * MICROS
            while clock.now_us() < until_us:
                page = await running.scrape()
                for name in ("vivix_model_info", "vivix_account_info", "vivix_api_requests_total"):
                    ever[name].update(page.of(name))
    assert len(ever["vivix_model_info"]) == 5 + 1
    assert ("studio", "other", "other", "other") in ever["vivix_model_info"]
    assert 1 < len(ever["vivix_account_info"]) <= MAX_TIERS + 1
    assert len({code for _, code, _ in ever["vivix_api_requests_total"]}) <= MAX_CODES + 1
    assert len(page.of("vivix_api_errors_total")) <= MAX_ERRORS + 1


async def test_each_metric_is_promised_once() -> None:
    counts: dict[str, int] = defaultdict(int)
    for name, _, _ in ROW.findall(DOCUMENT):
        counts[name] += 1
    assert set(counts.values()) == {1}
