"""Everything known about one generation, for a person who asks why it was counted as it was."""

from collections.abc import Iterable, Iterator

from exporter.clock import iso8601
from exporter.domain.traceid import trace_id
from exporter.domain.values import Generation, check_generation_id
from exporter.store import Database
from exporter.store.reading import LoggedObservation, Reading


def explain(database: Database, text: str) -> list[str]:
    """Return the lines to show for the id `text`, for each account that has it; none where no account does.
    Raises StoreError."""
    try:
        id = check_generation_id(text)
    except ValueError:
        return []
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
    yield f"status      {_status(generation)}"
    if generation.created_us is not None:
        yield f"created     {iso8601(generation.created_us)} by the API"
    yield f"polls       {generation.polls}"
    yield "history"
    yield _line(generation.discovered_us, generation.source.value, "registered", "discovered")
    for line in history:
        yield _line(line.at_us, line.source, line.said, line.counted)


def _line(at_us: int, source: str, said: str, counted: str) -> str:
    return f"  {iso8601(at_us)}  {source:<8} {said}" + (f"; counted: {counted}" if counted else "")


def _status(generation: Generation) -> str:
    if generation.end is not None:
        return f"{generation.end.status.value} at {iso8601(generation.end.at_us)} by the API"
    if generation.drop is not None:
        return f"dropped ({generation.drop.reason.value}) at {iso8601(generation.drop.at_us)}"
    return f"{generation.status.value}, followed" if generation.status else "followed, not answered for yet"
