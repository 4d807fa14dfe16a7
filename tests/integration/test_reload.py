"""A configuration that is changed while generations run: nothing is disturbed, nothing is counted twice."""

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.config import Config, load_config
from exporter.domain.values import AccountName, GenerationId, NewGeneration
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG, MODELS, SimulatedModel
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import serve
from exporter.simulator.truth import truth
from exporter.simulator.world import World
from exporter.store import open_database
from exporter.store.inbox import Inbox
from exporter.store.letters import registration
from support.running import PATIENCE, Running, exporter, until, write_config
from support.truth import assert_true

NAMES = ("studio", "shop", "lab", "late")
ACCOUNTS = tuple(
    SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate", granted=10_000_000) for name in NAMES
)
IMAGE, VIDEO = MODELS[0], BY_SLUG["wan-2.7-text-to-video"]


@dataclass
class Scene:
    """A simulated API and an exporter whose configuration the test writes."""

    api: SimulatedApi
    clock: ScaledClock
    url: str
    folder: Path
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)

    def account(self, name: str, ids: Sequence[str] = (), **keys: object) -> None:
        """Let the configuration have this account, in place of one of that name."""
        key = next(account.key for account in ACCOUNTS if account.name == name)
        self.accounts[name] = {
            "name": name, "api_key": key, "base_url": self.url, "generations": list(ids), **keys
        }  # fmt: skip

    def write(self) -> Path:
        return write_config(self.folder, list(self.accounts.values()), **self.sections)

    async def reload(self, running: Running) -> tuple[int, str]:
        """Ask for it over HTTP: status and text of the answer."""
        self.write()
        answer = await running.http.post(f"{running.url}/-/reload")
        return answer.status_code, answer.text

    def submit(self, name: str = "studio", count: int = 1, model: SimulatedModel = IMAGE) -> list[str]:
        now_us = self.clock.now_us()
        return [self.api.world.submit(name, model, 1, now_us).id for _ in range(count)]

    def calls(self, name: str) -> int:
        return self.api.calls.calls(name, Caller.READ)

    @asynccontextmanager
    async def running(self, *, lifecycle: bool = True, patience: float = PATIENCE) -> AsyncIterator[Running]:
        async with exporter(self.write(), self.clock, lifecycle=lifecycle, patience=patience) as running:
            yield running


@asynccontextmanager
async def scene(folder: Path, speed: float = 30.0) -> AsyncIterator[Scene]:
    clock = ScaledClock(speed, SystemClock().now_us())
    api = SimulatedApi(World(3, ACCOUNTS), clock)
    async with serve(create_app(api)) as address:
        yield Scene(api, clock, address.url, folder)


def followed(running: Running) -> dict[str, int]:
    return {str(name): count for name, count in running.app.followed().items()}


async def test_accounts_and_ids_come_and_go(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first, second = at.submit(count=2)
        at.account("studio", [first])
        async with at.running() as running:
            at.account("studio", [first, second])
            at.account("shop", at.submit("shop", 3))
            assert await at.reload(running) == (200, "Reloaded.\n")
            assert followed(running).keys() == {"studio", "shop"}
            await until(lambda: not any(followed(running).values()), "all ends are seen")
            both = await running.scrape()
            del at.accounts["shop"]
            assert (await at.reload(running))[0] == 200
            await until(lambda: followed(running).keys() == {"studio"}, "it has left")
            # Its calls under way end, and what it reserved of others is returned.
            one = await running.scrape()
            while any(("account", "shop") in labels for _, labels in one.samples):
                one = await running.scrape()
            at.account("shop")
            assert (await at.reload(running))[0] == 200
            again = await running.scrape()
    assert both.sum("vivix_generations_total", account="studio") == 2
    assert both.sum("vivix_generations_total", account="shop") == 3
    assert again.sum("vivix_generations_total", account="shop") == 3
    assert [page.sum("vivix_exporter_accounts_owned") for page in (both, one, again)] == [2, 1, 2]


async def test_what_replicas_had_acknowledged_for_an_account_is_applied_when_it_comes(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        [id] = at.submit("shop")
        at.account("studio")
        # As of a state that was moved here from replicas while nobody had the account.
        letter = registration(AccountName("shop"), [NewGeneration(GenerationId(id))], at.clock.now_us())
        database = open_database(load_config(at.write()).state_at, owner=True)
        with database.begin() as connection:
            Inbox(connection).put(letter)
        database.close()
        async with at.running() as running:
            at.account("shop")
            assert await at.reload(running) == (200, "Reloaded.\n")
            while (page := await running.scrape()).sum("vivix_generations_total", account="shop") == 0:
                pass
    assert page.of("vivix_generations_discovered_total") == {("shop", "api"): 1}


async def test_an_id_that_is_listed_no_more_is_not_polled_and_stays_counted(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=10.0) as at:
        stays, goes = at.submit(count=2, model=VIDEO)
        at.account("studio", [stays, goes])
        async with at.running() as running:
            await until(lambda: at.api.shown.of(goes).answers > 0, "it is polled")
            at.account("studio", [stays])
            await at.reload(running)
            polls = at.api.shown.of(goes).answers
            await until(lambda: not any(followed(running).values()), "the other one's end is seen")
            page = await running.scrape()
    assert at.api.shown.of(goes).answers <= polls + 1  # one may have been under way
    assert page.sum("vivix_generations_total") == 1
    assert page.of("vivix_generations_discovered_total") == {("studio", "config"): 2}
    assert page.sum("vivix_generations_in_flight") == 0


async def test_a_broken_configuration_is_refused_whole_and_says_why(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio", at.submit())
        async with at.running() as running:
            before = await running.scrape()
            at.account("shop")
            at.account("lab", acount_typo=True)
            with structlog.testing.capture_logs() as logs:
                status, text = await at.reload(running)
            after = await running.scrape()
            names = followed(running).keys()
            del at.accounts["lab"]
            assert (await at.reload(running))[0] == 200
            fixed = await running.scrape()
    assert status == 500
    assert "accounts[2].acount_typo: unknown key" in text
    assert any("refused" in line["event"] and "acount_typo" in line["error"] for line in logs)
    assert names == {"studio"}
    successful = "vivix_exporter_config_last_reload_successful"
    assert [page.sum(successful) for page in (before, after, fixed)] == [1, 0, 1]
    at_time = "vivix_exporter_config_last_reload_success_timestamp_seconds"
    assert before.sum(at_time) == after.sum(at_time) < fixed.sum(at_time)


async def test_what_needs_a_restart_is_refused_by_name(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio")
        async with at.running() as running:
            at.sections = {"state": {"url": "sqlite:///other.db"}, "metrics": {"max_models": 3}}
            status, text = await at.reload(running)
    assert status == 500
    assert "state.url, metrics.max_models needs a restart" in text


async def test_reloading_over_http_is_off_unless_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio")
        async with at.running(lifecycle=False) as running:
            status, text = await at.reload(running)
    assert status == 403
    assert "--web.enable-lifecycle" in text


async def test_an_account_that_moves_to_another_api_is_asked_about_there(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, scene(tmp_path) as other:
        [id] = at.submit()
        at.account("studio", [id])
        async with at.running() as running:
            await until(lambda: at.calls("studio") > 2, "it is polled")
            at.account("studio", [id], base_url=other.url)
            await at.reload(running)
            await until(lambda: other.calls("studio") > 2, "it is polled elsewhere")


async def test_a_share_that_is_lowered_holds_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio", at.submit(count=30), rate_limit_share=0.9)
        async with at.running() as running:
            await until(lambda: at.calls("studio") > 20, "it is polled")
            at.account("studio", at.accounts["studio"]["generations"], rate_limit_share=0.05)
            await at.reload(running)
            page = await running.scrape()
            assert page.of("vivix_exporter_poll_budget_calls_per_minute") == {("studio",): 30}
            from_us = at.clock.now_us()
            await until(lambda: at.clock.now_us() > from_us + 150_000_000, "some minutes go by")
            arrivals = at.api.calls.arrivals_us("studio", Caller.READ)
    settled = [us for us in arrivals if us > arrivals[-1] - 60_000_000]
    assert len(settled) <= 30


async def test_files_of_ids_are_followed_while_the_exporter_runs(tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    async with scene(tmp_path) as at:
        at.account("studio", generation_files=["ids/*.txt", "ids/*.json"])
        async with at.running() as running:
            ids = at.submit(count=3)
            (tmp_path / "ids" / "one.txt").write_text(f"{ids[0]}\n")
            (tmp_path / "ids" / "more.json").write_text(f'["{ids[1]}", {{"id": "{ids[2]}"}}]')
            (tmp_path / "ids" / "broken.json").write_text("[")
            async with asyncio.timeout(120):
                while True:
                    page = await running.scrape()
                    broken = page.sum("vivix_generation_files_broken")
                    if page.sum("vivix_generations_total") == 3 and broken == 1:
                        break
                    await asyncio.sleep(0.1)
    assert page.of("vivix_generations_discovered_total") == {("studio", "file"): 3}


async def test_a_reload_while_the_state_is_locked_is_refused_whole_and_can_be_repeated(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        stays, goes, comes = at.submit(count=3)
        at.account("studio", [stays, goes])
        at.account("lab", at.submit("lab"))
        async with at.running() as running:
            await until(lambda: at.calls("lab") > 0, "it is polled")
            with closing(sqlite3.connect(tmp_path / "vivix-exporter.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                at.account("studio", [stays, comes], rate_limit_share=0.1)
                at.account("shop", at.submit("shop", 2))
                del at.accounts["lab"]
                status, text = await at.reload(running)
                refused, names = await running.scrape(), followed(running).keys()
                other.execute("ROLLBACK")
            while (await at.reload(running))[0] != 200:
                await asyncio.sleep(0.05)
            await until(lambda: not any(followed(running).values()), "all ends are seen")
            applied = await running.scrape()
    assert status == 500
    assert "the state cannot be written" in text
    assert names == {"studio", "lab"}
    budget = "vivix_exporter_poll_budget_calls_per_minute"
    assert refused.of(budget)["studio",] > applied.of(budget)["studio",]
    successful = "vivix_exporter_config_last_reload_successful"
    assert [page.sum(successful) for page in (refused, applied)] == [0, 1]
    assert refused.sum("vivix_generations_discovered_total") == 3
    assert applied.of("vivix_generations_discovered_total") == {
        ("studio", "config"): 3,
        ("shop", "config"): 2,
    }


def broken_loader(_path: Path) -> Config:
    raise KeyError("no such key")


async def test_an_unexpected_error_refuses_the_configuration_and_the_next_one_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as at:
        at.account("studio")
        async with at.running() as running:
            with monkeypatch.context() as broken:
                broken.setattr("support.running.load_config", broken_loader)
                status, text = await at.reload(running)
            page = await running.scrape()
            assert (await at.reload(running))[0] == 200
    assert status == 500
    assert "KeyError" in text
    assert page.sum("vivix_exporter_config_last_reload_successful") == 0


async def test_a_configuration_that_cannot_be_read_to_its_end_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio")
        async with at.running(patience=0.3) as running:
            (tmp_path / "config.yaml").unlink()
            os.mkfifo(tmp_path / "config.yaml")
            answer = await running.http.post(f"{running.url}/-/reload")
            (tmp_path / "config.yaml").unlink()
            assert (await at.reload(running))[0] == 200
    assert answer.status_code == 500


async def test_an_account_that_is_renamed_keeps_to_the_budget_of_its_key(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        at.account("studio")
        async with at.running() as running:
            quiet_until_us = at.clock.now_us() + 20 * MICROS
            await until(lambda: at.clock.now_us() > quiet_until_us, "a burst has been saved up")
            at.account("studio", at.submit(count=1_000))
            [account] = at.accounts.values()
            for name in ("studio", "atelier"):
                at.accounts = {name: account | {"name": name}}
                assert (await at.reload(running))[0] == 200
                goal = at.calls("studio") + 220
                await until(lambda goal=goal: at.calls("studio") > goal, "it is polled")  # type: ignore[misc]
                assert followed(running).keys() == {name}
    allowed = ACCOUNTS[0].plan.calls_per_minute * 0.5
    assert at.api.calls.max_calls_in_any_window("studio", Caller.READ) <= allowed


async def test_an_account_that_comes_back_before_its_last_answer_is_refused_until_that_came(
    tmp_path: Path,
) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.set()
        await release.wait()
        writer.close()

    api = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = api.sockets[0].getsockname()[1]
    async with scene(tmp_path) as at:
        at.sections = {"polling": {"request_timeout": "1h"}}
        at.account("studio")
        at.account("shop", ["one"], base_url=f"http://127.0.0.1:{port}")
        shop = at.accounts["shop"]
        async with at.running(patience=0.3) as running:
            await held.wait()
            del at.accounts["shop"]
            assert (await at.reload(running))[0] == 200
            assert followed(running).keys() == {"studio"}
            at.accounts["shop"] = shop
            status, text = await at.reload(running)
            assert followed(running).keys() == {"studio"}
            release.set()
            while (await at.reload(running))[0] != 200:
                await asyncio.sleep(0.05)
            assert followed(running) == {"studio": 0, "shop": 1}
    api.close()
    assert status == 500
    assert "still waits for answers" in text


async def test_reloads_without_a_pause_lose_no_registration(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        listed, registered = at.submit(count=40), at.submit(count=40)
        at.account("studio", listed[:1])
        async with at.running() as running:
            for number, id in enumerate(registered):
                at.account("studio", listed[number : number + 2], rate_limit_share=0.5 + number / 100)
                reloaded, _ = await asyncio.gather(at.reload(running), running.register("studio", id))
                assert reloaded[0] == 200
            at.account("studio", listed)
            assert (await at.reload(running))[0] == 200
            await until(lambda: not any(followed(running).values()), "all ends are seen")
            page = await running.scrape()
    assert page.of("vivix_generations_discovered_total") == {("studio", "config"): 40, ("studio", "api"): 40}
    assert page.sum("vivix_generations_total") == 80


GENERATIONS = 5_000


async def test_reloads_while_thousands_are_in_flight_leave_every_sum_exact(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=40.0) as at:
        rng, now_us = random.Random(3), at.clock.now_us()
        ids: dict[str, list[str]] = {name: [] for name in NAMES}
        for number in range(GENERATIONS):
            name, model = (
                NAMES[number % len(NAMES)],
                rng.choice([model for model in MODELS if model.median_s < 30]),
            )
            ids[name].append(at.api.world.submit(name, model, 1, now_us).id)
        # An answer that a slow machine delivers late is one that the simulator believes was received.
        at.sections = {"polling": {"request_timeout": "1h"}}
        for name in ("studio", "shop", "lab"):
            at.account(name, ids[name])
        async with at.running() as running:

            async def some_ends(more: int) -> None:
                goal = len(at.api.world.ends) + more
                await until(lambda: len(at.api.world.ends) >= goal, "some end")
                assert len(at.api.world.in_flight(at.clock.now_us())) > 1_000

            await some_ends(200)
            # One account changes its share, one leaves, one goes over to a file, and one comes.
            at.account("studio", ids["studio"], rate_limit_share=0.8)
            del at.accounts["shop"]
            (tmp_path / "lab.txt").write_text("".join(f"{id}\n" for id in ids["lab"]))
            at.account("lab", generation_files=["lab.txt"])
            at.account("late", ids["late"])
            assert (await at.reload(running))[0] == 200
            await some_ends(300)
            at.account("shop", ids["shop"])
            assert (await at.reload(running))[0] == 200
            await some_ends(300)
            at.accounts["studio"]["generations"] = ids["studio"][::-1]
            assert (await at.reload(running))[0] == 200
            await until(lambda: not any(followed(running).values()), "every end is seen")
            page = await running.scrape()
    assert page.sum("vivix_generations_discovered_total") == GENERATIONS
    assert page.sum("vivix_generations_dropped_total") == 0
    assert_true(page, truth(at.api.world, at.clock.now_us(), at.api.shown))
    for account in ACCOUNTS:
        assert at.api.calls.limited[account.name, Caller.READ] == 0
