"""The script that `schema` prints makes the tables that an exporter makes by itself."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from exporter.config import Secret
from exporter.store import open_database
from exporter.store.script import schema_script
from support.postgresql import Server

_ON_POSTGRESQL = (
    "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default "
    "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT key, value FROM meta ORDER BY 1",
)
_ON_SQLITE = (
    'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_master t, '
    "pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid",
    "SELECT name, replace(sql, 'IF NOT EXISTS ', '') FROM sqlite_master WHERE type = 'index' ORDER BY 1",
    "SELECT key, value FROM meta ORDER BY 1",
)


def in_postgresql(url: Secret) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url.reveal()) as connection:
        return [connection.execute(statement).fetchall() for statement in _ON_POSTGRESQL]


def in_sqlite(path: Path) -> list[list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(statement).fetchall() for statement in _ON_SQLITE]


def test_on_postgresql_the_script_makes_what_an_exporter_makes(postgresql: Server) -> None:
    with postgresql.database() as by_script, postgresql.database() as by_exporter:
        for _ in range(2):  # the second time it changes nothing
            with psycopg.connect(by_script.reveal()) as connection:
                connection.execute(schema_script("postgresql").encode())
        open_database(by_exporter, owner=True).close()
        expected = in_postgresql(by_exporter)
        assert in_postgresql(by_script) == expected
        open_database(by_script, owner=True).close()
        assert in_postgresql(by_script) == expected
    assert all(expected)


def test_on_sqlite_the_script_makes_what_an_exporter_makes(tmp_path: Path) -> None:
    by_script, by_exporter = tmp_path / "script.db", tmp_path / "exporter.db"
    for _ in range(2):
        with closing(sqlite3.connect(by_script)) as connection:
            connection.executescript(schema_script("sqlite"))
    open_database(by_exporter, owner=True).close()
    assert in_sqlite(by_script) == in_sqlite(by_exporter)
    open_database(by_script, owner=True).close()
    assert all(in_sqlite(by_script))
