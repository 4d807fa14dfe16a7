"""States by their place, whichever database they are kept in: how a configuration names one, and what is in
it, without the store's own code."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from exporter.config import Secret

States = Callable[[], AbstractContextManager[Path | Secret]]
"""Makes places where there is no state yet; it is gone after the context."""

_TABLES = {
    Path: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1",
    Secret: "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
}


def state_url(at: Path | Secret) -> str:
    """What `state.url` of a configuration says."""
    return f"sqlite:///{at}" if isinstance(at, Path) else at.reveal()


def state_section(at: Path | Secret) -> dict[str, object]:
    """The section `state` of a configuration that keeps it there."""
    return {"url": state_url(at)}


def rows(at: Path | Secret, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement that both databases understand, commit it, and return what it found."""
    if isinstance(at, Path):
        with closing(sqlite3.connect(at)) as file, file:
            return file.execute(statement).fetchall()
    with psycopg.connect(at.reveal()) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def contents(at: Path | Secret) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in an order that depends on nothing else."""
    tables = [table for (table,) in rows(at, _TABLES[Path if isinstance(at, Path) else Secret])]
    return {table: sorted(rows(at, f"SELECT * FROM {table}"), key=repr) for table in tables}


@contextmanager
def new_file() -> Iterator[Path]:
    """A place for a SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "state.db"
