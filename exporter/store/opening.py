"""Opening a state by its place: a SQLite file, or a PostgreSQL database."""

from importlib import import_module
from pathlib import Path

from exporter.clock import Clock
from exporter.config import Secret
from exporter.errors import StateUnusableError
from exporter.store.database import Database
from exporter.store.engine import StateEngine
from exporter.store.sqlite import Sqlite


def open_database(
    at: Path | Secret,
    *,
    owner: bool,
    clock: Clock | None = None,
    may_be_empty: bool = False,
    migrating: bool = False,
) -> Database:
    """Open the state in a SQLite file, or in the PostgreSQL database of a URL, to write it as its `owner` or
    only to read it. Raises StateUnusableError, also for a state without tables that is only to be read,
    unless it `may_be_empty`.

    For a migration, `migrating`, the source has no owner meanwhile and a SQLite file is left as it is; the
    target, to which the migration is the owner, may have been left unfinished by an earlier one."""
    return Database(
        _engine(at, owner=owner, untouched=migrating and not owner),
        owner=owner,
        clock=clock,
        may_be_empty=may_be_empty,
        may_be_unfinished=migrating and owner,
    )


def _engine(at: Path | Secret, *, owner: bool, untouched: bool) -> StateEngine:
    match at:
        case Path():
            try:
                return Sqlite(at, owner=owner, untouched=untouched)
            except OSError as error:
                raise StateUnusableError(f"{at}: cannot open the state: {error.strerror}") from error
        case Secret():
            try:
                module = import_module("exporter.store.postgresql")
            except ImportError as error:
                raise StateUnusableError(
                    "state.url names a PostgreSQL database, which takes a driver: "
                    f"pip install 'vivix-exporter[postgresql]' ({error})"
                ) from error
            engine: StateEngine = module.Postgresql(at.reveal(), owner=owner)
            return engine
