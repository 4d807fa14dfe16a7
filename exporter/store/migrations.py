"""The versions of the schema: numbered steps that bring a state of an earlier one to today's, one by one.

A step is SQL that SQLite and PostgreSQL both accept, and leaves replicas of the version before it able to go
on, since they are replaced one after the other. It never refers to `schema`, which describes today's
tables only: to change them, change `schema`, add a step here, and commit a state of the last version as test
data.
"""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy import Connection, insert, select, text, update

from exporter.domain.values import is_uuid
from exporter.store import schema

_PHASE = (
    "(CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' "
    "WHEN status IS NULL THEN 'unseen' ELSE status END)"
)
"""What a row shows in the indexes of versions 4 to 6."""

Step = Callable[[Connection, int], None]
"""One step, at a time in Unix microseconds."""


def create(connection: Connection) -> None:
    """Make the tables of today in an empty database."""
    schema.tables_for(connection.dialect.name).create_all(connection)
    connection.execute(insert(schema.meta).values(version_row()))


def version_row() -> dict[str, str]:
    """Return the row of `meta` by which a state has today's version."""
    return {"key": VERSION_KEY, "value": str(VERSION)}


def version_of(connection: Connection) -> int | None:
    """Return the version of the schema that a state has; None where that is not a number."""
    value = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == VERSION_KEY))
    return int(value) if value is not None and value.isdecimal() else None


def raise_to(connection: Connection, version: int, now_us: int) -> None:
    """Apply the step that leads to `version`, and record that; in one transaction, which the caller began."""
    STEPS[version](connection, now_us)
    connection.execute(update(schema.meta).where(schema.meta.c.key == VERSION_KEY).values(value=str(version)))


def _to_2(connection: Connection, now_us: int) -> None:
    """Durable admissions, the times an id was unlisted and reopened, and UUIDs in lower case."""
    connection.execute(text("ALTER TABLE generations ADD COLUMN unlisted_us BIGINT"))
    connection.execute(text("ALTER TABLE generations ADD COLUMN reopened_us BIGINT"))
    # Version 1 kept the time of the drop where an end was reported after it.
    connection.execute(
        text(
            "UPDATE generations SET closed_us = end_recorded_us "
            "WHERE end_recorded_us IS NOT NULL AND drop_us IS NOT NULL"
        )
    )
    # Version 1 did not keep when an id was unlisted, nor whether it ever was listed: at the latest now.
    connection.execute(
        text("UPDATE generations SET unlisted_us = :now_us WHERE NOT listed"), {"now_us": now_us}
    )
    connection.execute(
        text(
            "CREATE TABLE admissions (account TEXT NOT NULL, label TEXT NOT NULL, value TEXT NOT NULL, "
            "PRIMARY KEY (account, label, value))"
        )
    )
    _lower_uuids(connection)
    admitted = set()
    for row in connection.execute(text("SELECT account, family, labels FROM totals")):
        labels = json.loads(row.labels)
        if row.family in ("generations", "queue"):
            admitted.add((row.account, "model", labels[0]))
        elif row.family == "failures":
            admitted.add((row.account, "reason", labels[1]))
    values = [
        {"account": account, "label": label, "value": value}
        for account, label, value in sorted(admitted)
        if value not in ("unknown", "other")
    ]
    if values:
        connection.execute(
            text("INSERT INTO admissions (account, label, value) VALUES (:account, :label, :value)"), values
        )


def _lower_uuids(connection: Connection) -> None:
    """Version 1 kept the letters of a UUID as they were written, so that one generation may have two rows.
    The one that has ended, and so is counted, stays."""
    found = connection.execute(
        text("SELECT account, id, end_recorded_us FROM generations WHERE id <> lower(id) ORDER BY id")
    ).all()
    for row in found:
        if not is_uuid(row.id):
            continue
        key = {"account": row.account, "id": row.id, "lower": row.id.lower()}
        twin = connection.execute(
            text("SELECT end_recorded_us FROM generations WHERE account = :account AND id = :lower"), key
        ).one_or_none()
        if twin is not None:
            kept = twin.end_recorded_us is not None or row.end_recorded_us is None
            gone = row.id if kept else row.id.lower()
            for table in ("observations", "outbox", "generations"):
                connection.execute(
                    text(f"DELETE FROM {table} WHERE account = :account AND id = :gone"), key | {"gone": gone}
                )
        for table in ("observations", "outbox", "generations"):
            connection.execute(
                text(f"UPDATE {table} SET id = :lower WHERE account = :account AND id = :id"), key
            )


def _to_3(connection: Connection, _now_us: int) -> None:
    """What replicas that share a state need; a file has one owner."""
    for statement in (
        "CREATE TABLE replicas (id TEXT NOT NULL, expires_us BIGINT NOT NULL, PRIMARY KEY (id))",
        "CREATE TABLE leases (account TEXT NOT NULL, holder TEXT NOT NULL, epoch BIGINT NOT NULL, "
        "writes BIGINT NOT NULL, PRIMARY KEY (account))",
        "CREATE TABLE inbox (account TEXT NOT NULL, at_us BIGINT NOT NULL, token TEXT NOT NULL, "
        "kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, at_us, token))",
    ):
        connection.execute(text(statement))


def _to_4(connection: Connection, _now_us: int) -> None:
    """Indexes for each filter of a list, for what ended and for what failed lately."""
    for index in (
        "generations_by_close ON generations "
        "(closed_us, account, status, end_recorded_us, end_credits_used_micro)",
        "generations_failed ON generations (closed_us, account, end_reason, model) WHERE status = 'failed'",
        f"generations_by_phase ON generations ({_PHASE}, discovered_us, account, id)",
        f"generations_by_account_phase ON generations (account, {_PHASE}, discovered_us, id)",
        f"generations_by_model_phase ON generations (model, {_PHASE}, discovered_us, account, id)",
        f"generations_by_account_model_phase ON generations (account, model, {_PHASE}, discovered_us, id)",
    ):
        connection.execute(text(f"CREATE INDEX {index}"))
    connection.execute(text("DROP INDEX generations_by_age"))


def _to_5(connection: Connection, _now_us: int) -> None:
    """An index for the reasons of failures and drops, and how accounts stand for replicas that share them."""
    reason = "(CASE WHEN end_recorded_us IS NULL THEN drop_reason ELSE end_reason END)"
    connection.execute(
        text(
            "CREATE INDEX generations_by_reason ON generations "
            f"({reason}, discovered_us, account, id, model) WHERE {reason} IS NOT NULL"
        )
    )
    connection.execute(
        text(
            "CREATE TABLE standings (account TEXT NOT NULL, holder TEXT NOT NULL, body TEXT NOT NULL, "
            "PRIMARY KEY (account))"
        )
    )


def _to_6(connection: Connection, _now_us: int) -> None:
    """How accounts stand, in the row of the replica that tells it; no index of what is only registered but
    those that lists of it need. Replicas of version 5, which no release had, do not go on: they wrote the
    table."""
    connection.execute(text("ALTER TABLE replicas ADD COLUMN told TEXT"))
    connection.execute(text("DROP TABLE standings"))
    connection.execute(text("DROP INDEX generations_by_id"))
    for name, columns in (
        ("by_model_phase", f"model, {_PHASE}, discovered_us, account, id"),
        ("by_account_model_phase", f"account, model, {_PHASE}, discovered_us, id"),
    ):
        connection.execute(text(f"DROP INDEX generations_{name}"))
        connection.execute(
            text(f"CREATE INDEX generations_{name} ON generations ({columns}) WHERE model IS NOT NULL")
        )


STEPS: Mapping[int, Step] = MappingProxyType({2: _to_2, 3: _to_3, 4: _to_4, 5: _to_5, 6: _to_6})
"""By the version that each leads to, without gaps."""

OLDEST = min(STEPS) - 1
"""The earliest version that can be brought to today's."""
VERSION = max(STEPS)
"""Today's version; a state of a newer one is refused."""

VERSION_KEY = "schema_version"
