"""Label values keep their series: what was admitted stays, and what was not is `other`."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Secret
from exporter.domain.labels import OTHER
from exporter.domain.ledger import LARGEST, SUM, VALUE, Family, Ledger
from exporter.domain.values import (
    AccountName,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
    Status,
    Via,
)
from exporter.errors import StoreError
from exporter.store import Transaction, open_database
from support.states import States

STUDIO = AccountName("studio")
S = 1_000_000
MODELS, REASONS = 2, 1


def reported(
    status: Status, model: str | None, reason: str | None = None, at_us: int = 20 * S, duration_us: int = S
) -> Observation:
    return Observation(
        at_us,
        Via.POLL,
        status,
        status.value,
        model,
        10 * S,
        at_us if status.ended else None,
        duration_us=duration_us if status.ended else None,
        reason=reason,
    )


class State:
    """A state with few places for label values."""

    def __init__(self, at: Path | Secret) -> None:
        self.at = at
        self.database = open_database(at, owner=True)
        self.ledger = Ledger((S,), MODELS, REASONS)
        with self.database.begin() as connection:
            tx = Transaction(connection, self.ledger, traced=False)
            self.ledger.load(STUDIO, list(tx.totals(STUDIO)), list(tx.admissions(STUDIO)))

    def observe(self, id: str, observation: Observation, *, fails: bool = False) -> None:
        """Store an observation, unless the transaction fails in the end."""
        with self.database.begin() as connection:
            tx = Transaction(connection, self.ledger, traced=False)
            tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId(id))], 0, listed=False)
            tx.observe(STUDIO, GenerationId(id), observation, None)
            tx.flush()
            if fails:
                raise StoreError("planned")
        self.ledger.commit(tx.additions)

    def restarted(self) -> "State":
        self.database.close()
        return State(self.at)

    def models(self) -> list[str]:
        return self.ledger.known_models(STUDIO)


def test_a_model_has_its_place_from_the_first_observation_that_names_it(state_at: Path | Secret) -> None:
    state = State(state_at)
    state.observe("a", reported(Status.PENDING, "first"))
    state.observe("b", reported(Status.PENDING, "second"))
    state.observe("c", reported(Status.COMPLETED, "third"))
    for one in (state, restarted := state.restarted()):
        assert one.models() == ["first", "second"]
        assert one.ledger.shown_model(STUDIO, "first") == "first"
        assert one.ledger.shown_model(STUDIO, "third") == OTHER
    restarted.database.close()


def test_what_is_not_committed_admits_nothing(state_at: Path | Secret) -> None:
    state = State(state_at)
    with pytest.raises(StoreError):
        state.observe("a", reported(Status.FAILED, "lost", "LOST"), fails=True)
    assert state.models() == []
    state.observe("a", reported(Status.FAILED, "kept", "KEPT"))
    state = state.restarted()
    assert (state.models(), state.ledger.known_reasons(STUDIO)) == (["kept"], ["KEPT"])
    state.database.close()


def test_places_survive_histograms_that_start_anew(state_at: Path | Secret) -> None:
    state = State(state_at)
    state.database.restart_histograms((S,))
    state.observe("a", reported(Status.PROCESSING, "queued"))
    state.database.restart_histograms((2 * S,))
    state = state.restarted()
    assert state.models() == ["queued"]
    state.database.close()


@dataclass(frozen=True)
class Seen:
    """A step: an observation of one generation, and what becomes of its transaction."""

    id: str
    status: Status
    model: str | None
    reason: str
    fails: bool


SEEN = st.builds(
    Seen,
    st.sampled_from("abcdef"),
    st.sampled_from(Status),
    st.sampled_from(["v", "w", "x", "y", "other", "unknown", None]),
    st.sampled_from(["P", "Q", "R"]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(SEEN, st.just("restart")), max_size=20))
def test_a_value_never_moves_between_other_and_its_own_series(
    new_state: States, steps: list[Seen | str]
) -> None:
    with new_state() as at:
        state = State(at)
        # Where each value was shown first is where it belongs.
        shown: dict[str, str] = {}
        for step in steps:
            before = state.models(), state.ledger.known_reasons(STUDIO)
            if isinstance(step, str):
                state = state.restarted()
                assert (state.models(), state.ledger.known_reasons(STUDIO)) == before
                continue
            reason = step.reason if step.status is Status.FAILED else None
            try:
                state.observe(step.id, reported(step.status, step.model, reason), fails=step.fails)
            except StoreError:
                assert (state.models(), state.ledger.known_reasons(STUDIO)) == before
                continue
            with state.database.read() as connection:
                stored = Transaction(connection, state.ledger, traced=False).find(
                    STUDIO, GenerationId(step.id)
                )
            assert stored is not None
            if stored.model is not None:
                now = state.ledger.shown_model(STUDIO, stored.model)
                assert shown.setdefault(stored.model, now) == now
            assert len(state.models()) <= MODELS
            assert len(state.ledger.known_reasons(STUDIO)) <= REASONS
            for series, _ in state.ledger.series(STUDIO, Family.GENERATIONS):
                assert shown.get(series.labels[0], series.labels[0]) == series.labels[0]
        state.database.close()


def test_a_total_that_reaches_64_bits_stays_there_in_memory_and_in_the_store(state_at: Path | Secret) -> None:
    state = State(state_at)
    for id, duration_us in (("a", LARGEST - 5), ("b", 5), ("c", 7), ("d", LARGEST)):
        state.observe(id, reported(Status.COMPLETED, "m", duration_us=duration_us))
    for one in (state, restarted := state.restarted()):
        [(_, cells)] = one.ledger.series(STUDIO, Family.DURATION)
        assert cells[SUM] == LARGEST
        assert type(cells[SUM]) is int
        [(_, cells)] = one.ledger.series(STUDIO, Family.GENERATIONS)
        assert cells[VALUE] == 4
    restarted.database.close()


def test_one_group_of_facts_may_exceed_64_bits(state_at: Path | Secret) -> None:
    state = State(state_at)
    with state.database.begin() as connection:
        tx = Transaction(connection, state.ledger, traced=False)
        for id in "ab":
            tx.discover(STUDIO, Source.API, [NewGeneration(GenerationId(id))], 0, listed=False)
            tx.observe(
                STUDIO, GenerationId(id), reported(Status.COMPLETED, "m", duration_us=LARGEST // 2 + 9), None
            )
        tx.flush()
    [full] = state.ledger.commit(tx.additions)
    assert full.family is Family.DURATION
    state = state.restarted()
    [(_, cells)] = state.ledger.series(STUDIO, Family.DURATION)
    assert cells[SUM] == LARGEST
    state.database.close()
