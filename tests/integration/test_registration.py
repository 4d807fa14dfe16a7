"""Ids are registered over HTTP, and what became of them is read back."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.commands.explain import explain
from exporter.config import load_config
from exporter.domain.values import AccountName, GenerationId, check_generation_id
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG, MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.store import open_database
from exporter.store.reading import Reading
from support.running import Running, exporter, until, write_config

TOKEN = "let-me-register"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Scene:
    """An exporter that takes registrations for two accounts of a simulated API."""

    api: SimulatedApi
    running: Running
    folder: Path
    clock: ScaledClock

    def submit(self, account: str = "studio", model: str = MODELS[0].slug) -> str:
        return self.api.world.submit(account, BY_SLUG[model], 1, self.clock.now_us()).id

    async def post(self, body: object, token: str | None = TOKEN) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.running.url}/api/v1/generations"
        return await self.running.http.post(url, content=content, headers=headers)

    async def register(self, *ids: str, account: str = "studio") -> httpx.Response:
        return await self.post({"generations": [{"id": id, "account": account} for id in ids]})

    async def get(self, path: str, **params: str | int) -> httpx.Response:
        return await self.running.http.get(f"{self.running.url}/api/v1/generations{path}", params=params)

    async def becomes(self, id: str, status: str) -> dict[str, object]:
        """Return what is known of a generation once it has this status."""
        async with asyncio.timeout(60):
            while (known := (await self.get(f"/{id}")).json())["status"] != status:
                await asyncio.sleep(0.01)
        return dict(known)

    async def all_end(self) -> None:
        await until(lambda: not any(self.running.app.followed().values()), "every end is seen")


@asynccontextmanager
async def scene(folder: Path, *, registration: bool = True, **polling: str) -> AsyncIterator[Scene]:
    clock = ScaledClock(60.0, SystemClock().now_us())
    accounts = [SimulatedAccount(name, f"vvx_live_{name:0<32}", "ultimate") for name in ("studio", "shop")]
    api = SimulatedApi(World(5, accounts, failure_ratio=0.2), clock)
    (folder / "token").write_text(f"{TOKEN}\n")
    web: dict[str, object] = {"registration_token_file": "token"} if registration else {}
    async with serve(create_app(api)) as address:
        configured: list[dict[str, object]] = [
            {"name": account.name, "api_key": account.key, "base_url": address.url} for account in accounts
        ]
        path = write_config(folder, configured, web=web, polling=polling)
        async with exporter(path, clock) as running:
            yield Scene(api, running, folder, clock)


async def test_registered_ids_are_followed_and_counted(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        ids = [at.submit() for _ in range(20)]
        answer = await at.register(*ids)
        assert (answer.status_code, answer.json()) == (202, {"new": 20, "known": 0})
        await at.all_end()
        page = await at.running.scrape()
    assert page.of("vivix_generations_discovered_total") == {("studio", "api"): 20}
    assert page.sum("vivix_generations_total", account="studio") == 20


async def test_handing_over_again_is_harmless(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        one, two = at.submit(), at.submit()
        await at.register(one)
        again = await at.register(one, one, two)
        assert again.json() == {"new": 1, "known": 1}
        await at.all_end()
        assert (await at.register(one, two)).json() == {"new": 0, "known": 2}
        page = await at.running.scrape()
    assert page.sum("vivix_generations_discovered_total") == 2
    assert page.sum("vivix_generations_total") == 2


@pytest.mark.parametrize("token", [None, "wrong", TOKEN[:-1], TOKEN + "x", "ünïcode"])
async def test_without_the_token_nothing_is_registered(tmp_path: Path, token: str | None) -> None:
    async with scene(tmp_path) as at:
        headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
        answer = await at.running.http.post(
            f"{at.running.url}/api/v1/generations", json={"generations": [{"id": "a"}]}, headers=headers
        )
        assert answer.status_code == 401
        assert TOKEN not in answer.text
        assert (await at.get("")).json()["generations"] == []


async def test_a_configuration_without_a_token_registers_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, registration=False) as at:
        answer = await at.register("a")
    assert answer.status_code == 403
    assert "registration_token" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        ({"generations": [{"id": "good", "account": "studio"}, {"id": "bad one", "account": "studio"}]}, 400),
        ({"generations": [{"id": "a"}]}, 400),
        ({"generations": [{"id": "a", "account": "studio", "traceparent": "00-0-0-0"}]}, 400),
        ({"generations": [{"id": f"id-{n}", "account": "studio"} for n in range(1_001)]}, 413),
        (b" " * (1 << 20) + b"{}", 413),
    ],
)
async def test_what_is_refused_is_refused_whole(tmp_path: Path, body: object, status: int) -> None:
    async with scene(tmp_path) as at:
        answer = await at.post(body)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert (await at.get("")).json()["generations"] == []


async def test_a_store_that_cannot_be_written_is_no_acknowledgement(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        with closing(sqlite3.connect(tmp_path / "vivix-exporter.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await at.register("never-stored")
            other.rollback()
        assert answer.status_code == 503
        assert (await at.get("/never-stored")).status_code == 404
        while (answer := await at.register("never-stored")).status_code == 503:
            await asyncio.sleep(0.01)
        assert answer.json() == {"new": 1, "known": 0}


async def test_what_is_known_is_listed_newest_first_page_by_page(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        ids = [at.submit() for _ in range(5)]
        for id in ids:
            await at.register(id)
        await at.register(at.submit("shop"), account="shop")
        seen, cursor = [], None
        while True:
            more: dict[str, str] = {} if cursor is None else {"cursor": cursor}
            body = (await at.get("", account="studio", limit=2, **more)).json()
            assert len(body["generations"]) <= 2
            seen += [generation["id"] for generation in body["generations"]]
            cursor = body["next_cursor"]
            if cursor is None:
                break
        nothing_asked = (await at.get("", account="", status="", model="", limit="", cursor="")).json()
    assert seen == ids[::-1]
    assert len(nothing_asked["generations"]) == 6


async def test_a_list_can_be_about_a_status_or_a_model(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        ids = [at.submit(model=model.slug) for model in MODELS for _ in range(4)]
        await at.register(*ids)
        await at.all_end()
        failed = (await at.get("", status="failed")).json()["generations"]
        model = (await at.get("", model=MODELS[1].slug)).json()["generations"]
        page = await at.running.scrape()
    assert len(failed) == page.sum("vivix_generations_total", status="failed") > 0
    assert all(one["reason"] and one["duration_ms"] is not None for one in failed)
    assert len(model) == page.sum("vivix_generations_total", model=MODELS[1].slug) > 0


@pytest.mark.parametrize(
    "params",
    [
        {"status": "done"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"cursor": "x"},
        {"cursor": "WzEsICJzdHVkaW8iLCAiXHUwMDAwIl0="},  # [1, "studio", "\u0000"]
        {"model": "\0"},
        {"account": "\0"},
    ],
)
async def test_a_question_that_makes_no_sense_gets_an_answer_that_says_so(
    tmp_path: Path, params: dict[str, str]
) -> None:
    async with scene(tmp_path) as at:
        answer = await at.get("", **params)
    assert answer.status_code == 400
    assert next(iter(params)) in answer.json()["error"]


async def test_one_generation_is_shown_with_its_history_and_its_trace(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        id = at.submit()
        body = {"generations": [{"id": id, "account": "studio", "traceparent": TRACEPARENT}]}
        await at.post(body)
        waiting = (await at.get(f"/{id}")).json()
        await at.all_end()
        ended = (await at.get(f"/{id}", account="studio")).json()
        elsewhere = await at.get(f"/{id}", account="shop")
        answer = await at.running.http.get(f"{at.running.url}/api/v1/generations/{id}")
    assert waiting["trace_id"] == ended["trace_id"] == TRACEPARENT.split("-")[1]
    assert ended["status"] in ("completed", "failed")
    assert ended["observations"][-1]["said"].startswith(ended["status"])
    assert ended["polls"] >= 1
    assert elsewhere.status_code == 404
    assert "r2.dev" not in answer.text


async def test_ids_are_told_from_paths(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        odd = "a/b?c#d%2F:@é"
        await at.register(odd)
        answer = await at.running.http.get(
            f"{at.running.url}/api/v1/generations/a%2Fb%3Fc%23d%252F%3A%40%C3%A9"
        )
        assert answer.json()["id"] == odd
        assert (await at.get("/nobody")).status_code == 404


async def test_an_id_registered_again_after_it_was_not_found_is_followed_and_counted_once(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, not_found_grace="2s") as at:
        assert (await at.register("early")).json() == {"new": 1, "known": 0}
        assert (await at.becomes("early", "dropped"))["reason"] == "not_found"
        # Neither for the API nor for the totals does a second time in vain make a difference.
        assert (await at.register("early")).json() == {"new": 0, "known": 1}
        await at.becomes("early", "dropped")
        now_us = at.clock.now_us()
        at.api.world.add_ended("studio", MODELS[0], "early", now_us - 60 * MICROS, 9 * MICROS, now_us)
        assert (await at.register("early")).json() == {"new": 0, "known": 1}
        known = await at.becomes("early", "completed")
        page = await at.running.scrape()
    assert known["reason"] is None
    assert page.of("vivix_generations_dropped_total")["studio", "not_found"] == 1
    assert page.sum("vivix_generations_dropped_total") == 1
    assert page.sum("vivix_generations_discovered_total") == 1
    assert page.sum("vivix_generations_total") == 1
    assert page.sum("vivix_exporter_detection_lag_seconds_count") == 0


async def test_an_id_registered_again_has_its_grace_anew(tmp_path: Path) -> None:
    async with scene(tmp_path, not_found_grace="30s") as at:
        await at.register("late")
        await at.becomes("late", "dropped")
        await at.register("late")
        # Where it is in the history, since it may pass between two looks at the status.
        async with asyncio.timeout(60):
            while len(lines := (await at.get("/late")).json()["observations"]) < 3:
                await asyncio.sleep(0.01)
        again, dropped = [datetime.fromisoformat(line["at"]) for line in lines[1:]]
        assert [line["said"] for line in lines[1:2]] == ["registered again"]
        assert dropped - again >= timedelta(seconds=30)
        now_us = at.clock.now_us()
        at.api.world.add_ended("studio", MODELS[0], "late", now_us, 0, now_us)
        await at.register("late")
        await at.becomes("late", "completed")


async def test_an_id_registered_again_after_it_was_given_up_is_followed_to_its_end(tmp_path: Path) -> None:
    async with scene(tmp_path, give_up_after="1s") as at:
        id = at.submit()
        await at.register(id)
        assert (await at.becomes(id, "dropped"))["reason"] == "gave_up"
        while (status := (await at.get(f"/{id}")).json()["status"]) == "dropped":
            await at.register(id)
        assert status in ("pending", "processing", "completed", "failed", "unseen")
        while (await at.get(f"/{id}")).json()["status"] not in ("completed", "failed"):
            await at.register(id)
        page = await at.running.scrape()
    assert page.sum("vivix_generations_dropped_total", reason="gave_up") == 1
    assert page.sum("vivix_generations_total") == 1


async def test_a_restart_with_the_same_list_reopens_nothing_and_an_id_listed_anew_is_followed_again(
    tmp_path: Path,
) -> None:
    clock = ScaledClock(60.0, SystemClock().now_us())
    account = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate")
    api = SimulatedApi(World(5, [account]), clock)
    ids = tmp_path / "ids.txt"
    ids.write_text("gone\n")

    async def history(running: Running, length: int) -> list[str]:
        async with asyncio.timeout(60):
            while True:
                answer = await running.http.get(f"{running.url}/api/v1/generations/gone")
                said = [line["said"].partition(":")[0] for line in answer.json()["observations"]]
                if len(said) >= length:
                    return said
                await asyncio.sleep(0.01)

    async with serve(create_app(api)) as address:
        configured: dict[str, object] = {
            "name": "studio",
            "api_key": account.key,
            "base_url": address.url,
            "generation_files": ["ids.txt"],
        }
        path = write_config(tmp_path, [configured], polling={"not_found_grace": "1s"})
        async with exporter(path, clock) as running:
            assert await history(running, 1) == ["NOT_FOUND"]
        async with exporter(path, clock) as running:
            assert not any(running.app.followed().values())
            assert await history(running, 1) == ["NOT_FOUND"]
            ids.write_text("another\n")
            # A file that has just been written lists what it did, too, until it has settled.
            await until(lambda: listed(path) == {"another"}, "only another id is listed")
            ids.write_text("gone\n")
            assert await history(running, 3) == ["NOT_FOUND", "listed again", "NOT_FOUND"]
            page = await running.scrape()
    # The other one is dropped too, sooner or later.
    assert page.of("vivix_generations_dropped_total")["studio", "not_found"] <= 2
    assert page.sum("vivix_generations_discovered_total") == 2


async def test_an_id_of_another_account_that_is_registered_again_is_asked_for_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        id = at.submit("shop")
        await at.register(id, account="studio")
        first = await at.becomes(id, "dropped")
        await at.register(id, account="studio")
        while (again := await at.becomes(id, "dropped"))["polls"] == first["polls"]:
            await asyncio.sleep(0.01)
            if len(again["observations"]) > 2:  # type: ignore[arg-type]
                break
        page = await at.running.scrape()
    said = [line["said"].partition(":")[0] for line in again["observations"]]  # type: ignore[attr-defined]
    assert said == ["NOT_YOURS", "registered again", "NOT_YOURS"]
    assert page.sum("vivix_generations_dropped_total") == 1


def listed(config: Path) -> set[GenerationId]:
    """The ids that the state holds as listed."""
    with (
        closing(open_database(load_config(config).state_at, owner=False)) as database,
        database.read() as connection,
    ):
        return Reading(connection).listed(AccountName("studio"))


async def test_a_uuid_is_one_generation_however_its_letters_are_written(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        id = at.submit()
        assert (await at.register(id.upper(), id)).json() == {"new": 1, "known": 0}
        assert (await at.register(id, id.upper(), "Abc", "abc")).json() == {"new": 2, "known": 1}
        await until(lambda: at.running.app.followed()[AccountName("studio")] <= 2, "the end is seen")
        written = [(await at.get(f"/{text}")).json() for text in (id, id.upper())]
        listed = (await at.get("")).json()["generations"]
        page = await at.running.scrape()
    assert written[0] == written[1]
    assert written[0]["id"] == id
    assert [one["id"] for one in listed] == ["abc", "Abc", id]
    assert page.sum("vivix_generations_total") == 1
    config = load_config(tmp_path / "config.yaml")
    with closing(open_database(config.state_at, owner=False)) as database:
        explained = [explain(database, check_generation_id(text)) for text in (id.upper(), id, "unknown")]
    assert explained[0] == explained[1]
    assert explained[0][0].endswith(id)
    assert explained[2] == []


async def test_many_may_register_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        answers = await asyncio.gather(
            *(at.register(*(f"id-{n}-{i}" for i in range(50)), f"shared-{n % 3}") for n in range(20))
        )
        page = await at.running.scrape()
    assert sum(answer.json()["new"] for answer in answers) == 20 * 50 + 3
    assert page.sum("vivix_generations_discovered_total", source="api") == 20 * 50 + 3
