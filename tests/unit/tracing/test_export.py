"""Emptying the outbox: in order, once the receiver has it, and what a failure leads to."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import structlog

from exporter.clock import ScaledClock, SystemClock
from exporter.config import Secret
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
from exporter.store import Store, Transaction, open_database
from exporter.tracing.export import BATCH, LINGER, RETRY_FAILURES, SUSPECT, SpanExport
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


class Clock(ScaledClock):
    """Simulated time that remembers the pauses."""

    def __init__(self) -> None:
        super().__init__(SPEED, SystemClock().now_us())
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await super().sleep(seconds)


def refusing(poison: Collection[str]) -> Callable[[list[str]], Sent]:
    """What a collector answers that refuses these generations."""
    return lambda batch: Sent(Outcome.REFUSED, "HTTP 400") if {*poison} & {*batch} else Sent(Outcome.EXPORTED)


class Scene:
    """A store with an outbox, and an export that empties it while `running`."""

    def __init__(self, at: Path | Secret) -> None:
        self.meter, self.receiver = Meter(), Receiver()
        self.arrived: list[Generation] = []
        self.clock = Clock()
        self.heartbeat = Heartbeat(SystemClock())
        self.store = Store(
            open_database(at, owner=True),
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
        export = SpanExport(
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
        task = asyncio.create_task(export.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def asked_for(self, some: Collection[str]) -> int:
        """How many requests held one of these alone."""
        return sum(len(batch) == 1 and batch[0] in some for batch in self.receiver.batches)

    async def until_empty(self) -> None:
        await until(lambda: self.store.spans_pending == 0, "everything is marked as exported")


@pytest.fixture
async def scene(state_at: Path | Secret) -> AsyncIterator[Scene]:
    one = Scene(state_at)
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


async def test_an_end_wakes_the_export(scene: Scene) -> None:
    async with scene.running():
        for id in ids(3):
            await scene.end(id)
            await scene.until_empty()
    assert scene.receiver.taken == ids(3)


OUTAGE = [
    ("warning", "spans cannot be exported; they wait in the state"),
    ("info", "spans are exported again"),
]


REFUSALS = [
    (
        "warning",
        "spans of some generations are not accepted; they are kept and retried apart from the others",
    ),
    ("info", "all spans are accepted again"),
]


def told(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object]]:
    """Level and text of what was logged."""
    return [(line["log_level"], line["event"]) for line in logs]


@pytest.mark.parametrize("outcome", [Outcome.AWAY, Outcome.UNKNOWN])
async def test_while_nobody_answers_everything_stays_and_that_is_logged_once(
    scene: Scene, outcome: Outcome
) -> None:
    await scene.end(*ids(10))
    scene.receiver.answer = lambda batch: Sent(outcome, "Connection refused")
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: scene.meter.failures >= SUSPECT + 6, "it is tried again and again")
            assert scene.store.spans_pending == 10
            assert scene.arrived == []
            failed = scene.meter.failures
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
    assert {one.id for one in scene.arrived} == set(ids(10))
    assert [line for line in told(logs) if line not in REFUSALS] == OUTAGE
    [error] = {line["error"] for line in logs if "error" in line}
    assert error == "Connection refused"
    assert failed <= next(line["failed_attempts"] for line in logs if "failed_attempts" in line) <= failed + 1


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


async def test_refused_generations_are_found_without_a_pause_and_logged_once(scene: Scene) -> None:
    everyone = ids(BATCH)
    poison = {everyone[0], everyone[77]}
    await scene.end(*everyone)
    scene.receiver.answer = refusing(poison)
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: scene.store.spans_pending == len(poison), "the others arrive")
            assert scene.clock.pauses == []
            await scene.end("later", seconds=9_999)
            await until(lambda: "later" in {one.id for one in scene.arrived}, "new ones arrive")
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
            await until(lambda: len(logs) == 2, "the end is logged")
    assert {one.id for one in scene.arrived} == {*everyone, "later"}
    assert told(logs) == REFUSALS
    assert (logs[0]["id"], logs[0]["error"], len(logs[0]["trace_id"])) == (everyone[0], "HTTP 400", 32)
    assert [line["generations"] for line in logs] == [2, 2]


@pytest.mark.parametrize(("refused", "good"), [(20, 5), (1_000, 300)])
async def test_those_behind_any_number_of_refused_ones_do_not_wait_for_them(
    scene: Scene, refused: int, good: int
) -> None:
    poison = set(ids(refused, "bad"))
    await scene.end(*ids(refused, "bad"))
    await scene.end(*ids(good), seconds=refused)
    scene.receiver.answer = refusing(poison)
    async with scene.running():
        await until(lambda: len(scene.arrived) == good, "the good ones arrive")
    assert set(scene.clock.pauses) <= {LINGER}
    assert scene.store.spans_pending == refused


async def test_every_second_of_three_hundred_refused_holds_up_none_of_the_others(scene: Scene) -> None:
    everyone = ids(300)
    scene.receiver.answer = refusing(everyone[::2])
    await scene.end(*everyone)
    async with scene.running():
        await until(lambda: len(scene.arrived) == 150, "the good ones arrive")
        assert scene.clock.pauses == []
    assert [one.id for one in scene.arrived] == everyone[1::2]
    assert scene.meter.failures == sum(bool({*everyone[::2]} & {*batch}) for batch in scene.receiver.batches)
    assert scene.meter.exported == 150


async def test_retries_take_turns_with_batches_that_were_never_refused(scene: Scene) -> None:
    old, new = ids(100, "old"), ids(100, "new")
    scene.receiver.answer = refusing(old)
    await scene.end(*old)
    release = threading.Event()

    def hold(batch: list[str]) -> Sent:
        release.wait(60)
        return refusing(old)(batch)

    async with scene.running():
        await until(lambda: scene.asked_for(old) >= 100, "all were refused")
        scene.receiver.answer = hold
        tried = len(scene.receiver.batches)
        await until(lambda: len(scene.receiver.batches) > tried, "retries are under way")
        await scene.end(*new, seconds=200)
        tried = len(scene.receiver.batches)
        release.set()
        await until(lambda: len(scene.arrived) == 100, "the new ones arrive")
        [first] = [n for n, batch in enumerate(scene.receiver.batches) if "new0000" in batch]
    assert first - tried <= RETRY_FAILURES


async def test_a_restart_leaves_aside_what_was_refused_and_says_so(scene: Scene) -> None:
    await scene.end(*ids(3))
    scene.receiver.answer = refusing(ids(3))
    async with scene.running():
        while await scene.store.read(lambda reading: reading.count_spans_set_aside()) < 3:
            await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        async with scene.running():
            await until(lambda: bool(logs), "it is logged")
            scene.receiver.answer = lambda batch: Sent(Outcome.EXPORTED)
            await scene.until_empty()
            await until(lambda: len(logs) == 2, "the end is logged")
    assert [line["generations"] for line in logs] == [3, 3]


async def test_a_generation_that_fails_without_a_reason_holds_up_no_other_for_ever(scene: Scene) -> None:
    everyone = ids(8)
    await scene.end(*everyone)

    def silent(batch: list[str]) -> Sent:
        return Sent(Outcome.UNKNOWN) if everyone[0] in batch else Sent(Outcome.EXPORTED)

    scene.receiver.answer = silent
    async with scene.running():
        await until(lambda: scene.store.spans_pending == 1, "the others arrive")
    assert {one.id for one in scene.arrived} == set(everyone[1:])


async def test_what_the_sampler_does_not_want_is_marked_as_exported_and_not_counted(scene: Scene) -> None:
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


async def test_a_restart_goes_on_where_the_last_process_stopped(
    scene: Scene, state_at: Path | Secret
) -> None:
    await scene.end(*ids(4), processing=True)
    fresh = open_database(state_at, owner=False)
    with fresh.begin() as connection:
        assert Transaction(connection, Ledger((), 1, 1), traced=True).count_due_spans().total() == 12
    fresh.close()
