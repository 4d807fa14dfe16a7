"""How long generations are remembered: what comes, goes and comes back is counted once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Secret
from exporter.domain.ledger import VALUE, Family, Ledger
from exporter.domain.values import (
    AccountName,
    DropReason,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.store import Database, Transaction, open_database
from exporter.store.lists import Filter
from support.states import States

STUDIO = AccountName("studio")
S = 1_000_000
RETENTION = 100 * S


def completed(id: str, at_us: int, via: Via = Via.POLL) -> Observation:
    """The end of a generation whose model is named like it, so that the totals tell them apart."""
    return Observation(
        at_us, via, Status.COMPLETED, "completed", id, at_us - 4 * S, at_us, duration_us=4 * S, outputs=1
    )


@dataclass
class State:
    """One state, with the time, and what happened to each id."""

    at: Path | Secret
    now_us: int = 1_000 * S
    ended: dict[str, Observation] = field(default_factory=dict)
    absent_since_us: dict[str, int] = field(default_factory=dict)
    ledger: Ledger = field(init=False)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.ledger = Ledger((S, 5 * S), 100, 50)
        self.database = open_database(self.at, owner=True)
        with self.write() as tx:
            held = list(tx.totals(STUDIO)), list(tx.admissions(STUDIO))
        self.ledger.load(STUDIO, *held)

    def restart(self) -> None:
        self.database.close()
        self.open()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self.database.begin() as connection:
            transaction = Transaction(connection, self.ledger, traced=False)
            yield transaction
            transaction.flush()
        self.ledger.commit(transaction.additions)

    def list(self, id: str) -> None:
        with self.write() as tx:
            new = [NewGeneration(GenerationId(id))]
            tx.discover(STUDIO, Source.FILE, new, self.now_us, listed=True)
        self.absent_since_us.pop(id, None)

    def unlist(self, id: str) -> None:
        with self.write() as tx:
            if id in tx.listed(STUDIO):
                self.absent_since_us[id] = self.now_us
            tx.unlist(STUDIO, [GenerationId(id)], self.now_us)

    def poll(self, id: str) -> None:
        """Poll for an end, as long as it is followed."""
        with self.write() as tx:
            if id in {generation.id for generation in tx.followed(STUDIO)}:
                end = self.ended.setdefault(id, completed(id, self.now_us))
                tx.observe(STUDIO, GenerationId(id), replace(end, at_us=self.now_us), None)

    def deliver(self, id: str) -> None:
        """Deliver an end, for the first time or once more."""
        end = self.ended.setdefault(id, completed(id, self.now_us))
        delivery = replace(end, at_us=self.now_us, via=Via.WEBHOOK)
        with self.write() as tx:
            tx.deliver(STUDIO, GenerationId(id), delivery, None, self.now_us - RETENTION)

    def drop(self, id: str) -> None:
        with self.write() as tx:
            for generation in tx.followed(STUDIO):
                if generation.id == id:
                    tx.drop(generation, DropReason.GAVE_UP, self.now_us, "still pending")

    def prune(self) -> int:
        with self.write() as tx:
            return tx.prune(self.now_us - RETENTION, 100)

    def remembered(self) -> set[str]:
        with self.write() as tx:
            return {generation.id for generation in tx.lists.page(Filter(), None, 100)}

    def counted(self) -> Counter[str]:
        """How often the end of each id is in the totals."""
        totals = self.ledger.series(STUDIO, Family.GENERATIONS)
        return Counter({series.labels[0]: cells[VALUE] for series, cells in totals})

    def discovered(self) -> int:
        return sum(cells[VALUE] for _, cells in self.ledger.series(STUDIO, Family.DISCOVERED))


@contextmanager
def opened(at: Path | Secret) -> Iterator[State]:
    state = State(at)
    try:
        yield state
    finally:
        state.database.close()


@pytest.fixture
def state(state_at: Path | Secret) -> Iterator[State]:
    with opened(state_at) as state:
        yield state


def test_an_id_that_ended_long_ago_and_is_absent_for_a_moment_is_not_counted_again(state: State) -> None:
    state.list("g")
    state.poll("g")
    state.now_us += 10 * RETENTION
    state.unlist("g")
    state.now_us += 1
    assert state.prune() == 0
    state.list("g")
    state.poll("g")
    assert state.counted() == {"g": 1}
    assert state.discovered() == 1


def test_an_id_that_is_absent_for_longer_than_the_retention_is_forgotten(state: State) -> None:
    state.list("g")
    state.poll("g")
    state.unlist("g")
    state.now_us += RETENTION
    assert state.prune() == 0
    state.now_us += 1
    assert state.prune() == 1


def test_an_absence_counts_from_its_beginning_however_often_it_is_stored(state: State) -> None:
    state.list("g")
    state.poll("g")
    state.unlist("g")
    state.now_us += RETENTION
    state.unlist("g")
    state.now_us += 1
    assert state.prune() == 1


def test_an_id_that_is_listed_again_is_remembered_from_its_next_absence_on(state: State) -> None:
    state.list("g")
    state.poll("g")
    state.unlist("g")
    state.list("g")
    state.now_us += 2 * RETENTION
    assert state.prune() == 0
    state.unlist("g")
    state.now_us += RETENTION
    assert state.prune() == 0


def test_an_id_that_left_the_list_and_never_ended_is_forgotten_after_the_retention(state: State) -> None:
    state.list("g")
    state.unlist("g")
    state.now_us += RETENTION
    assert state.prune() == 0
    state.now_us += 1
    assert state.prune() == 1
    assert state.remembered() == set()


def test_a_registered_id_that_never_ended_is_never_forgotten(state: State) -> None:
    with state.write() as tx:
        tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId("g"))], state.now_us, listed=False)
    state.list("g")
    state.unlist("g")
    state.now_us += 10 * RETENTION
    assert state.prune() == 0
    assert state.remembered() == {"g"}


def test_an_end_after_a_drop_is_remembered_from_the_end_on_and_not_counted_again(state: State) -> None:
    with state.write() as tx:
        tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId("g"))], state.now_us, listed=False)
    state.drop("g")
    state.now_us += RETENTION // 2
    state.deliver("g")
    state.now_us += RETENTION // 2 + 1
    assert state.prune() == 0
    state.deliver("g")
    assert state.counted() == {"g": 1}
    state.now_us += RETENTION // 2
    assert state.prune() == 1
    state.deliver("g")
    assert state.counted() == {"g": 1}


STEPS = st.sampled_from(
    [*("list", "unlist", "poll") * 2, "deliver", "drop", "restart"]
    + [RETENTION // 2, RETENTION + 1] * 4
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=30))
def test_whatever_comes_and_goes_within_the_retention_is_counted_once(
    new_state: States, steps: list[str | int]
) -> None:
    with new_state() as at, opened(at) as state:
        met = False
        for step in steps:
            if isinstance(step, int):
                state.now_us += step
                state.prune()
            elif step == "restart":
                state.restart()
            # Beyond it nothing is promised: the id may have been forgotten.
            elif state.now_us - state.absent_since_us.get("g", state.now_us) <= RETENTION:
                if step == "deliver" and not met:
                    state.absent_since_us["g"] = state.now_us
                met = met or step in ("list", "deliver")
                getattr(state, step)("g")
        assert state.counted() == Counter(state.ended.keys())
        assert state.discovered() == met
