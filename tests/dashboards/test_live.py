"""Five minutes into the demo, every panel of every dashboard has something to show, and can be drawn."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from mixin.alerts import ALERTS
from mixin.rules import hurried, rule_file
from support.boards import annotations, boards, panels
from support.demo import demo, draw
from support.grafana import expanded
from support.prometheus import free_port, has_data, prometheus, query, tool
from support.promql import selectors

SPEED = 20
FACTOR = 300
"""By which the windows of rules and panels are divided: they are to be full after so short a time."""
DURATIONS = {"$__rate_interval": "10s", "$__range": "30s", "$__interval": "1s"}
"""Five minutes of the demo pass in 15 s here, so the windows that follow the resolution are short as well."""
ENOUGH = 100
"""Generations that have ended five minutes into the demo, its backlog left out: 36 a minute are submitted."""
BACKLOG = 180


@pytest.mark.long(46)
async def test_no_panel_is_without_data_and_every_one_can_be_drawn(tmp_path: Path) -> None:
    port = free_port()
    rules = tmp_path / "rules.yaml"
    rules.write_text(rule_file(factor=FACTOR))
    async with (
        demo(port, SPEED),
        prometheus(tmp_path, f"127.0.0.1:{port}", interval="500ms", rules=[rules]) as server,
        httpx.AsyncClient(timeout=60) as http,
    ):
        ended = "sum(vivix_generations_total)"
        async with asyncio.timeout(120):
            while (await query(http, server, ended)).get((), 0) < BACKLOG + ENOUGH:
                await asyncio.sleep(0.25)
        empty = [
            f"{panel.id}: {expr}"
            for panel in panels()
            for expr in panel.queries
            if not panel.may_be_empty and not await has_data(http, server, asked(expr))
        ]
        assert not empty, "\n".join(empty)
        for _, expr in annotations():
            await query(http, server, expanded(expr, DURATIONS))
        await assert_variables_have_values(http, server)
        await assert_alerts_select_something(http, server)
        assert await draw(server, tmp_path, 30) == ""
    for uid in boards():
        assert (tmp_path / f"{uid}.png").read_bytes().startswith(b"\x89PNG")


def asked(expr: str) -> str:
    """A query of a panel in this hurried time."""
    return expanded(hurried(expr, FACTOR), DURATIONS)


async def assert_variables_have_values(http: httpx.AsyncClient, server: str) -> None:
    for uid, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            [[source, label]] = re.findall(r"label_values\((.+), (\w+)\)", variable["definition"])
            found = await query(http, server, f"count by ({label}) ({expanded(source, DURATIONS)})")
            assert all(value for (value,) in found), (uid, variable["name"])
            assert found, (uid, variable["name"])


async def assert_alerts_select_something(http: httpx.AsyncClient, server: str) -> None:
    """Whether they fire is another question; here, that no selector of theirs asks for nothing."""
    for alert in ALERTS:
        for one in selectors(alert.expr):
            # Codes of trouble are not there while all is well.
            kept = (matcher for matcher in one.matchers if not matcher.startswith("code"))
            selected = f"{one.name}{{{', '.join(kept)}}}"
            # On a slow machine nothing may be in flight at the very moment.
            assert await query(http, server, f"last_over_time({selected}[5m])"), f"{alert.name}: {selected}"


@pytest.mark.parametrize("name", ["prometheus", "promtool", "prometheus-alertmanager", "amtool"])
def test_the_programs_are_there(name: str) -> None:
    assert tool(name)
