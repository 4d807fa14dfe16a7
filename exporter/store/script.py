"""The tables of a state as a script, for whoever may create them where the exporter may not."""

from collections.abc import Iterator

from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex, CreateTable

from exporter.store import schema
from exporter.store.migrations import VERSION, version_row
from exporter.store.upsert import insertion

_GRANTS = """
-- For an exporter that connects as another user than the one that runs this:
-- GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO "vivix-exporter";
"""


def schema_script(kind: str) -> str:
    """Return SQL that makes the tables of today in an empty database of this kind, `postgresql` or `sqlite`,
    and that changes nothing where they are.

    It brings a state of version 3, the first on PostgreSQL, to today's as well. A later version has to add
    what its step in `migrations.STEPS` does besides adding tables and indexes.
    """
    # Values are in the statements; without signs for them, none in a text has to be doubled.
    dialect = registry.load(kind)(paramstyle="named")
    heading = f"-- The state of vivix-exporter, version {VERSION} of its schema.\n"
    statements = "\n".join(f"{one};" for one in _statements(dialect))
    grants = _GRANTS.format(tables=", ".join(schema.metadata.tables)) if kind == "postgresql" else ""
    return f"{heading}\n{statements}\n{grants}"


def _statements(dialect: Dialect) -> Iterator[str]:
    for table in schema.tables_for(dialect.name).sorted_tables:
        yield _text(CreateTable(table, if_not_exists=True), dialect)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield _text(CreateIndex(index, if_not_exists=True), dialect)
    yield "DROP INDEX IF EXISTS generations_by_age"
    row = insertion(dialect.name, schema.meta).values(version_row())
    yield _text(
        row.on_conflict_do_update(
            index_elements=[schema.meta.c.key],
            set_={"value": row.excluded.value},
            where=schema.meta.c.value == "3",
        ),
        dialect,
    )


def _text(statement: ClauseElement, dialect: Dialect) -> str:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    lines = (line.replace("\t", "    ").rstrip() for line in str(compiled).strip().splitlines())
    return "\n".join(line for line in lines if line)
