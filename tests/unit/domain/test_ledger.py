"""What facts add to the totals, within the limits of labels."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.labels import OTHER, LabelLimit
from exporter.domain.ledger import INFINITE, SUM, VALUE, Additions, Family, Label, Ledger, Series, bucket_cell
from exporter.domain.values import (
    AccountName,
    Discovered,
    Dropped,
    DropReason,
    End,
    Ended,
    Source,
    Started,
    Status,
    Via,
)

STUDIO, LAB = AccountName("studio"), AccountName("lab")
S = 1_000_000


def ledger(max_models: int = 100, max_reasons: int = 50) -> Ledger:
    return Ledger((1 * S, 5 * S, 10 * S), max_models, max_reasons)


def ended(
    model: str = "m",
    status: Status = Status.COMPLETED,
    duration_us: int | None = 4 * S,
    credits_micro: int = 211 * S,
    reason: str | None = None,
) -> Ended:
    return Ended(model, End(status, 0, 0, Via.POLL, duration_us, credits_micro, 2, reason, None))


def totals(
    book: Ledger, family: Family, account: AccountName = STUDIO
) -> dict[tuple[str, ...], dict[str, int]]:
    return {series.labels: dict(cells) for series, cells in book.series(account, family)}


def test_a_completed_generation_adds_to_count_credits_outputs_and_duration() -> None:
    book, additions = ledger(), Additions()
    book.enter(STUDIO, ended(), additions)
    book.commit(additions)
    assert totals(book, Family.GENERATIONS) == {("m", "completed"): {VALUE: 1}}
    assert totals(book, Family.CREDITS) == {("m",): {VALUE: 211 * S}}
    assert totals(book, Family.OUTPUTS) == {("m",): {VALUE: 2}}
    assert totals(book, Family.DURATION) == {("m", "completed"): {bucket_cell(5 * S): 1, SUM: 4 * S}}
    assert totals(book, Family.FAILURES) == {}


def test_a_failure_adds_to_its_reason() -> None:
    book, additions = ledger(), Additions()
    book.enter(STUDIO, ended(status=Status.FAILED, reason="PROVIDER_ERROR"), additions)
    book.commit(additions)
    assert totals(book, Family.FAILURES) == {("m", "PROVIDER_ERROR"): {VALUE: 1}}


def test_a_duration_on_a_bound_belongs_to_that_bucket_and_one_beyond_all_to_infinity() -> None:
    book, additions = ledger(), Additions()
    for duration_us in (5 * S, 5 * S + 1, 11 * S):
        book.enter(STUDIO, Started("m", duration_us), additions)
    book.commit(additions)
    cells = totals(book, Family.QUEUE)["m",]
    assert (cells[bucket_cell(5 * S)], cells[bucket_cell(10 * S)], cells[INFINITE]) == (1, 1, 1)


def test_an_end_without_a_duration_is_counted_but_not_timed() -> None:
    book, additions = ledger(), Additions()
    book.enter(STUDIO, ended(duration_us=None), additions)
    book.commit(additions)
    assert totals(book, Family.GENERATIONS)["m", "completed"] == {VALUE: 1}
    assert totals(book, Family.DURATION) == {}


def test_discoveries_and_drops_are_counted_by_source_and_reason() -> None:
    book, additions = ledger(), Additions()
    book.enter(STUDIO, Discovered(Source.FILE), additions)
    book.enter(STUDIO, Dropped(DropReason.NOT_YOURS), additions)
    book.commit(additions)
    assert totals(book, Family.DISCOVERED) == {("file",): {VALUE: 1}}
    assert totals(book, Family.DROPPED) == {("not_yours",): {VALUE: 1}}


def test_nothing_counts_before_the_commit() -> None:
    book = ledger()
    book.enter(STUDIO, ended(), Additions())
    assert totals(book, Family.GENERATIONS) == {}


def test_models_beyond_the_limit_are_counted_under_other_and_nothing_is_lost() -> None:
    book, additions = ledger(max_models=2), Additions()
    for model in ("a", "b", "c", "d", "a", "unknown"):
        book.enter(STUDIO, ended(model), additions)
    book.enter(LAB, ended("c"), additions)
    book.commit(additions)
    assert totals(book, Family.GENERATIONS) == {
        ("a", "completed"): {VALUE: 2},
        ("b", "completed"): {VALUE: 1},
        (OTHER, "completed"): {VALUE: 2},
        ("unknown", "completed"): {VALUE: 1},
    }
    assert totals(book, Family.GENERATIONS, LAB) == {("c", "completed"): {VALUE: 1}}
    assert book.overflow == {(STUDIO, "model"): 2}


def test_models_that_have_a_durable_series_keep_their_place_after_a_restart() -> None:
    book, additions = ledger(max_models=1), Additions()
    totals_then = [(Series(STUDIO, Family.GENERATIONS, ("old", "completed")), VALUE, 5)]
    book.load(STUDIO, totals_then, [(Label.MODEL, "old")])
    for model in ("new", "old"):
        book.enter(STUDIO, ended(model), additions)
    book.commit(additions)
    assert totals(book, Family.GENERATIONS) == {
        ("old", "completed"): {VALUE: 6},
        (OTHER, "completed"): {VALUE: 1},
    }


@given(
    st.lists(st.builds(ended, st.sampled_from("abcdef"), st.sampled_from([Status.COMPLETED, Status.FAILED]),
                       st.integers(0, 20 * S), st.integers(0, 500 * S), st.sampled_from("xyz"))),
    st.integers(1, 5),
    st.data(),
)  # fmt: skip
def test_totals_do_not_depend_on_how_facts_are_grouped(
    facts: list[Ended], limit: int, data: st.DataObject
) -> None:
    whole, parts = ledger(limit), ledger(limit)
    additions = Additions()
    for fact in facts:
        whole.enter(STUDIO, fact, additions)
    whole.commit(additions)
    additions = Additions()
    for fact in facts:
        parts.enter(STUDIO, fact, additions)
        if data.draw(st.booleans()):
            parts.commit(additions)
            additions = Additions()
    parts.commit(additions)
    for family in Family:
        assert totals(parts, family) == totals(whole, family)
    ends = sum(cells[VALUE] for cells in totals(whole, Family.GENERATIONS).values())
    timed = sum(
        n for cells in totals(whole, Family.DURATION).values() for cell, n in cells.items() if cell != SUM
    )
    assert ends == timed == len(facts)


@given(st.lists(st.text()), st.integers(1, 5))
def test_a_label_never_takes_more_values_than_its_limit(values: list[str], limit: int) -> None:
    label = LabelLimit(limit)
    folded = {label.fold(STUDIO, value) for value in values}
    assert len(folded - {OTHER, "unknown"}) <= limit
    assert folded - {OTHER} <= set(values)
