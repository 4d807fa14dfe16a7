"""Emptying the outbox: in order, once the receiver has it, and what a failure leads to."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import structlog

from exporter.clock import ScaledClock, SystemClock
from exporter.domain.ledger import Ledger
from exporter.domain.values import (
    AccountName,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.heartbeat import Heartbeat
from exporter.store import Database, Store, Transaction
from exporter.tracing.export import BATCH, SUSPECT, Delivery
from exporter.tracing.sender import Outcome, Sent
from exporter.tracing.spans import Trace, trace_of
from support.running import until

STUDIO = AccountName("studio")
S = 1_000_000
SPEED = 2_000.0


class Meter:
    def __init__(self) -> None:
        self.exported = 0
        self.failures = 0

    def spans_exported(self, spans: int) -> None:
        self.exported += spans

    def span_export_failed(self) -> None:
        self.failures += 1

    def store_write(self, seconds: float) -> None:
        pass

    def store_error(self) -> None:
        pass


class Receiver:
    """A sender whose receiver answers as `answer` says, given the ids of a batch."""

    def __init__(self) -> None:
        self.answer: Callable[[list[str]], Sent] = lambda ids: Sent(Outcome.EXPORTED)
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.unsampled: set[str] = set()
        self.stopped = False

    def send(self, traces: Sequence[Trace]) -> Sent:
        self.threads.add(threading.current_thread().name)
        ids = [str(trace.root.attributes["gen_ai.response.id"]) for trace in traces]
        self.batches.append(ids)
        sent = self.answer(ids)
        recorded = tuple(id not in self.unsampled for id in ids)
        return Sent(sent.outcome, sent.said, sent.retry_after, recorded)

    def stop(self) -> None:
        self.stopped = True

    @property
    def taken(self) -> list[str]:
        return [id for batch in self.batches for id in batch]


class Scene:
    """A store with an outbox, and a delivery that empties it while `running`."""

    def __init__(self, folder: Path) -> None:
        self.meter, self.receiver = Meter(), Receiver()
        self.arrived: list[Generation] = []
        self.clock = ScaledClock(SPEED, SystemClock().now_us())
        self.heartbeat = Heartbeat(SystemClock())
        self.store = Store(
            Database(folder / "state.db", owner=True),
            Ledger((S,), 100, 50),
            self.clock,
            self.meter,
            self.heartbeat,
            traced=True,
        )
        self.informed = True

    async def end(self, *ids: str, seconds: int = 0, processing: bool = False) -> None:
        """These end, the later ones a second after the earlier."""

        def unit(tx: Transaction) -> None:
            new = [NewGeneration(GenerationId(id)) for id in ids]
            tx.discover(STUDIO, Source.API, new, 0, listed=False)
            for place, id in enumerate(ids):
                created_us = (seconds + place) * S
                if processing:
                    tx.observe(STUDIO, GenerationId(id), self.look(Status.PROCESSING, created_us), None)
                tx.observe(STUDIO, GenerationId(id), self.look(Status.COMPLETED, created_us), None)

        await self.store.write(unit)

    @staticmethod
    def look(status: Status, created_us: int) -> Observation:
        return Observation(
            at_us=created_us + 10 * S,
            via=Via.POLL,
            status=status,
            status_text=status.value,
            model="m",
            created_us=created_us,
            duration_us=4 * S if status is Status.COMPLETED else None,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        delivery = Delivery(
            self.store,
            self.receiver,
            lambda due: trace_of(due.generation),
            lambda: self.informed,
            self.arrived.append,
            self.clock,
            self.heartbeat,
            self.meter,
            Random(1),
        )
        task = asyncio.create_task(delivery.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_empty(self) -> None:
        await until(lambda: self.store.spans_pending == 0, "everything is ticked off")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    one = Scene(tmp_path)
    store = asyncio.create_task(one.store.run())
    yield one
    store.cancel()
    await asyncio.gather(store, return_exceptions=True)
    one.store.close()


def ids(number: int, prefix: str = "g") -> list[str]:
    return [f"{prefix}{n:04}" for n in range(number)]


async def test_spans_go_in_the_order_of_the_ends_in_bounded_batches_and_once(scene: Scene) -> None:
    await scene.end(*ids(BATCH, "late"), seconds=1_000)
    await scene.end(*ids(BATCH, "early"), processing=True)
    assert scene.store.spans_pending == BATCH + 3 * BATCH
    async with scene.running():
        await scene.until_empty()
    assert scene.receiver.taken == [*ids(BATCH, "early"), *ids(BATCH, "late")]
    assert max(map(len, scene.receiver.batches)) == BATCH
    assert scene.meter.exported == 4 * BATCH
    assert [one.id for one in scene.arrived] == scene.receiver.taken
    assert threading.current_thread().name not in scene.receiver.threads
    assert scene.receiver.stopped


async def test_an_end_wakes_the_delivery(scene: Scene) -> None:
    async with scene.running():
        for id in ids(3):
            await scene.end(id)
            await scene.until_empty()
    assert scene.receiver.taken == ids(3)


@pytest.mark.parametrize("outcome", [Outcome.AWAY, Outcome.UNKNOWN])
async def test_while_nobody_answers_everything_stays_and_is_told_once(scene: Scene, outcome: Outcome) -> None:
    await scene.end(*ids(10))
    scene.receiver.answer = lambda batch: Sent(outcome, "Connection refused")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: scene.meter.failures >= SUSPECT + 6, "it is tried again and again")
            assert scene.store.spans_pending == 10
            assert scene.arrived == []
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
    assert {one.id for one in scene.arrived} == set(ids(10))
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "spans cannot be delivered; they wait in the state"),
        ("info", "spans are delivered again"),
    ]
    assert logs[0]["error"] == "Connection refused"


async def test_pauses_grow_and_a_longer_one_is_granted_where_asked_for(scene: Scene) -> None:
    await scene.end("g")
    times: list[float] = []

    def refuse(_batch: list[str]) -> Sent:
        times.append(scene.clock.monotonic())
        return Sent(Outcome.AWAY, "HTTP 429", 500.0 if len(times) == 5 else None)

    scene.receiver.answer = refuse
    async with scene.running():
        await until(lambda: len(times) == 6, "it is tried again")
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for least, pause in zip((0.5, 1.0, 2.0, 4.0, 500.0), pauses, strict=True):
        assert pause >= least


async def test_a_refused_generation_is_found_and_holds_up_no_other(scene: Scene) -> None:
    everyone = ids(BATCH)
    poison = {everyone[0], everyone[77]}
    await scene.end(*everyone)

    def picky(batch: list[str]) -> Sent:
        return Sent(Outcome.REFUSED, "HTTP 400") if poison & set(batch) else Sent(Outcome.EXPORTED)

    scene.receiver.answer = picky
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: scene.store.spans_pending == len(poison), "the others arrive")
            await scene.end("later", seconds=9_999)
            await until(lambda: "later" in {one.id for one in scene.arrived}, "new ones arrive")
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
    assert {one.id for one in scene.arrived} == {*everyone, "later"}
    assert {line["id"] for line in logs} == poison
    assert all(line["error"] == "HTTP 400" and len(line["trace_id"]) == 32 for line in logs)


async def test_where_everything_is_refused_the_log_does_not_tell_of_each(scene: Scene) -> None:
    await scene.end(*ids(30))
    scene.receiver.answer = lambda batch: Sent(Outcome.REFUSED, "HTTP 400")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: scene.meter.failures > 20, "it is tried again and again")
            assert scene.store.spans_pending == 30
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
    assert 2 < len(logs) <= SUSPECT + 2
    assert [line["event"] for line in logs[-2:]] == [
        "spans cannot be delivered; they wait in the state",
        "spans are delivered again",
    ]


async def test_a_generation_that_fails_without_a_reason_holds_up_no_other_for_ever(scene: Scene) -> None:
    everyone = ids(8)
    await scene.end(*everyone)

    def silent(batch: list[str]) -> Sent:
        return Sent(Outcome.UNKNOWN) if everyone[0] in batch else Sent(Outcome.EXPORTED)

    scene.receiver.answer = silent
    async with scene.running():
        await until(lambda: scene.store.spans_pending == 1, "the others arrive")
    assert {one.id for one in scene.arrived} == set(everyone[1:])


async def test_what_the_sampler_does_not_want_is_ticked_off_and_not_counted(scene: Scene) -> None:
    await scene.end(*ids(3))
    scene.receiver.unsampled = {"g0001"}
    async with scene.running():
        await scene.until_empty()
    assert scene.meter.exported == 2
    assert [one.id for one in scene.arrived] == ["g0000", "g0002"]


async def test_a_slow_receiver_keeps_neither_the_heart_nor_the_store_from_beating(scene: Scene) -> None:
    release = threading.Event()

    def slow(_batch: list[str]) -> Sent:
        release.wait(60)
        return Sent(Outcome.EXPORTED)

    scene.receiver.answer = slow
    async with scene.running():
        await scene.end("g")
        await until(lambda: len(scene.receiver.batches) == 1, "a batch is under way")
        await scene.end(*ids(5))
        assert scene.heartbeat.stalled() == []
        release.set()
        await scene.until_empty()


async def test_stopping_waits_for_the_batch_under_way_and_takes_a_last_one_along(scene: Scene) -> None:
    release = threading.Event()

    def slow(_batch: list[str]) -> Sent:
        release.wait(60)
        return Sent(Outcome.EXPORTED)

    scene.receiver.answer = slow
    await scene.end("g")
    async with scene.running():
        await until(lambda: len(scene.receiver.batches) == 1, "a batch is under way")
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert [one.id for one in scene.arrived] == ["g"]
    assert scene.store.spans_pending == 0


async def test_the_first_batch_waits_for_what_describes_it_but_not_for_ever(scene: Scene) -> None:
    scene.informed = False
    await scene.end("g")
    started = scene.clock.monotonic()
    async with scene.running():
        await scene.until_empty()
    assert scene.clock.monotonic() - started >= 10.0


async def test_a_restart_goes_on_where_the_last_process_stopped(scene: Scene, tmp_path: Path) -> None:
    await scene.end(*ids(4), processing=True)
    fresh = Database(tmp_path / "state.db", owner=False)
    with fresh.begin() as connection:
        assert Transaction(connection, Ledger((), 1, 1), traced=True).count_due_spans() == 12
    fresh.close()
