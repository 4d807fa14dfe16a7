"""A state of an earlier version is upgraded step by step, with everything that it holds."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName, DropReason, GenerationId, Observation, Phase, Status, Via
from exporter.errors import StateUnusableError
from exporter.store import Transaction, migrations, open_database
from exporter.store.calls import Calls
from exporter.store.lists import Filter
from exporter.store.reading import Reading

DUMPS = Path(__file__).parents[2] / "testdata" / "state"
STUDIO, LAB = AccountName("studio"), AccountName("lab")
S = 1_000_000


def load(path: Path, version: int) -> None:
    """Make a state file of an earlier version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((DUMPS / f"version-{version}.sql").read_text())


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    load(tmp_path / "state.db", 1)
    return tmp_path / "state.db"


def test_the_steps_lead_to_today_without_gaps_and_each_is_tested_from_a_file() -> None:
    assert sorted(migrations.STEPS) == list(range(migrations.OLDEST + 1, migrations.VERSION + 1))
    assert {dump.stem for dump in DUMPS.glob("*.sql")} == {f"version-{v - 1}" for v in migrations.STEPS}


def test_every_total_of_version_1_is_found(path: Path) -> None:
    written = rows(path, "SELECT account, family, labels, cell, amount FROM totals")
    with closing(open_database(path, owner=True)) as database, database.read() as connection:
        found = [
            (account, series.family.value, json.dumps(series.labels), cell, amount)
            for account in (STUDIO, LAB)
            for series, cell, amount in Reading(connection).totals(account)
        ]
    assert len(written) > 30
    assert sorted(found) == sorted(written)


def test_every_generation_of_version_1_is_found_as_it_was(path: Path) -> None:
    expected = {
        "5b91a581-ee19-4f86-9fea-bd29471d69d5": Phase.UNSEEN,
        "listed-pending": Phase.PENDING,
        "listed-processing": Phase.PROCESSING,
        "listed-completed": Phase.COMPLETED,
        "unlisted-pending": Phase.PENDING,
        "unlisted-completed": Phase.COMPLETED,
        "dropped-not-found": Phase.DROPPED,
        "dropped-not-yours": Phase.DROPPED,
        "dropped-gave-up": Phase.DROPPED,
        "ended-after-drop": Phase.COMPLETED,
        "from-file-failed": Phase.FAILED,
        "registered-completed": Phase.COMPLETED,
        "registered-processing": Phase.PROCESSING,
        "delivered-failed": Phase.FAILED,
        "delivered-failed-too": Phase.FAILED,
    }
    with closing(open_database(path, owner=True)) as database, database.read() as connection:
        reading = Reading(connection)
        found = {g.id: g for g in reading.lists.page(Filter(account=STUDIO), None, 100)}
        [lab] = reading.lists.page(Filter(account=LAB), None, 100)
        followed = [g.id for g in reading.followed(STUDIO)]
        listed = reading.listed(STUDIO)
        history = reading.history(STUDIO, GenerationId("ended-after-drop"))
        due = reading.due_spans(100)
        reserved = Calls(connection).reserved(STUDIO, 0)
    assert {id: g.phase for id, g in found.items()} == expected
    assert (lab.id, lab.phase) == ("lab-completed", Phase.COMPLETED)
    failed = found[GenerationId("from-file-failed")].end
    assert failed is not None
    assert (failed.status, failed.reason, failed.duration_us) == (Status.FAILED, "PROVIDER_ERROR", 14 * S)
    late = found[GenerationId("ended-after-drop")]
    assert late.drop is not None
    assert late.drop.reason is DropReason.GAVE_UP
    assert late.end is not None
    assert late.end.credits_used_micro == 211_500_000
    assert followed == [
        "5b91a581-ee19-4f86-9fea-bd29471d69d5",
        "listed-pending",
        "listed-processing",
        "registered-processing",
    ]
    assert listed == set(expected) - {id for id in expected if id.startswith(("unlisted", "reg", "deliv"))}
    assert [line.counted for line in history][1] == "dropped: gave_up"
    assert [one.generation.id for one in due][:2] == ["unlisted-completed", "registered-completed"]
    assert due[0].output_urls == ("https://pub.example/a.jpg", "https://pub.example/b.jpg")
    assert [calls for _, calls in reserved] == [24, 24]


def test_what_version_1_counted_is_not_counted_again(path: Path) -> None:
    again = Observation(1_762_100_000 * S, Via.WEBHOOK, Status.COMPLETED, "completed", model="flux-2-pro")
    with closing(open_database(path, owner=True)) as database, database.begin() as connection:
        transaction = Transaction(connection, Ledger((S,), 100, 50), traced=True)
        after = transaction.observe(STUDIO, GenerationId("ended-after-drop"), again, None)
    assert after.facts == ()


def test_labels_that_version_1_counted_are_admitted(path: Path) -> None:
    open_database(path, owner=True).close()
    assert rows(path, "SELECT account, label, value FROM admissions ORDER BY 1, 2, 3") == [
        ("lab", "model", "veo-3"),
        ("studio", "model", "flux-2-pro"),
        ("studio", "model", "seedream-4"),
        ("studio", "model", "veo-3"),
        ("studio", "reason", "NSFW"),
        ("studio", "reason", "PROVIDER_ERROR"),
    ]


def test_an_upgraded_state_has_the_schema_of_a_new_one(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    open_database(new, owner=True).close()
    open_database(path, owner=True).close()
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
    columns = (
        'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk FROM sqlite_master t, '
        "pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid"
    )
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1"
    for statement in (tables, columns, indexes):
        assert rows(path, statement) == rows(new, statement)
    version = "SELECT value FROM meta WHERE key = 'schema_version'"
    assert rows(path, version) == rows(new, version) == [(str(migrations.VERSION),)]


UPPER, LOWER = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.mark.parametrize(
    ("spellings", "status"),
    [
        ({UPPER: None}, None),
        ({UPPER: "completed"}, "completed"),
        ({UPPER: "completed", LOWER: None}, "completed"),
        ({UPPER: None, LOWER: "completed"}, "completed"),
        ({UPPER: None, UPPER.replace("E", "e"): "completed", LOWER: None}, "completed"),
        ({UPPER: None, LOWER: None}, None),
    ],
)
def test_a_uuid_of_version_1_is_one_generation_in_lower_case(
    path: Path, spellings: dict[str, str | None], status: str | None
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for id, ended in spellings.items():
            end_us = 5 if ended else None
            connection.execute(
                "INSERT INTO generations (account, id, source, discovered_us, listed, registered, polls,"
                " status, closed_us, end_us, end_recorded_us, end_via, end_credits_used_micro, end_outputs)"
                " VALUES ('studio', ?, 'file', 1, 1, 0, 0, ?, ?, ?, ?, 'poll', 0, 0)",
                (id, ended, end_us, end_us, end_us),
            )
            connection.execute(
                "INSERT INTO observations VALUES ('studio', ?, 5, 'poll', ?, '')", (id, ended or "unseen")
            )
            connection.execute("INSERT INTO outbox VALUES ('studio', ?, 5, NULL)", (id,))
    open_database(path, owner=True).close()
    of_it = "FROM {} WHERE lower(id) = '" + LOWER + "'"
    assert rows(path, "SELECT id, status " + of_it.format("generations")) == [(LOWER, status)]
    said = status or "unseen"
    assert rows(path, "SELECT id, said " + of_it.format("observations")) == [(LOWER, said)]
    assert rows(path, "SELECT id " + of_it.format("outbox")) == [(LOWER,)]


def test_a_step_that_fails_leaves_everything_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: Connection, now_us: int) -> None:
        connection.execute(text("ALTER TABLE generations ADD COLUMN half BIGINT"))
        connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", {2: broken})
        with pytest.raises(StateUnusableError, match="no such table"):
            open_database(path, owner=True)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
    open_database(path, owner=True).close()


@pytest.mark.parametrize("version", ["0", "99"])
@pytest.mark.parametrize("owner", [True, False])
def test_an_unknown_version_is_refused_and_left_alone(path: Path, version: str, owner: bool) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
        before = list(connection.iterdump())
    with pytest.raises(StateUnusableError, match=rf"state\.db.* schema version {version}, but"):
        open_database(path, owner=owner)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


def test_a_reader_does_not_upgrade_and_names_what_does(path: Path) -> None:
    with pytest.raises(StateUnusableError, match=r"schema version 1, .*`vivix-exporter run` upgrades it"):
        open_database(path, owner=False)
    assert rows(path, "SELECT value FROM meta WHERE key = 'schema_version'") == [("1",)]
