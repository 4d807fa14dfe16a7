"""A state is moved as a whole: nothing is lost, doubled or changed, wherever it is interrupted."""

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, insert, select, text

from exporter.config import Secret
from exporter.domain.values import AccountName, GenerationId
from exporter.errors import StateUnusableError, StoreError
from exporter.store import Database, moving, open_database, schema
from exporter.store.leases import Leases
from exporter.store.moving import Moved, move, storable
from exporter.store.reading import Reading
from exporter.store.upsert import insert_all
from support.postgresql import Server
from support.states import contents, rows

VERSION_1 = Path(__file__).parents[2] / "testdata" / "state" / "version-1.sql"
"""All kinds of rows, of generations at every stage."""
STUDIO = AccountName("studio")
FFFD = "\N{REPLACEMENT CHARACTER}"

At = Path | Secret


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return state(tmp_path / "source" / "state.db")


@pytest.fixture
def target(postgresql: Server) -> Iterator[Secret]:
    with postgresql.database() as url:
        yield url


def state(path: Path) -> Path:
    """A state file of today."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())
    open_database(path, owner=True).close()
    rows(path, "INSERT INTO inbox VALUES ('studio', 5, 'token', 'end', '{}')")
    return path


@contextmanager
def both(source: At, target: At) -> Iterator[tuple[Database, Database]]:
    """The databases, opened as a migration does."""
    with (
        closing(open_database(source, owner=False, migrating=True)) as come_from,
        closing(open_database(target, owner=True, migrating=True)) as go_to,
    ):
        yield come_from, go_to


def migrate(source: At, target: At, report: Callable[[str], None] = lambda line: None) -> Moved:
    with both(source, target) as databases:
        return move(*databases, report)


def held_by(at: At) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a state but those of whoever uses it."""
    used = ("replicas", "leases")
    return {name: rows for name, rows in contents(at).items() if name not in used}


def files(path: Path) -> dict[str, bytes]:
    """The files of a state, but for the index of its log, which every reader makes anew."""
    found = sorted(path.parent.glob(f"{path.name}*"))
    return {file.name: file.read_bytes() for file in found if file.suffix not in (".db-shm", ".lock")}


def test_everything_moves_to_postgresql_and_back(source: Path, target: Secret, tmp_path: Path) -> None:
    held = held_by(source)
    assert all(held.values())
    lines: list[str] = []
    moved = migrate(source, target, lines.append)
    assert held_by(target) == held
    assert moved.replaced == 0
    assert moved.rows["generations"] == len(held["generations"])
    assert f"generations: {len(held['generations'])} rows" in lines
    with closing(open_database(target, owner=True)) as database:
        leases = Leases(database, "replica")
        leases.renew([STUDIO], "{}")
        leases.leave()
    migrate(target, tmp_path / "back.db")
    assert held_by(tmp_path / "back.db") == held
    assert contents(tmp_path / "back.db")["leases"] == []


def test_observations_of_the_same_moment_stay_in_their_order(
    source: Path, target: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "CHUNK", 3)
    said = [f"{number * 7 % 20}" for number in range(20)]
    for one in said:
        rows(source, f"INSERT INTO observations VALUES ('studio', 'same', 5, 'poll', '{one}', '')")
    migrate(source, target)
    migrate(target, tmp_path / "back.db")
    for at in (target, tmp_path / "back.db"):
        with closing(open_database(at, owner=False)) as database, database.read() as connection:
            history = Reading(connection).history(STUDIO, GenerationId("same"))
        assert [line.said for line in history] == said


def test_the_source_stays_as_it_is_byte_for_byte(source: Path, target: Secret) -> None:
    before = files(source)
    migrate(source, target)
    assert files(source) == before
    assert {file.name for file in source.parent.iterdir()} == {"state.db", "state.db.lock"}


def test_what_a_killed_exporter_left_in_the_log_moves_too_and_the_log_stays(
    source: Path, target: Secret
) -> None:
    writing = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "c.execute(\"INSERT INTO reservations VALUES ('studio', 5, 77)\"); c.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", writing, source], check=True)
    before = files(source)
    assert before["state.db-wal"]
    migrate(source, target)
    assert files(source) == before
    assert ("studio", 5, 77) in held_by(target)["reservations"]


class Killed(BaseException):
    """Ends a migration, as a signal does."""


def interrupt(source: At, target: At) -> None:
    """Begin a migration that dies in its first chunk."""

    def die(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moving, "insert_all", die)
        with pytest.raises(Killed):
            migrate(source, target)


def test_a_migration_that_is_interrupted_after_every_chunk_doubles_and_loses_nothing(
    source: Path, target: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run commits one chunk, and dies in the next."""
    monkeypatch.setattr(moving, "CHUNK", 4)
    rows(source, "UPDATE generations SET end_message = 'nul' || char(0) WHERE status = 'failed'")
    # Rows that no column tells apart.
    for _ in range(3):
        rows(source, "INSERT INTO observations SELECT * FROM observations WHERE id = 'ended-after-drop'")
    calls = itertools.count()

    def dying(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        insert_all(connection, table, rows)
        if next(calls) % 2:
            raise Killed

    monkeypatch.setattr(moving, "insert_all", dying)
    moved, killed = None, 0
    while moved is None:
        try:
            moved = migrate(source, target)
        except Killed:
            killed += 1
            with pytest.raises(StateUnusableError, match="has not finished"):
                open_database(target, owner=True)
    assert killed > 20
    held = held_by(source)
    assert moved.replaced == sum("nul\0" in row for row in held["generations"]) > 0
    held["generations"] = [
        tuple(f"nul{FFFD}" if value == "nul\0" else value for value in row) for row in held["generations"]
    ]
    assert held_by(target) == held


@pytest.mark.parametrize("owner", [True, False])
def test_a_state_that_a_migration_has_not_filled_is_used_by_nobody(
    source: Path, target: Secret, owner: bool
) -> None:
    interrupt(source, target)
    with pytest.raises(StateUnusableError, match=r"not finished; run `vivix-exporter migrate-state` again"):
        open_database(target, owner=owner)
    with pytest.raises(StateUnusableError, match="not finished"):
        migrate(target, source.with_name("back.db"))
    migrate(source, target)
    open_database(target, owner=owner).close()


def test_a_part_of_another_source_is_not_gone_on_with(source: Path, target: Secret) -> None:
    interrupt(source, target)
    # An exporter has run with it meanwhile, which reserves calls before it makes any.
    rows(source, "INSERT INTO reservations VALUES ('studio', 5, 1)")
    with pytest.raises(StateUnusableError, match="a part of another state"):
        migrate(source, target)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (schema.meta, {"key": "bounds_us", "value": "[1]"}),
        (schema.reservations, {"account": "studio", "at_us": 1, "calls": 1}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_database_that_holds_anything_is_not_filled(
    source: Path, target: Secret, table: Table, row: dict[str, object]
) -> None:
    with closing(open_database(target, owner=True)) as database, database.begin() as connection:
        connection.execute(insert(table).values(row))
    before = held_by(target)
    with pytest.raises(StateUnusableError, match=f"holds a state already .*{table.name}"):
        migrate(source, target)
    assert held_by(target) == before


def test_a_migrated_state_is_not_filled_again(source: Path, target: Secret) -> None:
    migrate(source, target)
    with pytest.raises(StateUnusableError, match="nothing to do where one has finished"):
        migrate(source, target)


def test_a_source_that_an_exporter_uses_is_refused(source: Path, target: Secret) -> None:
    with closing(open_database(source, owner=True)):
        before = files(source)
        with pytest.raises(StateUnusableError, match="in use by another exporter"):
            migrate(source, target)
        assert files(source) == before


def test_no_exporter_uses_the_source_meanwhile(source: Path, target: Secret) -> None:
    with both(source, target), pytest.raises(StateUnusableError, match="in use by another"):
        open_database(source, owner=True)


def test_a_source_with_several_names_is_refused(source: Path, target: Secret, tmp_path: Path) -> None:
    (tmp_path / "other.db").hardlink_to(source)
    with pytest.raises(StateUnusableError, match="several names"):
        migrate(source, target)


@pytest.mark.parametrize("used", ["source", "target"])
def test_a_database_that_replicas_use_is_refused(
    source: Path, target: Secret, tmp_path: Path, used: str
) -> None:
    if used == "source":
        migrate(source, target)
    come_from, go_to = (target, tmp_path / "back.db") if used == "source" else (source, target)
    with closing(open_database(target, owner=True)) as database:
        leases = Leases(database, "replica")
        leases.renew([])
        with pytest.raises(StateUnusableError, match="in use by 1 exporters; stop them"):
            migrate(come_from, go_to)
        leases.leave()
    migrate(come_from, go_to)


def test_a_source_that_is_not_there_is_refused_and_not_made(tmp_path: Path, target: Secret) -> None:
    with pytest.raises(StateUnusableError, match="no such state file"):
        migrate(tmp_path / "state.db", target)
    assert list(tmp_path.iterdir()) == []


def test_a_source_of_an_earlier_version_is_refused_with_what_to_do(tmp_path: Path, target: Secret) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.executescript(VERSION_1.read_text())
    before = files(tmp_path / "state.db")
    with pytest.raises(StateUnusableError, match=r"version 1, .*`vivix-exporter run` upgrades it"):
        migrate(tmp_path / "state.db", target)
    assert files(tmp_path / "state.db") == before


def test_what_postgresql_cannot_hold_is_replaced_and_counted(source: Path, target: Secret) -> None:
    rows(source, "UPDATE generations SET id = 'a' || char(0) || 'b' WHERE id = 'listed-pending'")
    rows(source, "UPDATE generations SET end_message = char(0) WHERE id = 'from-file-failed'")
    rows(
        source,
        "UPDATE generations SET traceparent = CAST(x'61eda0806263' AS TEXT) WHERE id = 'lab-completed'",
    )
    rows(source, "UPDATE generations SET model = 'größe \N{PARTY POPPER}' WHERE id = 'listed-completed'")
    rows(source, "INSERT INTO totals VALUES ('studio', 'generations', '[\"' || char(0) || '\"]', '', 7)")
    before = files(source)
    moved = migrate(source, target)
    assert moved.replaced == 4
    assert files(source) == before
    with closing(open_database(target, owner=False)) as database, database.read() as connection:
        found = {row.id: row for row in connection.execute(select(schema.generations))}
    assert f"a{FFFD}b" in found
    assert found["from-file-failed"].end_message == FFFD
    assert found["lab-completed"].traceparent == f"a{FFFD * 3}bc"
    assert found["listed-completed"].model == "größe \N{PARTY POPPER}"
    assert any(f'["{FFFD}"]' in row for row in held_by(target)["totals"])


@given(st.text(st.characters()) | st.binary().map(lambda raw: raw.decode(errors="surrogateescape")))
def test_whatever_a_text_holds_it_can_be_stored(value: str) -> None:
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return  # no file can hold it
    kept = storable(value)
    kept.encode()
    assert "\0" not in kept
    if value.isprintable():
        assert kept == value


def test_of_two_migrations_into_one_state_one_goes_on(source: Path, target: Secret, tmp_path: Path) -> None:
    """Two copies of a source are the same source, and their locks are two."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(source.read_bytes())

    def other_first(line: str) -> None:
        if line.startswith("admissions"):
            migrate(copy, target)

    with pytest.raises(StoreError, match="another migration fills the same state"):
        migrate(source, target, other_first)
    assert held_by(target) == held_by(source)


def test_a_target_that_differs_afterwards_is_not_finished(source: Path, target: Secret) -> None:
    with both(source, target) as (come_from, go_to):

        def meddle(line: str) -> None:
            if line == "comparing":
                with go_to.begin() as connection:
                    connection.execute(text("UPDATE totals SET amount = amount + 1 WHERE account = 'lab'"))
                    connection.execute(text("DELETE FROM generations WHERE account = 'lab'"))

        with pytest.raises(StoreError, match=r"differs .*generations: 16 rows and 15; totals: "):
            move(come_from, go_to, meddle)
    with pytest.raises(StateUnusableError, match="has not finished"):
        open_database(target, owner=True)
