"""Replicas on one PostgreSQL database: whatever reaches any of them is counted once, by its owner."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from structlog.testing import capture_logs

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.domain.values import AccountName, GenerationId, Observation, Status, Via
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from exporter.store import open_database
from exporter.store.letters import end
from support.postgresql import Server
from support.running import Running, exporter, until, write_config
from support.states import rows

STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate", granted=10_000_000)
LAB = SimulatedAccount("lab", f"vvx_live_{'lab':0<32}", "ultimate", granted=10_000_000)
SHOP = SimulatedAccount("shop", f"vvx_live_{'shop':0<32}", "ultimate", granted=10_000_000)
SOON_US = 1_900_000_000_000_000
SECRET, TOKEN = "whsec_0123456789abcdef", "token-0123456789"


@dataclass(frozen=True)
class Pair:
    """Two replicas of which each follows one of two accounts."""

    owner: Running
    other: Running
    path: Path
    at: Secret
    world: World

    async def register(self, replica: Running, *ids: str, account: str = "studio") -> httpx.Response:
        wanted = {"generations": [{"id": id, "account": account} for id in ids]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return await replica.http.post(f"{replica.url}/api/v1/generations", json=wanted, headers=headers)

    async def deliver(self, replica: Running, id: str) -> int:
        ended = {
            "generation_id": id,
            "status": "completed",
            "model": "flux-2-pro",
            "output_urls": ["https://pub.r2.dev/1.jpg"],
            "credits_charged": 12,
            "duration_ms": 4321,
            "completed_at": "2026-05-12T18:23:45.123Z",
        }
        body = json.dumps(ended).encode()
        headers = {"X-Vivix-Signature": signature(SECRET, body), "X-Vivix-Event": "generation.completed"}
        answer = await replica.http.post(f"{replica.url}/webhooks/studio", content=body, headers=headers)
        return answer.status_code

    async def shown(self, id: str) -> dict[str, object]:
        """What the replica that does not own the account tells of a generation."""
        answer = await self.other.http.get(f"{self.other.url}/api/v1/generations/{id}")
        return dict(answer.json())


def account(one: SimulatedAccount, url: str) -> dict[str, object]:
    return {"name": one.name, "base_url": url, "api_key": one.key}


def configure(folder: Path, url: str, at: Secret) -> Path:
    (folder / "secret").write_text(SECRET)
    (folder / "token").write_text(TOKEN)
    return write_config(
        folder,
        [account(STUDIO, url) | {"webhook_secret_file": "secret"}, account(LAB, url)],
        state={"url": at.reveal(), "retention": "36500d"},
        web={"registration_token_file": "token"},
    )


@asynccontextmanager
async def pair(folder: Path, at: Secret, *, lifecycle: bool = False) -> AsyncIterator[Pair]:
    world = World(7, [STUDIO, LAB, SHOP], failure_ratio=0.0)
    api = SimulatedApi(world, SystemClock())
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serve(create_app(api)))
        path = configure(folder, address.url, at)
        replicas = [await stack.enter_async_context(exporter(path, lifecycle=lifecycle)) for _ in range(2)]
        await until(lambda: all(len(one.app.followed()) == 1 for one in replicas), "they share the accounts")
        replicas.sort(key=lambda one: "studio" not in one.app.followed())
        yield Pair(replicas[0], replicas[1], path, at, world)


@pytest.fixture
def at(postgresql: Server) -> Iterator[Secret]:
    with postgresql.database() as url:
        yield url


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may stop."""
    with Server() as server:
        yield server


async def test_what_reaches_another_replica_is_counted_once_by_the_owner(tmp_path: Path, at: Secret) -> None:
    async with pair(tmp_path, at) as replicas:
        assert (await replicas.register(replicas.other, "a", "b")).json() == {"new": 2, "known": 0}
        assert (await replicas.register(replicas.owner, "b", "c")).json()["new"] <= 2
        for replica in (replicas.other, replicas.owner, replicas.other):
            assert await replicas.deliver(replica, "pushed") == 204

        async def counted(name: str, **labels: str) -> float:
            return (await replicas.owner.scrape()).sum(name, account="studio", **labels)

        async with asyncio.timeout(60):
            while await counted("vivix_exporter_webhook_deliveries_total") < 3:
                await asyncio.sleep(0.05)
            while await counted("vivix_generations_discovered_total", source="api") < 3:
                await asyncio.sleep(0.05)
        assert await counted("vivix_generations_discovered_total") == 4
        assert await counted("vivix_generations_total", status="completed") == 1
        assert await counted("vivix_exporter_webhook_deliveries_total", result="accepted") == 1
        assert await counted("vivix_exporter_webhook_deliveries_total", result="repeat") == 2
        assert (await replicas.other.scrape()).sum("vivix_generations_total", account="studio") == 0
        assert (await replicas.shown("pushed"))["status"] == "completed"
        assert rows(at, "SELECT * FROM inbox") == []
        assert (await replicas.register(replicas.other, "a", "b", "c")).json() == {"new": 0, "known": 3}


async def test_a_registration_for_accounts_of_several_owners_is_stored_at_once(
    tmp_path: Path, at: Secret
) -> None:
    async with pair(tmp_path, at) as replicas:
        wanted = [{"id": "s", "account": "studio"}, {"id": "l", "account": "lab"}]
        answer = await replicas.owner.http.post(
            f"{replicas.owner.url}/api/v1/generations",
            json={"generations": wanted},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert (answer.status_code, answer.json()) == (202, {"new": 2, "known": 0})
        await until(lambda: replicas.other.app.followed() == {"lab": 1}, "its owner follows it")
        assert replicas.owner.app.followed() == {"studio": 1}


async def test_what_is_acknowledged_is_shown_by_all_before_the_owner_has_it(
    tmp_path: Path, at: Secret
) -> None:
    async with pair(tmp_path, at) as replicas:
        assert (await replicas.register(replicas.other, 'odd"id_1')).status_code == 202
        for replica in (replicas.other, replicas.owner):
            answer = await replica.http.get(f'{replica.url}/api/v1/generations/odd"id_1')
            assert (answer.status_code, answer.json()["status"]) == (200, "unseen")


async def test_what_a_later_version_has_put_into_the_inbox_waits_for_it_and_stops_nobody(
    tmp_path: Path, at: Secret
) -> None:
    told = Observation(
        1, Via.WEBHOOK, Status.COMPLETED, "completed", model="flux-2-pro", completed_us=SOON_US
    )
    letter = end(AccountName("studio"), GenerationId("pushed"), told)
    body = letter.body.replace('"status_text"', '"of_later": 1, "status_text"')
    async with pair(tmp_path, at) as replicas:
        rows(at, "INSERT INTO inbox VALUES ('studio', 1, 'a', 'progress', '[]')")
        rows(at, "INSERT INTO inbox VALUES ('studio', 2, 'b', 'end', 'no JSON')")
        rows(at, f"INSERT INTO inbox VALUES ('studio', 3, 'c', 'end', '{body}')")
        async with asyncio.timeout(60):
            while (await replicas.shown("pushed")).get("status") != "completed":
                await asyncio.sleep(0.05)
        assert (await replicas.register(replicas.other, "x")).status_code == 202
        await until(lambda: replicas.owner.app.followed() == {"studio": 1}, "the others go on")
    assert [token for (token,) in rows(at, "SELECT token FROM inbox ORDER BY token")] == ["a", "b"]


async def test_a_generation_that_is_gone_from_the_state_stops_nobody(tmp_path: Path, at: Secret) -> None:
    async with pair(tmp_path, at) as replicas:
        running = replicas.world.submit("studio", MODELS[0], 1, SystemClock().now_us()).id
        with capture_logs() as logs:
            await replicas.register(replicas.owner, running, "other")
            rows(at, f"DELETE FROM generations WHERE id = '{running}'")
            await until(lambda: any("gone from the state" in one["event"] for one in logs), "it is let go")
        assert replicas.owner.app.followed() == {"studio": 1}
        page = await replicas.owner.scrape()
        assert page.sum("vivix_generations_discovered_total", account="studio") == 2


async def test_a_server_that_lost_the_last_commits_is_right_and_that_is_logged(
    tmp_path: Path, at: Secret
) -> None:
    async with pair(tmp_path, at) as replicas:
        await replicas.register(replicas.owner, "a", "b")
        # As a standby that lagged behind would have it after a failover.
        rows(at, "UPDATE leases SET writes = writes - 1")
        rows(at, "UPDATE totals SET amount = 1 WHERE account = 'studio' AND family = 'discovered'")
        rows(at, "DELETE FROM generations WHERE id = 'b'")
        with capture_logs() as logs:
            assert (await replicas.register(replicas.owner, "c")).status_code == 202
            await until(lambda: any("stepped back" in line["event"] for line in logs), "it is logged")
            await until(lambda: replicas.owner.app.followed() == {"studio": 2}, "it is known anew")
        page = await replicas.owner.scrape()
        assert page.sum("vivix_generations_discovered_total", account="studio", source="api") == 2
        [line] = [line for line in logs if "stepped back" in line["event"]]
        assert (line["account"], line["metric"], line["labels"]) == ("studio", "discovered", ("api",))


async def test_while_the_server_is_away_nothing_is_acknowledged_and_nothing_lost(
    tmp_path: Path, own_server: Server
) -> None:
    async with pair(tmp_path, own_server.create_database()) as replicas:
        await replicas.register(replicas.owner, "before")
        both = (replicas.owner, replicas.other)
        own_server.stop(immediate=True)
        for replica in both:
            assert (await replicas.register(replica, "during")).status_code == 503
            assert await replicas.deliver(replica, "pushed") == 503
            assert (await replica.http.get(f"{replica.url}/api/v1/generations")).status_code == 503
            assert (await replica.http.get(f"{replica.url}/-/healthy")).status_code == 200
        page = await replicas.owner.scrape()
        assert page.sum("vivix_generations_discovered_total", account="studio") == 1
        own_server.start()
        async with asyncio.timeout(60):
            while (await replicas.register(replicas.owner, "during")).status_code != 202:
                await asyncio.sleep(0.1)
            while await replicas.deliver(replicas.other, "pushed") != 204:
                await asyncio.sleep(0.1)

        def followed() -> int:
            return sum(one.app.followed().get(AccountName("studio"), 0) for one in both)

        await until(lambda: followed() == 2, "one of them follows it")
        pages = [await one.scrape() for one in both]
        most = max(page.sum("vivix_generations_discovered_total", account="studio") for page in pages)
        assert most in (2, 3), "the delivery may still wait for its owner"


async def test_a_lease_that_a_lost_session_has_locked_is_taken_all_the_same(
    tmp_path: Path, at: Secret
) -> None:
    """As the server has it of a replica that was cut off in the middle of a message."""
    open_database(at, owner=True).close()
    rows(at, "INSERT INTO leases VALUES ('studio', 'lost', 1, 7)")
    with psycopg.connect(at.reveal()) as lost:
        lost.execute("UPDATE leases SET writes = 8 WHERE account = 'studio'")
        async with pair(tmp_path, at) as replicas:
            assert replicas.owner.app.followed() == {"studio": 0}
        with pytest.raises(psycopg.OperationalError):
            lost.commit()
    assert rows(at, "SELECT epoch FROM leases WHERE account = 'studio'") == [(2,)]


async def test_accounts_come_and_go_by_a_reload_of_all_replicas(tmp_path: Path, at: Secret) -> None:
    async with pair(tmp_path, at, lifecycle=True) as replicas:
        both = (replicas.owner, replicas.other)

        async def reload(names: set[str]) -> None:
            document["accounts"] = [one for one in everyone if one["name"] in names]
            replicas.path.write_text(yaml.safe_dump(document))
            for one in both:
                assert (await one.http.post(f"{one.url}/-/reload")).status_code == 200

        document = yaml.safe_load(replicas.path.read_text())
        everyone = [*document["accounts"], account(SHOP, document["accounts"][0]["base_url"])]

        def owned() -> list[str]:
            return sorted(name for one in both for name in one.app.followed())

        await reload({"studio", "lab", "shop"})
        await until(lambda: owned() == ["lab", "shop", "studio"], "the new one is followed by one of them")
        await reload({"lab", "shop"})
        await until(lambda: owned() == ["lab", "shop"], "the one that is gone is followed by none")
        await until(lambda: all(len(one.app.followed()) == 1 for one in both), "they share what is left")


async def test_a_replica_with_other_metrics_is_refused_with_status_2(tmp_path: Path, at: Secret) -> None:
    async with pair(tmp_path, at) as replicas:
        document = yaml.safe_load(replicas.path.read_text())
        document["metrics"] = {"duration_buckets": ["1s", "2s"]}
        (tmp_path / "other.yaml").write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "exporter", "run", "--web.listen-address", "127.0.0.1:0"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "--config.file", str(tmp_path / "other.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert "metrics.duration_buckets: this configuration differs from that of the replicas (2)" in done.stderr


async def test_pages_show_the_same_on_every_replica(tmp_path: Path, at: Secret) -> None:
    async with pair(tmp_path, at) as both:
        for id in ("first", "second"):
            assert await both.deliver(both.owner, id) == 204
        for path in ("/?status=completed", "/?account=studio", "/?q=irs", "/generations/second"):
            mine, theirs = [(await one.http.get(f"{one.url}{path}")) for one in (both.owner, both.other)]
            assert mine.status_code == theirs.status_code == 200
            assert without_times(mine.text) == without_times(theirs.text), path

        async with asyncio.timeout(60):
            while True:
                here, there = [
                    standings((await one.http.get(f"{one.url}/")).text) for one in (both.owner, both.other)
                ]
                assert here.keys() == there.keys() == {"studio", "lab"}
                assert here["studio"][-1] == there["lab"][-1] == "this replica"
                if all(here[name][:-1] == there[name][:-1] for name in here):
                    break
                await asyncio.sleep(0.05)
    assert "works" in there["studio"], "what its owner has found out"


def standings(page: str) -> dict[str, list[str]]:
    """What the first page says of each account, who owns it last."""
    rows = re.findall(r'<tr>\s*<th scope="row"><a [^>]*>([^<]*)</a></th>(.*?)</tr>', page, re.DOTALL)
    found = {name: re.sub(r"<[^>]*>", " ", cells).split("\n") for name, cells in rows}
    return {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in found.items()}


def without_times(page: str) -> str:
    """A page without how long ago something was, which depends on when it was drawn."""
    return re.sub(r"[0-9.]+ (s|min|h|d)( [0-9]+ (s|min|h))? ago", "", page)
