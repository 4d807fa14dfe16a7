"""The page of metrics as a whole: what the README promises is there, and nothing else."""

import re
from collections import defaultdict
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.clock import ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.running import exporter, until, write_config

README = (Path(__file__).parents[2] / "README.md").read_text()
ROW = re.compile(r"^\| `(vivix_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def promised() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of every metric in the README's table, by name."""
    return {
        name: (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels in ROW.findall(README)
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


async def test_each_metric_is_promised_once() -> None:
    counts: dict[str, int] = defaultdict(int)
    for name, _, _ in ROW.findall(README):
        counts[name] += 1
    assert set(counts.values()) == {1}
