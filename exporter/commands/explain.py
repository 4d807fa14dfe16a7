"""Everything known about one generation, for a person who asks why it was counted as it was."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from exporter.clock import MICROS
from exporter.domain.traceid import trace_id
from exporter.domain.values import Generation, GenerationId
from exporter.store import Database
from exporter.store.reading import LoggedObservation, Reading


def explain(database: Database, id: GenerationId) -> list[str]:
    """The lines to show for `id`, for each account that has it; none where nobody does. Raises StoreError."""
    with database.begin() as connection:
        reading = Reading(connection)
        lines: list[str] = []
        for account in reading.accounts_of(id):
            generation = reading.find(account, id)
            if generation is not None:
                lines.extend(_lines(generation, reading.history(account, id)))
        return lines


def _lines(generation: Generation, history: Iterable[LoggedObservation]) -> Iterator[str]:
    yield f"generation  {generation.id}"
    yield f"account     {generation.account}"
    yield f"trace id    {trace_id(generation.id, generation.traceparent)}"
    yield f"model       {generation.model or 'not named by the API yet'}"
    yield f"status      {_standing(generation)}"
    if generation.created_us is not None:
        yield f"created     {_time(generation.created_us)} by the API"
    yield f"polls       {generation.polls}"
    yield "history"
    yield _line(generation.discovered_us, generation.source.value, "handed over", "discovered")
    for line in history:
        yield _line(line.at_us, line.source, line.said, line.counted)


def _line(at_us: int, source: str, said: str, counted: str) -> str:
    return f"  {_time(at_us)}  {source:<8} {said}" + (f"; counted: {counted}" if counted else "")


def _standing(generation: Generation) -> str:
    if generation.end is not None:
        return f"{generation.end.status.value} at {_time(generation.end.at_us)} by the API"
    if generation.drop is not None:
        return f"dropped ({generation.drop.reason.value}) at {_time(generation.drop.at_us)}"
    return f"{generation.status.value}, followed" if generation.status else "followed, not answered for yet"


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / MICROS, UTC).isoformat(timespec="milliseconds")
