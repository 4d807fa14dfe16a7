"""Exemplars lead from a bucket to a trace that was counted in it."""

from dataclasses import replace

from prometheus_client.samples import Exemplar

from exporter.domain.ledger import INFINITE, VALUE, Additions, Family, Ledger, Series, bucket_cell
from exporter.domain.traceid import trace_id
from exporter.domain.values import (
    AccountName,
    End,
    Ended,
    Generation,
    GenerationId,
    Source,
    Status,
    Via,
)
from exporter.metrics.exemplars import Exemplars

S = 1_000_000
STUDIO = AccountName("studio")


def ended(id: str, seconds: float, recorded: int = 100, reason: str | None = None) -> Generation:
    status = Status.COMPLETED if reason is None else Status.FAILED
    end = End(status, 50 * S, recorded * S, Via.POLL, round(seconds * S), 0, 0, reason, None)
    return Generation(
        STUDIO, GenerationId(id), Source.API, 0, status=status, model="m", created_us=0, end=end
    )


def ledger_with(*generations: Generation, max_models: int = 100) -> Ledger:
    ledger = Ledger((1 * S, 5 * S), max_models, 50)
    additions = Additions()
    for one in generations:
        assert one.end is not None
        ledger.enter(STUDIO, Ended(one.model or "unknown", one.end), additions)
    ledger.commit(additions)
    return ledger


DURATION = Series(STUDIO, Family.DURATION, ("m", "completed"))


def of(exemplars: Exemplars, series: Series, cell: str) -> Exemplar | None:
    return exemplars.of(STUDIO).get(series, {}).get(cell)


def test_each_bucket_has_the_trace_that_came_last() -> None:
    generations = [ended("a", 0.5), ended("b", 3.0), ended("c", 4.0, recorded=101), ended("d", 9.0)]
    exemplars = Exemplars(ledger_with(*generations))
    for one in generations:
        exemplars.arrived(one)
    found = {cell: of(exemplars, DURATION, cell) for cell in (bucket_cell(S), bucket_cell(5 * S), INFINITE)}
    assert [one and (one.labels["trace_id"], one.value, one.timestamp) for one in found.values()] == [
        (trace_id(GenerationId("a")), 0.5, 100.0),
        (trace_id(GenerationId("c")), 4.0, 101.0),
        (trace_id(GenerationId("d")), 9.0, 100.0),
    ]


def test_an_exemplar_is_never_replaced_by_an_older_one() -> None:
    new, old = ended("new", 3.0, recorded=200), ended("old", 3.0, recorded=100)
    exemplars = Exemplars(ledger_with(new, old))
    exemplars.arrived(new)
    exemplars.arrived(old)
    found = of(exemplars, DURATION, bucket_cell(5 * S))
    assert found is not None
    assert found.labels == {"trace_id": trace_id(GenerationId("new"))}


def test_a_failure_is_an_exemplar_of_its_reason_too() -> None:
    failed = ended("f", 3.0, reason="TIMEOUT")
    exemplars = Exemplars(ledger_with(failed))
    exemplars.arrived(failed)
    found = of(exemplars, Series(STUDIO, Family.FAILURES, ("m", "TIMEOUT")), VALUE)
    assert found is not None
    assert found.labels == {"trace_id": trace_id(GenerationId("f"))}


def test_a_folded_model_has_its_exemplar_where_it_was_counted() -> None:
    first, second = ended("a", 3.0), replace(ended("b", 3.0), model="n")
    exemplars = Exemplars(ledger_with(first, second, max_models=1))
    exemplars.arrived(second)
    assert of(exemplars, Series(STUDIO, Family.DURATION, ("other", "completed")), bucket_cell(5 * S))


def test_an_account_that_is_not_followed_any_more_has_none_and_takes_no_place() -> None:
    ledger = ledger_with()
    exemplars = Exemplars(ledger)
    exemplars.arrived(ended("a", 3.0))
    assert of(exemplars, DURATION, bucket_cell(5 * S)) is None
    assert ledger.known_models(STUDIO) == []


def test_what_was_dropped_was_counted_in_no_bucket() -> None:
    exemplars = Exemplars(ledger_with(ended("a", 3.0)))
    exemplars.arrived(replace(ended("b", 3.0), end=None))
    assert of(exemplars, DURATION, bucket_cell(5 * S)) is None
