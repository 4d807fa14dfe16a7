"""The exporter's own pages over a real socket."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.clock import SystemClock
from exporter.heartbeat import STALLED, Heartbeat
from exporter.metrics.rendering import Families
from exporter.web.endpoints import Endpoints
from exporter.web.server import bound_address, listen, serve

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
ODD = 'a "quoted" \\ label\nüber two lines'


class FakeClock(SystemClock):
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


def families() -> list[Metric]:
    made = CounterMetricFamily("vivix_things", "Things made.", labels=("account",))
    made.add_metric((ODD,), 3)
    left = GaugeMetricFamily("vivix_left", "What is left.", value=-1.5)
    took = HistogramMetricFamily("vivix_took_seconds", "How long.", labels=())
    took.add_metric((), [("1.0", 1), ("+Inf", 2)], 7.5)
    return [made, left, took]


@dataclass
class Site:
    """Endpoints that are served, and what they show."""

    clock: FakeClock = field(default_factory=FakeClock)
    ready: bool = True
    collected: int = 0
    broken: bool = False

    def __post_init__(self) -> None:
        self.heartbeat = Heartbeat(self.clock)
        self.url = ""
        self.pages = Endpoints(self.scrape, lambda: self.ready, self.heartbeat)

    def collect(self) -> list[Metric]:
        self.collected += 1
        if self.broken:
            raise RuntimeError("half a page")
        return families()

    async def scrape(self, accept: str, *, zipped: bool) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        body = encode(Families(self.collect()))
        return gzip.compress(body) if zipped else body, content_type


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    listener = listen("127.0.0.1:0")
    site.url = f"http://{bound_address(listener)}"
    serving = asyncio.create_task(serve(site.pages.app(), [listener]))
    yield site
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


@pytest.fixture
async def browser(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, headers={"Accept-Encoding": "identity"}) as browser:
        yield browser


def samples(read: list[Metric]) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
        for metric in read
        for sample in metric.samples
    }


async def test_metrics_are_withheld_until_the_state_is_loaded(site: Site, browser: httpx.AsyncClient) -> None:
    site.ready = False
    answer = await browser.get("/metrics")
    assert answer.status_code == 503
    assert "vivix" not in answer.text
    assert site.collected == 0


async def test_metrics_are_text_that_prometheus_reads(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    read = list(text_string_to_metric_families(answer.text))
    assert samples(read) == samples(families())
    assert {metric.name: metric.documentation for metric in read}["vivix_left"] == "What is left."


async def test_metrics_are_openmetrics_for_who_asks_for_it(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    read = list(openmetrics.text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]
    assert samples(read) == samples(families())
    assert {metric.name: metric.type for metric in read} == {
        "vivix_things": "counter",
        "vivix_left": "gauge",
        "vivix_took_seconds": "histogram",
    }


@pytest.mark.parametrize(
    "accepted", ["gzip", "deflate, GZIP;q=0.5", "*", "gzip;q=1.000", "br;q=0, gzip ; q=0.001", "gzip, *;q=0"]
)
async def test_metrics_are_compressed_for_who_accepts_it(browser: httpx.AsyncClient, accepted: str) -> None:
    plain = await browser.get("/metrics")
    async with browser.stream("GET", "/metrics", headers={"Accept-Encoding": accepted}) as answer:
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(body) == plain.content


@pytest.mark.parametrize(
    "accepted",
    [
        "",
        "identity",
        "br, deflate",
        "gzip;q=0",
        "gzip; q=0.000",
        "*;q=0",
        "gzip;q=0, *",
        "*, gzip;q=0",
        "xgzip",
    ],
)
async def test_metrics_are_not_compressed_for_who_does_not_accept_it(
    browser: httpx.AsyncClient, accepted: str
) -> None:
    answer = await browser.get("/metrics", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert answer.text.startswith("# HELP vivix_things")


async def test_what_cannot_be_collected_is_an_error_and_not_half_a_page(
    site: Site, browser: httpx.AsyncClient
) -> None:
    site.broken = True
    answer = await browser.get("/metrics")
    assert answer.status_code == 500
    assert "vivix" not in answer.text
    site.broken = False
    assert (await browser.get("/metrics")).status_code == 200


async def test_health_names_each_loop_that_stalls_and_only_as_long_as_it_does(
    site: Site, browser: httpx.AsyncClient
) -> None:
    for loop in ("studio", "atelier", "ended"):
        site.heartbeat.beat(loop)
    site.heartbeat.end("ended")
    site.clock.at += STALLED
    site.heartbeat.beat("atelier")
    assert (await browser.get("/-/healthy")).status_code == 200
    site.clock.at += 1
    answer = await browser.get("/-/healthy")
    assert (answer.status_code, answer.text) == (503, "Stalled: studio.\n")
    site.clock.at += STALLED
    assert (await browser.get("/-/healthy")).text == "Stalled: atelier, studio.\n"
    site.heartbeat.beat("atelier")
    site.heartbeat.beat("studio")
    assert (await browser.get("/-/healthy")).status_code == 200


async def test_readiness_is_that_of_the_state(site: Site, browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/-/ready")).status_code == 200
    site.ready = False
    assert (await browser.get("/-/ready")).status_code == 503
    assert (await browser.get("/-/healthy")).status_code == 200, "loading is not stalling"


async def test_pages_are_read_and_nothing_else(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/metrics")).status_code == 405
    head = await browser.head("/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert (await browser.get("/nowhere")).status_code == 404


async def test_cancelling_ends_serving_and_frees_the_address() -> None:
    site, listener = Site(), listen("127.0.0.1:0")
    address = bound_address(listener)
    serving = asyncio.create_task(serve(site.pages.app(), [listener]))
    async with httpx.AsyncClient(base_url=f"http://{address}") as browser:
        assert (await browser.get("/-/ready")).status_code == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(httpx.TransportError):
            await browser.get("/-/ready")
    with listen(address) as again:
        assert bound_address(again) == address


async def test_cancelling_right_at_the_start_ends_serving_too() -> None:
    site, listener = Site(), listen("127.0.0.1:0")
    address = bound_address(listener)
    serving = asyncio.create_task(serve(site.pages.app(), [listener]))
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with listen(address):
        pass
