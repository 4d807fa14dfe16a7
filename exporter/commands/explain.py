"""Everything known about one generation, for a person who asks why it was counted as it was."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from exporter.clock import iso8601
from exporter.config import load_config
from exporter.domain.traceid import trace_id
from exporter.domain.values import Generation, GenerationId, check_generation_id
from exporter.errors import ConfigError, ExporterError
from exporter.store import Database, open_database
from exporter.store.reading import LoggedObservation, Reading


def command(id: str, config_file: Path) -> None:
    """Explain one generation; see `usage`."""
    try:
        asked = check_generation_id(id)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    config = load_config(config_file, secrets=False)
    database = open_database(config.state_at, owner=False)
    try:
        lines = explain(database, asked)
    finally:
        database.close()
    if not lines:
        raise ExporterError(f"no generation {asked!r} in {database.name}; was it ever registered?")
    for line in lines:
        click.echo(line)


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
