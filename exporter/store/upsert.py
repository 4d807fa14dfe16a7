"""Insertions that each dialect has its own way for: of rows whose key is there already, and of many rows."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Connection, Table, bindparam, func, select

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    Insert = sqlite.Insert | postgresql.Insert


def insert(connection: Connection, table: Table) -> "Insert":
    """Return an insertion that knows `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return insertion(connection.dialect.name, table)


def insertion(dialect: str, table: Table) -> "Insert":
    """As `insert`, for the name of a dialect."""
    # Whoever keeps the state in SQLite has no use for the 3 MiB of the other one.
    of_dialect: Insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    return of_dialect


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, which have a value for every column."""
    if connection.dialect.name == "postgresql":
        # One statement with an array for each column, where the server would work on one for every row.
        columns = [bindparam(c.name, type_=ARRAY(c.type)) for c in table.columns]
        rows_of_it = select(*map(func.unnest, columns))
        arrays = {c.name: [row[c.name] for row in rows] for c in table.columns}
        connection.execute(insert(connection, table).from_select(table.columns.keys(), rows_of_it), arrays)
    else:
        connection.execute(insert(connection, table), rows)
