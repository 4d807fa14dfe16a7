"""What the database itself witnessed of who owned which account, by triggers that replicas know nothing of.

A row of `leases` is locked from its change until the transaction ends. So the changes of one account are
recorded in the order of their commits, and between two of them nobody else could change the account.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from exporter.config import Secret
from exporter.store.leases import NOBODY, SPARE
from soak.row import Row, row_of

OWNED = {
    **dict.fromkeys(("generations", "observations", "totals", "reservations"), "INSERT OR UPDATE OR DELETE"),
    # Spans that were exported are so whoever owns the account by then.
    "outbox": "INSERT",
}
"""What only its owner may do to the rows of an account, by table."""

_CREATE = """
CREATE SCHEMA audit;
CREATE TABLE audit.leases (
    number bigserial PRIMARY KEY,
    at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    writer text NOT NULL DEFAULT current_setting('application_name'),
    account text NOT NULL, holder text NOT NULL, epoch bigint NOT NULL, writes bigint NOT NULL);
CREATE INDEX ON audit.leases (transaction, account);
CREATE TABLE audit.unfenced (
    writer text NOT NULL DEFAULT current_setting('application_name'),
    operation text NOT NULL, relation text NOT NULL, account text NOT NULL);
CREATE FUNCTION audit.record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO audit.leases (account, holder, epoch, writes)
        VALUES (OLD.account, '', OLD.epoch, OLD.writes);
    ELSE
        INSERT INTO audit.leases (account, holder, epoch, writes)
        VALUES (NEW.account, NEW.holder, NEW.epoch, NEW.writes);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION audit.require() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of text;
BEGIN
    IF TG_OP = 'DELETE' THEN of := OLD.account; ELSE of := NEW.account; END IF;
    IF NOT EXISTS (SELECT FROM audit.leases WHERE transaction = pg_current_xact_id() AND account = of) THEN
        INSERT INTO audit.unfenced (operation, relation, account) VALUES (TG_OP, TG_TABLE_NAME, of);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON leases
    FOR EACH ROW EXECUTE FUNCTION audit.record();
"""
_REQUIRE = """
CREATE TRIGGER owned AFTER {operations} ON {table}
    FOR EACH ROW EXECUTE FUNCTION audit.require();
"""
_CHANGES = "SELECT at, writer, account, holder, epoch, writes FROM audit.leases ORDER BY number"
_WAITING = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)"
_UNFENCED = "SELECT writer, operation, relation, account, count(*) FROM audit.unfenced GROUP BY 1, 2, 3, 4"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a lease: when, in Unix seconds, by which connection's name, and what it made of it. The
    holder is empty where the account has none."""

    at: float
    writer: str
    account: str
    holder: str
    epoch: int
    writes: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A moment at which a replica ceased to own what it owned, and how that came."""

    at: float
    how: str
    replica: str


@dataclass(frozen=True, slots=True)
class Succession:
    """How many seconds after a loss an account had its next owner; None where it never had one."""

    loss: Loss
    account: str
    seconds: float | None


def install(state: Secret) -> None:
    """Audit a state that has its tables. Replicas are told apart by the `application_name` of their URL."""
    with psycopg.connect(state.reveal()) as connection:
        connection.execute(_CREATE)
        for table, operations in OWNED.items():
            connection.execute(_REQUIRE.format(table=table, operations=operations).encode())


def read(state: Secret) -> tuple[list[Change], list[str]]:
    """Return every change of a lease in order, and what was written without one."""
    with psycopg.connect(state.reveal()) as connection:
        changes = [
            Change(at, writer, account, "" if holder in (NOBODY, SPARE) else holder, epoch, writes)
            for at, writer, account, holder, epoch, writes in connection.execute(_CHANGES)
        ]
        unfenced = [
            f"{writer}: {count} x {operation} {relation} of {account}"
            for writer, operation, relation, account, count in connection.execute(_UNFENCED)
        ]
    return changes, unfenced


def waiting(state: Secret) -> dict[str, int]:
    """Return how much was acknowledged and not yet applied, and has ended and was not yet exported."""
    with psycopg.connect(state.reveal()) as connection:
        row = connection.execute(_WAITING).fetchone()
        return dict(zip(("letters", "traces"), row or (), strict=True))


def owner_rows(changes: Sequence[Change], unfenced: Iterable[str]) -> Iterator[Row]:
    """At every moment at most one replica could write for an account."""
    epochs = {(one.account, one.epoch) for one in changes}
    found = f"{len(epochs)} epochs of {len({one.account for one in changes})} accounts"
    yield row_of("an account has one owner at a time", found, _usurpations(changes))
    yield row_of("nothing was written for an account but by its owner", f"{len(changes)} writes", unfenced)


def _usurpations(changes: Iterable[Change]) -> Iterator[str]:
    writers: dict[str, str] = {}
    last: dict[str, Change] = {}
    for one in changes:
        former = last.get(one.account)
        last[one.account] = one
        # Only the former holder gives an account up.
        holder = one.holder or (former.holder if former else "")
        if holder and writers.setdefault(holder, one.writer) != one.writer:
            yield f"{one.writer} wrote as {holder}, which is {writers[holder]}: {one}"
        if former is None:
            continue
        if one.epoch < former.epoch:
            yield f"an epoch went back: {former}, then {one}"
        elif one.epoch == former.epoch and one.holder not in (former.holder, ""):
            yield f"the owner changed within an epoch: {former}, then {one}"
        elif one.epoch == former.epoch and one.writes < former.writes:
            yield f"a write was undone: {former}, then {one}"


def successions(changes: Iterable[Change], losses: Iterable[Loss]) -> Iterator[Succession]:
    """What came of each account that a replica owned when it was lost."""
    of_account: dict[str, list[Change]] = defaultdict(list)
    for one in changes:
        of_account[one.account].append(one)
    for loss in losses:
        for account, every in of_account.items():
            before = [one for one in every if one.at <= loss.at]
            if not before or not before[-1].holder or before[-1].writer != loss.replica:
                continue
            epoch = before[-1].epoch
            next_at = next((one.at for one in every if one.epoch > epoch and one.holder), None)
            yield Succession(loss, account, None if next_at is None else next_at - loss.at)
