"""An exporter starts: what it reports, and what it waits for."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.account import Builder
from exporter.accounts import Accounts
from exporter.app import VERSION
from exporter.clock import SystemClock
from exporter.config import load_config
from exporter.domain.ledger import Ledger
from exporter.errors import StoreError
from exporter.heartbeat import Heartbeat
from exporter.metrics.instruments import Instruments
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.store import Store, open_database
from support.running import exporter, write_config

NOWHERE: dict[str, object] = {"name": "studio", "api_key": "vvx_live_x", "base_url": "http://127.0.0.1:9"}


async def test_it_reports_its_version_its_state_and_what_it_resumes(tmp_path: Path) -> None:
    api = SimulatedApi(World(1, [SimulatedAccount("studio", "vvx_live_x")]), SystemClock())
    async with serve(create_app(api)) as address:
        account = NOWHERE | {"base_url": address.url}
        polling = {"not_found_grace": "1d"}
        async with exporter(write_config(tmp_path, [account | {"generations": ["a", "b"]}], polling=polling)):
            pass
        more = write_config(tmp_path, [account | {"generations": ["a", "b", "c"]}], polling=polling)
        with capture_logs() as logs:
            async with exporter(more):
                pass
    [starting] = [line for line in logs if line["event"] == "starting"]
    assert starting["version"] == VERSION
    assert starting["state"] == str(tmp_path / "vivix-exporter.db")
    [following] = [line for line in logs if line["event"] == "following"]
    assert (following["accounts"], following["resumed"], following["generations"]) == (1, 2, 3)


async def test_an_account_is_followed_once_the_state_can_be_written(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, [NOWHERE | {"generations": ["a"]}]))
    clock, instruments, ledger = SystemClock(), Instruments(VERSION, "3"), Ledger((1,), 10, 10)
    store = Store(
        open_database(config.state_at, owner=True), ledger, clock, instruments, Heartbeat(clock), traced=False
    )
    builder = Builder(store, instruments, clock, Heartbeat(clock), VERSION)
    accounts = Accounts(store, instruments, builder)
    running = asyncio.create_task(store.run())
    with closing(sqlite3.connect(str(config.state_at), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.write(lambda tx: tx.prove_writable(0))
        async with asyncio.TaskGroup() as loops:
            starting = loops.create_task(accounts.start(config.accounts[0], config, loops))
            done, _ = await asyncio.wait({starting}, timeout=0.1)
            assert not done
            other.execute("ROLLBACK")
            assert await starting == 0
            [account] = accounts.followed.values()
            assert account.poller.follower.find(config.accounts[0].ids[0]) is not None
            # Everything that runs for it ends with the group.
            for task in asyncio.all_tasks() - {asyncio.current_task(), running}:
                task.cancel()
    running.cancel()
    await asyncio.wait({running})
    store.close()
