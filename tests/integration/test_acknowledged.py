"""What was acknowledged is never lost, whatever happens right after."""

import asyncio
import json
import uuid
from pathlib import Path

import httpx
import pytest

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from support.running import PATIENCE, Process, start_process, write_config
from support.states import state_section

ROUNDS = (50, 25)
"""On SQLite and on PostgreSQL."""
SECRET, TOKEN = "whsec_of_the_tests", "let-me-register"
STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}")


def delivery(id: str) -> bytes:
    return json.dumps(
        {"generation_id": id, "status": "completed", "model": "m", "credits_charged": 3, "duration_ms": 5}
    ).encode()


async def known(running: Process) -> dict[str, str]:
    """The status of every generation that the exporter shows."""
    answer = await running.http.get(f"{running.url}/api/v1/generations", params={"limit": 1000})
    return {one["id"]: one["status"] for one in answer.json()["generations"]}


@pytest.mark.long(45)
async def test_killed_right_after_each_acknowledgement_nothing_acknowledged_is_lost(
    tmp_path: Path, state_at: Path | Secret
) -> None:
    shared = isinstance(state_at, Secret)
    rounds = ROUNDS[shared]
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "token").write_text(TOKEN)
    now_us = SystemClock().now_us()
    registered: list[str] = []
    delivered: list[str] = []
    async with (
        serve(create_app(SimulatedApi(World(1, [STUDIO]), SystemClock()))) as address,
        httpx.AsyncClient(timeout=60) as http,
    ):
        account: dict[str, object] = {"name": "studio", "api_key": STUDIO.key, "base_url": address.url}
        path = write_config(
            tmp_path,
            [account | {"webhook_secret_file": "secret"}],
            web={"registration_token_file": "token"},
            polling={"not_found_grace": "1d"},
            state=state_section(state_at),
        )
        for number in range(rounds):
            running = await start_process(path, http, 1.0, now_us)
            await running.ready()

            async def register(url: str, id: str) -> None:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                body = {"generations": [{"id": id}]}
                answer = await http.post(f"{url}/api/v1/generations", json=body, headers=headers)
                assert answer.status_code == 202
                registered.append(id)

            async def deliver(url: str, id: str) -> None:
                body = delivery(id)
                headers = {"X-Vivix-Signature": signature(SECRET, body)}
                answer = await http.post(f"{url}/webhooks/studio", content=body, headers=headers)
                assert answer.status_code == 204
                delivered.append(id)

            # The one that is answered first may find the other one under way.
            under_way = [
                asyncio.ensure_future(report(running.url, str(uuid.uuid4())))
                for report in ((register, deliver) if number % 2 else (deliver, register))
            ]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            await running.kill()
            for outcome in await asyncio.gather(*under_way, return_exceptions=True):
                assert outcome is None or isinstance(outcome, httpx.TransportError), outcome
        running = await start_process(path, http, 1.0, now_us)
        try:
            await running.ready()
            async with asyncio.timeout(PATIENCE):
                # What was acknowledged before anybody owned the account waits for its owner.
                while shared and not {*registered, *delivered} <= (await known(running)).keys():
                    await asyncio.sleep(0.05)
            status = await known(running)
            page = await running.scrape()
        finally:
            await running.kill()
    assert len(registered) + len(delivered) >= rounds
    assert all(status[id] == "unseen" for id in registered)
    assert all(status[id] == "completed" for id in delivered)
    ended = sum(one == "completed" for one in status.values())
    assert page.sum("vivix_generations_total") == ended
    assert page.sum("vivix_credits_used_total") == 3 * ended
