"""Moving a state into another database: every row, once, however often that is interrupted.

A chunk of rows and the mark of how far the move has come are one transaction of the target, so that a move
that was ended at any moment goes on behind the last chunk that is there. It needs no key for that: rows are
read in an order that stays the same while nobody writes the source. The mark also keeps exporters from the
target until everything has been compared.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Result,
    Select,
    Table,
    delete,
    insert,
    literal_column,
    select,
    update,
)

from exporter.errors import StateUnusableError, StoreError
from exporter.store import schema
from exporter.store.database import UNFINISHED, Database, unfinished_migration
from exporter.store.leases import count_alive
from exporter.store.migrations import VERSION_KEY
from exporter.store.upsert import insert_all

CHUNK = 1_000
"""Rows of one transaction."""
REPORT_EVERY = 500_000
"""Rows of a table between two lines of progress."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

TABLES: Sequence[Table] = tuple(
    table for table in schema.metadata.sorted_tables if not table.info.get(schema.TRANSIENT)
)
"""What is moved."""
_LARGE = frozenset({"generations", "observations", "outbox"})
"""Tables with a row for each generation: compared by the number of rows, the others by what is in them."""

_OWN_KEYS = (VERSION_KEY, UNFINISHED)
"""Keys of `meta` that each database has of its own."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a finished move has moved: the rows of each table, and how many texts held something that is no
    text to PostgreSQL, which U+FFFD has replaced."""

    rows: Mapping[str, int]
    replaced: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a move has come. `source` tells what is moved from everything else."""

    source: str
    rows: Mapping[str, int]
    replaced: int = 0

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Census:
    """What a state holds: of each table the number of rows, and of the small ones a digest of them."""

    rows: Mapping[str, int]
    digests: Mapping[str, str]

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def unlike(self, other: "_Census") -> str:
        """Return in which tables, and by how many rows, another state differs; "" where it does not."""
        return "; ".join(
            f"{name}: {count} rows and {other.rows[name]}"
            for name, count in self.rows.items()
            if count != other.rows[name] or self.digests.get(name) != other.digests.get(name)
        )


def move(source: Database, target: Database, report: Callable[[str], None]) -> Moved:
    """Move everything from `source` to `target`, which holds nothing or what an earlier move of the same
    source has left. `report` takes lines of progress. Raises StateUnusableError for databases that this
    cannot be done with, and StoreError where it was not finished."""
    for database in (source, target):
        _check_unused(database)
    held = _census(source)
    mark = _begin(target, held.digest())
    for table in TABLES:
        mark = _copy(table, source, target, mark, report)
    report("comparing")
    if changed := held.unlike(_census(source)):
        raise StoreError(
            f"{source.name}: changed while it was copied ({changed}); see that nobody uses it, and start "
            "again with an empty database"
        )
    if unlike := held.unlike(_census(target)):
        raise StoreError(
            f"{target.name}: differs from {source.name} after all was copied ({unlike}); see that nobody "
            "uses it, and start again with an empty one"
        )
    _check_unused(target)
    with target.begin() as connection:
        _advance(connection, mark, None)
    return Moved(mark.rows, mark.replaced)


def storable(text: str) -> str:
    """Return `text` as PostgreSQL can hold it: U+FFFD in place of NUL, and of bytes that are not UTF-8, which
    come as lone surrogates (PEP 383)."""
    return text.encode(errors="surrogateescape").decode(errors="replace").replace("\0", REPLACEMENT)


def _check_unused(database: Database) -> None:
    """Raise StateUnusableError where exporters use a state. The owner of a file is kept out by its lock."""
    if not database.shared:
        return
    with database.read() as connection:
        alive = count_alive(connection)
    if alive:
        raise StateUnusableError(
            f"{database.name}: in use by {alive} exporters; stop them, and try again some seconds later"
        )


def _begin(target: Database, source: str) -> _Mark:
    """Return how far an earlier move of the source has come, or mark an empty target as being filled."""
    with target.begin() as connection:
        found = unfinished_migration(connection)
        if found is None:
            for table in TABLES:
                if connection.execute(_rows(table).limit(1)).first() is not None:
                    raise StateUnusableError(
                        f"{target.name}: holds a state already (there are rows in {table.name}); a migration "
                        "needs an empty database, and there is nothing to do where one has finished"
                    )
            mark = _Mark(source, {})
            connection.execute(insert(schema.meta).values(key=UNFINISHED, value=mark.text()))
            return mark
    mark = _Mark(**json.loads(found))
    if mark.source != source:
        raise StateUnusableError(
            f"{target.name}: holds a part of another state, or of this one before it changed; start with an "
            "empty database"
        )
    return mark


def _copy(
    table: Table, source: Database, target: Database, mark: _Mark, report: Callable[[str], None]
) -> _Mark:
    """Copy the rows of a table that are not in the target yet. Returns the mark that is there now."""
    copied = mark.rows.get(table.name, 0)
    if copied:
        report(f"{table.name}: goes on behind row {copied}")
    with source.read() as connection:
        if source.shared:
            # Between two chunks it waits for the target's disk, and holds up nobody.
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        wanted = _rows(table).order_by(*_order(table, connection)).offset(copied)
        found = connection.execution_options(yield_per=CHUNK).execute(wanted)
        for chunk in found.mappings().partitions():
            rows = [dict(row) for row in chunk]
            replaced = sum(_make_storable(row) for row in rows)
            before, copied = copied, copied + len(rows)
            after = replace(mark, rows={**mark.rows, table.name: copied}, replaced=mark.replaced + replaced)
            with target.begin() as writing:
                _advance(writing, mark, after)
                insert_all(writing, table, rows)
            mark = after
            if copied // REPORT_EVERY > before // REPORT_EVERY:
                report(f"{table.name}: {copied} rows so far")
    report(f"{table.name}: {copied} rows")
    return mark


def _advance(connection: Connection, before: _Mark, after: _Mark | None) -> None:
    """Replace the mark, or remove it. Raises StoreError where it is not as this move has left it."""
    is_ours = (schema.meta.c.key == UNFINISHED, schema.meta.c.value == before.text())
    changed = connection.execute(
        delete(schema.meta).where(*is_ours)
        if after is None
        else update(schema.meta).where(*is_ours).values(value=after.text())
    )
    if changed.rowcount != 1:
        raise StoreError("another migration fills the same state; let that one finish")


def _make_storable(row: dict[str, Any]) -> int:
    """Replace the texts of a row that PostgreSQL cannot hold. Returns how many that were."""
    changed = 0
    for name, value in row.items():
        if isinstance(value, str) and not (value.isascii() and "\0" not in value):
            row[name] = storable(value)
            changed += row[name] != value
    return changed


def _census(database: Database) -> _Census:
    rows, digests = {}, {}
    with database.read() as connection:
        streamed = connection.execution_options(yield_per=10 * CHUNK)
        for table in TABLES:
            if table.name in _LARGE:
                # By itself the database might count for longer than it works on one statement.
                ones: Result[int] = streamed.execute(select(literal_column("1")).select_from(table))
                rows[table.name] = sum(len(some) for some in ones.partitions())
                continue
            found = [dict(row) for row in streamed.execute(_rows(table)).mappings()]
            for row in found:
                _make_storable(row)
            rows[table.name] = len(found)
            lines = sorted(json.dumps(row, sort_keys=True) for row in found)
            digests[table.name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return _Census(rows, digests)


def _rows(table: Table) -> Select[Any]:
    every = select(table)
    return every.where(schema.meta.c.key.not_in(_OWN_KEYS)) if table is schema.meta else every


def _order(table: Table, connection: Connection) -> list[ColumnElement[Any]]:
    """Return an order of all rows that does not change while nobody writes, and that the first rows are found
    in at once. Rows that are equal otherwise stay as they followed each other."""
    if connection.dialect.name == "sqlite":
        return [literal_column("rowid")]
    if table.primary_key.columns:
        return list(table.primary_key.columns)
    [index] = table.indexes
    return [*index.columns, literal_column("ctid")]
