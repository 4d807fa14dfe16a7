"""`schema` prints what an administrator runs for an exporter that may not create tables."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName, GenerationId, NewGeneration, Source
from exporter.errors import StateUnusableError
from exporter.store import Transaction, open_database
from support.postgresql import Server, program

COMMAND = str(Path(sys.executable).with_name("vivix-exporter"))
USER = "vivix-exporter"
"""The user that the comments of the script name."""


def schema(*arguments: str) -> str:
    done = subprocess.run(
        [COMMAND, "schema", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def user(postgresql: Server) -> Iterator[str]:
    postgresql.execute(f'CREATE ROLE "{USER}" LOGIN')
    yield USER
    postgresql.execute(f'DROP ROLE "{USER}"')


def test_an_exporter_that_may_not_create_tables_works_with_those_of_the_script(
    postgresql: Server, user: str
) -> None:
    with postgresql.database() as at:
        name = at.reveal().rpartition("/")[2]
        postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
        theirs = postgresql.url(name, user=user)
        with pytest.raises(StateUnusableError, match=r"may not create .*`vivix-exporter schema` prints"):
            open_database(theirs, owner=True)
        script = schema("--state.url", theirs.reveal()).replace("-- GRANT", "GRANT")
        for _ in range(2):
            subprocess.run(
                [program("psql"), "-v", "ON_ERROR_STOP=1", "-1", "-X", "-q", "-f", "-", at.reveal()],
                input=script,
                text=True,
                check=True,
                timeout=60,
            )
        studio = AccountName("studio")
        with closing(open_database(theirs, owner=True)) as database, database.begin() as connection:
            transaction = Transaction(connection, Ledger((), 5, 5), traced=True)
            transaction.discover(studio, Source.API, [NewGeneration(GenerationId("g"))], 1, listed=False)
            transaction.calls.reserve(studio, 1, 1, 0)
            transaction.prove_writable(1)
            transaction.flush()
            assert transaction.prune(2, 10) == 0
        with psycopg.connect(at.reveal()) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables.fetchall():
                for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                    asked = "SELECT has_table_privilege(%s, %s, %s)"
                    assert connection.execute(asked, (user, table, right)).fetchone() == (True,)


def test_the_url_tells_the_dialect_and_is_not_connected_to() -> None:
    script = schema()
    assert script == schema("--state.url", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert "listed BOOLEAN" in script
    assert script != schema("--state.url", "sqlite:///nowhere/state.db")
