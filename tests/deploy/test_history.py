"""The demo's history in a real Prometheus: what it lived before anybody watched is there, and goes on."""

import asyncio
from pathlib import Path

import httpx
import pytest

from support.boards import FOLDER
from support.commands import run
from support.demo import demo, imported, lived
from support.prometheus import free_port, prometheus, query

RULES = FOLDER / "rules" / "vivix.yaml"
ENDED = "vivix_generations_total"
RECORDED = f"job_account_model_status:{ENDED}:max"


@pytest.mark.long(60)
async def test_what_the_demo_lived_first_is_history_in_prometheus_and_goes_on(tmp_path: Path) -> None:
    history, port = tmp_path / "history", free_port()
    tsdb, instance = tmp_path / "tsdb", f"127.0.0.1:{port}"
    async with demo(port, 1, "--history.folder", str(history), "--history.hours", "3"):
        await lived(history)
        imported(history, RULES, tsdb)
        async with prometheus(tmp_path, instance, rules=[RULES]) as server, httpx.AsyncClient() as http:

            async def total(expr: str) -> float:
                return sum((await query(http, server, expr)).values())

            while not await total(ENDED):
                await asyncio.sleep(0.2)
            then, now = await total(f"{ENDED} offset 1h"), await total(ENDED)
            assert 0 < then < now
            assert await total(f"{RECORDED} offset 1h") == then
            assert await total(f"count(up{{instance='{instance}'}} offset 2h)") == 1
            # A scrape every half minute, wherever one file ends and another begins.
            assert 118 <= await total("count_over_time(up[1h] offset 1h)") <= 121
            # No call was given up because its time was skipped.
            assert await total("vivix_api_requests_total") > then
            assert await total('vivix_api_requests_total{code="error"}') == 0
    assert "nothing to import" in imported(history, RULES, tsdb), "Prometheus has data of its own by now"


def test_a_history_does_not_go_together_with_another_speed(tmp_path: Path) -> None:
    done = run("demo", "--speed", "2", "--history.folder", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        "vivix-exporter: --history.folder lives in real time once it has caught up: leave out --speed\n"
    )


def test_a_folder_of_a_history_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "history"
    done = run("demo", "--web.listen-address", "127.0.0.1:0", "--history.folder", str(folder))
    assert done.returncode != 0
    assert "history" in done.stderr
    assert "Traceback" not in done.stderr
