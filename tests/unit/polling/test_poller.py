"""What the poller does where something else was faster than its poll."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path

from exporter.clock import SystemClock
from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName, GenerationId, Observation, Source, Status, Via
from exporter.heartbeat import Heartbeat
from exporter.metrics.instruments import Instruments
from exporter.polling.account_info import AccountInfo
from exporter.polling.backoff import Backoff
from exporter.polling.budget import Budget
from exporter.polling.cadence import Cadence
from exporter.polling.follower import Follower
from exporter.polling.poller import Poller
from exporter.polling.relisting import Listed
from exporter.polling.terms import Terms
from exporter.polling.webhook_trust import WebhookTrust
from exporter.store import Store, open_database
from exporter.vivix.client import Client, Reply
from exporter.vivix.payload import Plan

STUDIO, G = AccountName("studio"), GenerationId("g")
PLAN = Plan("pro", 1.0, 1.0, 1.0, 1, 240, 5)


class SlowClient(Client):
    """An API by which every generation is queued, once the test lets it answer."""

    def __init__(self, answer: asyncio.Event) -> None:
        super().__init__(STUDIO, "http://127.0.0.1:9", 1.0, SystemClock(), Instruments("0", "3"), "0")
        self.answer = answer
        self.asked = asyncio.Event()

    async def generation(self, id: GenerationId) -> Reply[Observation]:
        self.asked.set()
        await self.answer.wait()
        now_us = SystemClock().now_us()
        return Reply(Observation(now_us, Via.POLL, Status.PENDING, "pending", "m", now_us), None, None)

    async def plan(self) -> Reply[Plan]:
        return Reply(PLAN, None, None)


async def test_an_id_that_leaves_the_list_while_its_answer_is_stored_is_let_go(tmp_path: Path) -> None:
    clock = SystemClock()
    heartbeat, meter = Heartbeat(clock), Instruments("0", "3")
    database = open_database(tmp_path / "state.db", owner=True)
    store = Store(database, Ledger((1,), 10, 10), clock, meter, heartbeat, traced=False)
    follower = Follower(STUDIO, store, Cadence(2, 0.5, 60, 10), clock, meter, WebhookTrust(configured=False))
    answer = asyncio.Event()
    client = SlowClient(answer)
    poller = Poller(
        follower=follower,
        store=store,
        client=client,
        budget=Budget(240, 1.0),
        backoff=Backoff(random.Random(1)),
        account_info=AccountInfo(),
        clock=clock,
        heartbeat=heartbeat,
        terms=Terms(lambda: "key", 1.0, 240, 1_000_000, 1_000_000, 1),
    )
    storing = asyncio.create_task(store.run())
    await follower.list({G: Listed(Source.CONFIG)}, whole=True)
    polling = asyncio.create_task(poller.run())
    await client.asked.wait()
    # Both wait for the same transaction, the list first.
    listing = asyncio.create_task(follower.list({}, whole=True))
    await asyncio.sleep(0)
    answer.set()
    await listing
    poller.drain()
    await polling
    assert follower.find(G) is None
    assert len(follower.schedule) == 0
    storing.cancel()
    with suppress(asyncio.CancelledError):
        await storing
    store.close()
