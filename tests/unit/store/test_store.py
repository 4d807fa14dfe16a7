"""The store on real databases: once is once, what was acknowledged stays, a wrong file is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.domain.ledger import VALUE, Family, Ledger
from exporter.domain.values import (
    AccountName,
    DropReason,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Phase,
    Source,
    Status,
    Via,
)
from exporter.errors import StateUnusableError, StoreError
from exporter.heartbeat import Heartbeat
from exporter.store import Store, Transaction, open_database
from exporter.store.lists import Filter, Place
from exporter.store.reading import DueSpans, Reading
from support.states import contents, rows

STUDIO = AccountName("studio")
G = GenerationId("g")
S = 1_000_000
BOUNDS = (1 * S, 5 * S)


class Meter:
    def __init__(self) -> None:
        self.writes = 0
        self.errors = 0

    def store_write(self, seconds: float) -> None:
        self.writes += 1

    def store_error(self) -> None:
        self.errors += 1


class Opened:
    """A running store with its ledger and meter."""

    def __init__(
        self,
        at: Path | Secret,
        *,
        traced: bool = True,
        keeps_output_urls: bool = False,
        bounds_us: tuple[int, ...] = BOUNDS,
    ) -> None:
        self.ledger = Ledger(bounds_us, 100, 50)
        self.meter = Meter()
        self.database = open_database(at, owner=True)
        self.restarted = self.database.restart_histograms(bounds_us)
        clock = SystemClock()
        self.store = Store(
            self.database,
            self.ledger,
            clock,
            self.meter,
            Heartbeat(clock),
            traced=traced,
            keeps_output_urls=keeps_output_urls,
        )

    async def reload(self) -> None:
        held = await self.store.write(lambda tx: (list(tx.totals(STUDIO)), list(tx.admissions(STUDIO))))
        self.ledger.load(STUDIO, *held)

    def counters(self, family: Family) -> dict[tuple[str, ...], int]:
        return {series.labels: cells[VALUE] for series, cells in self.ledger.series(STUDIO, family)}


Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def open_store(state_at: Path | Secret) -> Open:
    @asynccontextmanager
    async def opened(**options: object) -> AsyncIterator[Opened]:
        state = Opened(state_at, **options)  # type: ignore[arg-type]
        running = asyncio.create_task(state.store.run())
        try:
            await state.reload()
            yield state
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            state.store.close()

    return opened


def discover(
    *ids: str, listed: bool = False, at_us: int = 0
) -> Callable[[Transaction], Sequence[Generation]]:
    new = [NewGeneration(GenerationId(id)) for id in ids]
    return lambda tx: tx.discover(STUDIO, Source.CONFIG, new, at_us, listed=listed).new


def look(status: Status, at_us: int = 20 * S) -> Observation:
    ended = status.ended
    return Observation(
        at_us=at_us,
        via=Via.POLL,
        status=status,
        status_text=status.value,
        model="m",
        created_us=10 * S,
        completed_us=14 * S if ended else None,
        duration_us=4 * S if status is Status.COMPLETED else None,
        credits_used_micro=211 * S if status is Status.COMPLETED else 0,
        outputs=1,
        reason="PROVIDER_ERROR" if status is Status.FAILED else None,
    )


def observe(observation: Observation, id: GenerationId = G) -> Callable[[Transaction], object]:
    return lambda tx: tx.observe(STUDIO, id, observation, None)


async def test_an_id_is_discovered_once_however_often_it_is_registered(open_store: Open) -> None:
    async with open_store() as state:
        first = await state.store.write(discover("a", "b"))
        second = await state.store.write(discover("b", "c", "c"))
    assert [g.id for g in first] == ["a", "b"]
    assert [g.id for g in second] == ["c"]
    assert state.counters(Family.DISCOVERED) == {("config",): 3}


async def test_an_end_is_counted_once_however_often_it_is_reported(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        for status in (Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.PROCESSING):
            await state.store.write(observe(look(status)))
    assert state.counters(Family.GENERATIONS) == {("m", "completed"): 1}
    assert state.counters(Family.CREDITS) == {("m",): 211 * S}


def drop(at_us: int, id: GenerationId = G) -> Callable[[Transaction], object]:
    def dropping(tx: Transaction) -> object:
        stored = tx.find(STUDIO, id)
        assert stored is not None
        return tx.drop(stored, DropReason.GAVE_UP, at_us, "still processing")

    return dropping


def phase(id: GenerationId = G) -> Callable[[Transaction], Phase]:
    def of(tx: Transaction) -> Phase:
        found = tx.find(STUDIO, id)
        assert found is not None
        return found.phase

    return of


async def test_a_dropped_id_that_is_registered_again_is_open_and_dropped_once_in_the_totals(
    open_store: Open,
) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        for round in range(1, 4):
            await state.store.write(drop(round * S))
            assert await state.store.write(phase()) is Phase.DROPPED
            entered = await state.store.write(
                lambda tx: tx.discover(STUDIO, Source.API, [NewGeneration(G)], 9 * S, listed=False)
            )
            assert (list(entered.new), [g.id for g in entered.open]) == ([], [G])
            assert await state.store.write(phase()) is Phase.UNSEEN
        await state.store.write(observe(look(Status.COMPLETED)))
        again = await state.store.write(
            lambda tx: tx.discover(STUDIO, Source.API, [NewGeneration(G)], 30 * S, listed=False)
        )
        history = await state.store.read(lambda reading: reading.history(STUDIO, G))
    assert (again.new, again.open) == ([], [])
    assert state.counters(Family.DROPPED) == {("gave_up",): 1}
    assert state.counters(Family.DISCOVERED) == {("config",): 1}
    assert state.counters(Family.GENERATIONS) == {("m", "completed"): 1}
    assert [line.said for line in history].count("registered again") == 3


async def test_a_dropped_id_is_reopened_by_being_listed_anew_and_not_by_staying_listed(
    open_store: Open,
) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", listed=True))
        await state.store.write(drop(S))
        await state.store.write(discover("g", listed=True))
        assert await state.store.write(phase()) is Phase.DROPPED
        await state.store.write(lambda tx: tx.unlist(STUDIO, [G], 2 * S))
        await state.store.write(discover("g", listed=True))
        assert await state.store.write(phase()) is Phase.UNSEEN


async def test_the_span_of_a_drop_no_longer_waits_once_the_generation_is_reopened(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.PROCESSING)))
        await state.store.write(drop(21 * S))
        spans = state.store.spans_pending
        await state.store.write(discover("g"))
        assert (spans, state.store.spans_pending) == (3, 0)
        assert await state.store.read(lambda reading: reading.due_spans(9)) == []
        await state.store.write(drop(22 * S))
        [due] = await state.store.read(lambda reading: reading.due_spans(9))
    assert due.generation.ended_us == 22 * S
    assert state.store.spans_pending == 3


async def test_a_trace_context_joined_while_its_span_is_exported_makes_it_due_again(open_store: Open) -> None:
    joining = [NewGeneration(G, "context")]
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
        under_way = await state.store.read(lambda reading: reading.due_spans(9))
        await state.store.write(lambda tx: tx.discover(STUDIO, Source.API, joining, 30 * S, listed=False))
        await state.store.write(lambda tx: tx.outbox.mark_exported(under_way))
        [due] = await state.store.read(lambda reading: reading.due_spans(9))
        await state.store.write(lambda tx: tx.outbox.mark_exported([due]))
    assert due.generation.traceparent == "context"
    assert state.store.spans_pending == 0


async def test_a_trace_context_that_comes_after_the_export_is_not_taken_up(open_store: Open) -> None:
    joining = [NewGeneration(G, "context")]
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
        due = await state.store.read(lambda reading: reading.due_spans(9))
        await state.store.write(lambda tx: tx.outbox.mark_exported(due))
        await state.store.write(lambda tx: tx.discover(STUDIO, Source.API, joining, 30 * S, listed=False))
        found = await state.store.read(lambda reading: reading.find(STUDIO, G))
    assert found is not None
    assert found.traceparent is None


async def test_totals_are_the_same_after_a_restart(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", "h"))
        await state.store.write(observe(look(Status.PROCESSING)))
        await state.store.write(observe(look(Status.COMPLETED)))
        await state.store.write(observe(look(Status.FAILED), GenerationId("h")))
        before = {family: list(state.ledger.series(STUDIO, family)) for family in Family}
    async with open_store() as state:
        after = {family: list(state.ledger.series(STUDIO, family)) for family in Family}
        await state.store.write(observe(look(Status.COMPLETED)))
        unchanged = {family: list(state.ledger.series(STUDIO, family)) for family in Family}
    for family in Family:
        assert sorted(after[family], key=str) == sorted(before[family], key=str)
    assert unchanged == after


async def test_a_generation_comes_back_as_it_was_stored(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", listed=True))
        seen = await state.store.write(lambda tx: tx.observe(STUDIO, G, look(Status.PROCESSING), None))
    async with open_store() as state:
        followed = await state.store.write(lambda tx: tx.followed(STUDIO))
        ended = await state.store.write(lambda tx: tx.observe(STUDIO, G, look(Status.FAILED, 30 * S), None))
        found = await state.store.write(lambda tx: tx.find(STUDIO, G))
    assert followed == [seen.generation]
    assert found == ended.generation


async def test_only_what_needs_following_is_followed_after_a_restart(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", "dropped", "followed", listed=True))
        await state.store.write(discover("removed", listed=True))
        await state.store.write(lambda tx: tx.unlist(STUDIO, [GenerationId("removed")], 0))
        await state.store.write(observe(look(Status.COMPLETED)))
        found = await state.store.write(lambda tx: tx.find(STUDIO, GenerationId("dropped")))
        assert found is not None
        await state.store.write(lambda tx: tx.drop(found, DropReason.NOT_YOURS, 9, "NOT_YOURS"))
    async with open_store() as state:
        followed = await state.store.write(lambda tx: tx.followed(STUDIO))
    assert [g.id for g in followed] == ["followed"]
    assert state.counters(Family.DROPPED) == {("not_yours",): 1}


async def test_polls_that_only_memory_knows_are_kept_with_the_next_write(open_store: Open) -> None:
    async with open_store() as state:
        [new] = await state.store.write(discover("g"))
        seen = await state.store.write(lambda tx: tx.observe(STUDIO, G, look(Status.PENDING), new))
        known = replace(seen.generation, polls=7)
        after = await state.store.write(
            lambda tx: tx.observe(STUDIO, G, look(Status.COMPLETED, 30 * S), known)
        )
    assert after.generation.polls == 8


async def test_the_history_holds_what_was_reported_and_what_was_counted(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.PROCESSING)))
        await state.store.write(observe(look(Status.FAILED, 30 * S)))
        history = await state.store.write(lambda tx: tx.history(STUDIO, G))
    assert [(line.said, line.counted) for line in history] == [
        ("processing, model m", "queue of m: 10.000 s"),
        (
            "failed, model m, reason PROVIDER_ERROR",
            "failed of m, 4.000 s, 0 credits, 0 outputs, reason PROVIDER_ERROR",
        ),
    ]


async def test_pruning_forgets_old_generations_and_leaves_the_counters(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("g", "young"))
        await state.store.write(discover("listed", listed=True))
        for id in ("g", "listed"):
            await state.store.write(observe(look(Status.COMPLETED), GenerationId(id)))
        await state.store.write(observe(look(Status.COMPLETED, at_us=99 * S), GenerationId("young")))
        gone = await state.store.write(lambda tx: tx.prune(50 * S, 10))
        left = [await state.store.write(lambda tx, i=i: tx.find(STUDIO, i)) for i in (G, "young", "listed")]  # type: ignore[misc]
        history = await state.store.write(lambda tx: tx.history(STUDIO, G))
    assert gone == 1
    assert [found is not None for found in left] == [False, True, True]
    assert history == []
    async with open_store() as state:
        assert state.counters(Family.GENERATIONS) == {("m", "completed"): 3}


async def test_a_generation_whose_span_is_due_is_not_forgotten(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
        assert await state.store.write(lambda tx: tx.prune(50 * S, 10)) == 0
        due = await state.store.write(lambda tx: tx.due_spans(10))
        assert [one.generation.id for one in due] == ["g"]
        await state.store.write(lambda tx: tx.outbox.mark_exported(due))
        assert await state.store.write(lambda tx: tx.count_due_spans().total()) == 0
        assert await state.store.write(lambda tx: tx.prune(50 * S, 10)) == 1


async def test_spans_are_counted_as_they_become_due_and_arrive_and_after_a_restart(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", "h"))
        await state.store.write(observe(look(Status.PROCESSING)))
        assert not state.store.spans_due.is_set()
        await state.store.write(observe(look(Status.COMPLETED)))
        await state.store.write(observe(look(Status.FAILED), GenerationId("h")))
        assert state.store.spans_due.is_set()
        assert state.store.spans_pending == 3 + 1
    async with open_store() as state:
        assert state.store.spans_pending == 3 + 1
        [due, _] = await state.store.write(lambda tx: tx.due_spans(10))
        await state.store.write(lambda tx: tx.outbox.mark_exported([due, due]))
        assert (due.generation.id, state.store.spans_pending) == ("g", 1)


async def test_an_end_that_is_seen_while_the_drop_s_span_is_exported_is_exported_too(
    open_store: Open,
) -> None:
    async with open_store() as state:
        [generation] = await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.PENDING)))
        await state.store.write(lambda tx: tx.drop(generation, DropReason.GAVE_UP, 30 * S, "still pending"))
        under_way = await state.store.write(lambda tx: tx.due_spans(10))
        await state.store.write(observe(look(Status.COMPLETED, 40 * S)))
        await state.store.write(lambda tx: tx.outbox.mark_exported(under_way))
        [due] = await state.store.write(lambda tx: tx.due_spans(10))
        assert due.generation.end is not None
        assert state.store.spans_pending == 1
        await state.store.write(lambda tx: tx.outbox.mark_exported([due]))
        assert state.store.spans_pending == 0


async def test_spans_that_are_set_aside_are_due_again_in_time_and_in_nobody_s_way_until_then(
    open_store: Open,
) -> None:
    async with open_store() as state:
        await state.store.write(discover("g", "h"))
        await state.store.write(observe(look(Status.COMPLETED)))
        await state.store.write(observe(look(Status.COMPLETED), GenerationId("h")))
        due = await state.store.write(lambda tx: tx.due_spans(10))
        times = [(one, at_us) for one, at_us in zip(due, (90 * S, 70 * S), strict=True)]
        await state.store.write(lambda tx: tx.outbox.set_aside(times))
        assert state.store.spans_pending == 2
    async with open_store() as state:
        assert state.store.spans_pending == 2
        assert await state.store.read(lambda reading: reading.due_spans(10)) == []
        assert await state.store.read(lambda reading: reading.count_spans_set_aside()) == 2
        retried = [
            [one.generation.id for one in await state.store.read(partial(spans_to_retry, at_us))]
            for at_us in (69 * S, 70 * S, 90 * S, 10 * S)
        ]
        assert retried == [[], ["h"], ["h", "g"], ["h", "g"]], "the last by a clock that has stepped back"
        again = await state.store.read(partial(spans_to_retry, 90 * S))
        assert all(one.is_set_aside for one in again)
        await state.store.write(lambda tx: tx.outbox.mark_exported(again))
        assert state.store.spans_pending == 0


def spans_to_retry(now_us: int, reading: Reading) -> list[DueSpans]:
    return reading.spans_to_retry(now_us, 50 * S, 10)


async def test_an_end_that_is_seen_after_the_drop_s_span_was_refused_is_not_set_aside(
    open_store: Open,
) -> None:
    async with open_store() as state:
        [generation] = await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.PENDING)))
        await state.store.write(lambda tx: tx.drop(generation, DropReason.GAVE_UP, 30 * S, "still pending"))
        [refused] = await state.store.write(lambda tx: tx.due_spans(10))
        await state.store.write(observe(look(Status.COMPLETED, 40 * S)))
        await state.store.write(lambda tx: tx.outbox.set_aside([(refused, 90 * S)]))
        [due] = await state.store.write(lambda tx: tx.due_spans(10))
        assert due.generation.end is not None


@pytest.mark.parametrize("asked_for", [True, False])
async def test_output_urls_are_kept_on_request_and_as_long_as_a_span_waits(
    open_store: Open, state_at: Path | Secret, asked_for: bool
) -> None:
    url = "https://pub.example/secret.jpg"

    def written() -> bool:
        return url in str(contents(state_at))

    async with open_store(keeps_output_urls=asked_for) as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(replace(look(Status.COMPLETED), output_urls=(url,))))
        [due] = await state.store.write(lambda tx: tx.due_spans(10))
        assert due.output_urls == ((url,) if asked_for else ())
        assert written() == asked_for
        assert url not in repr(due)
        await state.store.write(lambda tx: tx.outbox.mark_exported([due]))
        assert not written()


async def test_spans_left_by_an_earlier_configuration_wait_and_go_with_their_generation(
    open_store: Open,
) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
    async with open_store(traced=False) as state:
        assert state.store.spans_pending == 0
        assert await state.store.write(lambda tx: tx.count_due_spans().total()) == 1
        assert await state.store.write(lambda tx: tx.prune(50 * S, 10)) == 1
        assert await state.store.write(lambda tx: tx.count_due_spans().total()) == 0


async def test_without_tracing_no_span_piles_up(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
        assert await state.store.write(lambda tx: tx.count_due_spans().total()) == 0


async def test_an_id_that_left_the_configuration_is_no_longer_listed(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("stays", "goes", listed=True))
        await state.store.write(lambda tx: tx.unlist(STUDIO, [GenerationId("goes")], 0))
        assert [g.id for g in await state.store.write(lambda tx: tx.followed(STUDIO))] == ["stays"]
        await state.store.write(discover("goes", listed=True))
        followed = await state.store.write(lambda tx: tx.followed(STUDIO))
        assert sorted(g.id for g in followed) == ["goes", "stays"]


async def test_an_id_that_is_also_registered_is_followed_when_it_is_no_longer_listed(
    open_store: Open,
) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("g", listed=True))
        assert await state.store.write(discover("g")) == []
        assert await state.store.write(lambda tx: tx.unlist(STUDIO, [G], 0)) == {G}
        assert [g.id for g in await state.store.write(lambda tx: tx.followed(STUDIO))] == [G]


async def test_an_open_id_that_is_registered_again_is_returned_and_an_ended_one_is_not(
    open_store: Open,
) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("g", "open"))
        await state.store.write(observe(look(Status.COMPLETED)))
        new = [NewGeneration(GenerationId(id)) for id in ("g", "open", "new")]
        entered = await state.store.write(lambda tx: tx.discover(STUDIO, Source.API, new, 5, listed=False))
    assert [g.id for g in entered.new] == ["new"]
    assert [g.id for g in entered.open] == ["open"]


async def test_the_first_trace_context_that_comes_with_an_id_is_kept(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("g"))
        for traceparent in ("first", "second"):
            again = [NewGeneration(G, traceparent)]
            entered = await state.store.write(
                partial(
                    Transaction.discover, account=STUDIO, source=Source.API, new=again, at_us=5, listed=False
                )
            )
            assert [g.traceparent for g in entered.open] == ["first"]


def delivery(completed_us: int = 14 * S) -> Observation:
    return replace(
        look(Status.FAILED, 20 * S),
        via=Via.WEBHOOK,
        completed_us=completed_us,
        duration_us=3 * S,
        created_us=None,
    )


async def test_an_end_that_is_pushed_for_an_unknown_id_is_adopted_once(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        first = await state.store.write(lambda tx: tx.deliver(STUDIO, G, delivery(), None, 0))
        again = await state.store.write(lambda tx: tx.deliver(STUDIO, G, delivery(), None, 0))
    assert first is not None
    assert first.generation.created_us == 11 * S
    assert again is not None
    assert again.facts == ()
    assert state.counters(Family.DISCOVERED) == {("webhook",): 1}
    assert state.counters(Family.GENERATIONS) == {("m", "failed"): 1}


async def test_an_end_older_than_memory_is_not_counted_for_an_id_that_may_have_been_forgotten(
    open_store: Open,
) -> None:
    async with open_store(traced=False) as state:
        stale = await state.store.write(lambda tx: tx.deliver(STUDIO, G, delivery(9 * S), None, 10 * S))
        await state.store.write(discover("known"))
        known = GenerationId("known")
        after = await state.store.write(lambda tx: tx.deliver(STUDIO, known, delivery(9 * S), None, 10 * S))
    assert stale is None
    assert after is not None
    assert after.generation.end is not None
    assert state.counters(Family.GENERATIONS) == {("m", "failed"): 1}


async def test_pages_go_from_the_newest_to_the_oldest_and_leave_nothing_out(open_store: Open) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover(*(f"id-{n}" for n in range(7))))
        await state.store.write(discover("id-7", "id-8", at_us=3))
        seen: list[GenerationId] = []
        place: Place | None = None

        def next_page(reading: Reading) -> list[Generation]:
            return reading.lists.page(Filter(), place, 2)

        while page := await state.store.read(next_page):
            seen.extend(g.id for g in page)
            place = Place(page[-1].discovered_us, STUDIO, page[-1].id)
    assert len(seen) == len(set(seen)) == 9
    assert seen[0] == "id-6"
    assert seen[-1] == "id-0"


@pytest.mark.parametrize("phase", list(Phase))
async def test_a_page_can_be_about_one_phase(open_store: Open, phase: Phase) -> None:
    async with open_store(traced=False) as state:
        await state.store.write(discover("unseen", "pending", "processing", "completed", "failed", "dropped"))
        for status in Status:
            await state.store.write(observe(look(status), GenerationId(status.value)))
        dropped = GenerationId("dropped")
        await state.store.write(observe(look(Status.PROCESSING), dropped))
        found = await state.store.write(lambda tx: tx.find(STUDIO, dropped))
        assert found is not None
        await state.store.write(lambda tx: tx.drop(found, DropReason.GAVE_UP, 9, "late"))
        page = await state.store.read(lambda reading: reading.lists.page(Filter(phase=phase), None, 10))
        other = await state.store.read(
            lambda reading: reading.lists.page(Filter(phase=phase, account=AccountName("other")), None, 10)
        )
    assert [g.id for g in page] == [phase.value]
    assert [g.phase for g in page] == [phase]
    assert other == []


async def test_work_that_arrives_together_shares_a_transaction(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.store.store.LONGEST", float("inf"))
    async with open_store() as state:
        before = state.meter.writes
        await asyncio.gather(*(state.store.write(discover(f"id-{n}")) for n in range(100)))
        assert state.meter.writes - before <= 2


async def test_units_for_which_a_transaction_has_no_time_are_committed_by_further_ones(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.store.store.LONGEST", 0.0)
    async with open_store() as state:
        before = state.meter.writes
        results = await asyncio.gather(*(state.store.write(discover(f"id-{n}")) for n in range(20)))
        assert state.meter.writes - before == 20
        assert [one.id for [one] in results] == [f"id-{n}" for n in range(20)]
        assert state.counters(Family.DISCOVERED) == {(Source.CONFIG.value,): 20}


async def test_one_faulty_unit_does_not_take_the_others_down(open_store: Open) -> None:
    def faulty(tx: Transaction) -> None:
        tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId("half"))], 0, listed=False)
        raise ValueError("planned")

    async with open_store() as state:
        results = await asyncio.gather(
            state.store.write(discover("a")),
            state.store.write(faulty),
            state.store.write(discover("b")),
            return_exceptions=True,
        )
        half = await state.store.write(lambda tx: tx.find(STUDIO, GenerationId("half")))
    assert isinstance(results[1], ValueError)
    assert half is None
    assert state.counters(Family.DISCOVERED) == {("config",): 2}


async def test_a_write_that_fails_is_counted_nowhere_and_reports_why(
    open_store: Open, state_at: Path | Secret
) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        rows(state_at, "DROP TABLE totals")
        with pytest.raises(StoreError, match=r"no such table|relation \"totals\" does not exist"):
            await state.store.write(observe(look(Status.COMPLETED)))
        assert state.meter.errors == 1
        assert state.counters(Family.GENERATIONS) == {}
        found = await state.store.write(lambda tx: tx.find(STUDIO, G))
        assert found is not None
        assert found.end is None


async def test_what_was_asked_for_before_the_stop_is_still_committed(
    state_at: Path | Secret, open_store: Open
) -> None:
    state = Opened(state_at)
    running = asyncio.create_task(state.store.run())
    writes = [asyncio.create_task(state.store.write(discover(f"id-{n}"))) for n in range(1200)]
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.gather(*writes)
    state.store.close()
    async with open_store() as state:
        assert state.counters(Family.DISCOVERED) == {("config",): 1200}


async def test_changed_buckets_start_the_histograms_anew_and_nothing_else(open_store: Open) -> None:
    async with open_store() as state:
        await state.store.write(discover("g"))
        await state.store.write(observe(look(Status.COMPLETED)))
        assert not state.restarted
    async with open_store(bounds_us=BOUNDS) as state:
        assert not state.restarted
    async with open_store(bounds_us=(2 * S,)) as state:
        assert state.restarted
        assert list(state.ledger.series(STUDIO, Family.DURATION)) == []
        assert state.counters(Family.GENERATIONS) == {("m", "completed"): 1}


def test_a_second_process_is_refused_a_file(tmp_path: Path) -> None:
    first = open_database(tmp_path / "state.db", owner=True)
    with pytest.raises(StateUnusableError, match="in use by another exporter"):
        open_database(tmp_path / "state.db", owner=True)
    first.close()
    open_database(tmp_path / "state.db", owner=True).close()


def test_a_running_exporter_s_state_can_be_read(state_at: Path | Secret) -> None:
    owner = open_database(state_at, owner=True)
    reader = open_database(state_at, owner=False)
    with reader.begin() as connection:
        assert Transaction(connection, Ledger(BOUNDS, 1, 1), traced=False).find(STUDIO, G) is None
    reader.close()
    owner.close()


def test_a_state_of_a_newer_version_is_refused(state_at: Path | Secret) -> None:
    open_database(state_at, owner=True).close()
    rows(state_at, "UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    for owner in (True, False):
        with pytest.raises(StateUnusableError, match="schema version 99"):
            open_database(state_at, owner=owner)


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, just text " * 100)
    kept = path.read_bytes()
    with pytest.raises(StateUnusableError, match=r"state\.db"):
        open_database(path, owner=True)
    assert path.read_bytes() == kept


def test_a_database_of_something_else_is_refused_and_left_alone(state_at: Path | Secret) -> None:
    rows(state_at, "CREATE TABLE cats (name TEXT)")
    for owner in (True, False):
        with pytest.raises(StateUnusableError, match=r"something else; give state\.url another"):
            open_database(state_at, owner=owner)
    assert contents(state_at) == {"cats": []}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateUnusableError, match="cannot open"):
        open_database(tmp_path / "file" / "state.db", owner=True)


def test_there_is_nothing_to_read_before_the_first_run(state_at: Path | Secret) -> None:
    with pytest.raises(StateUnusableError, match=r"no such state file|no state yet"):
        open_database(state_at, owner=False)
