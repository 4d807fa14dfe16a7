"""The audit of leases finds what it is there to find."""

from collections.abc import Iterator

import psycopg
import pytest

from exporter.config import Secret
from support import lease_audit
from support.lease_audit import Change, Loss
from support.postgresql import Server

LOSS = Loss(10.0, "killed", "one")
OWNED = Change(1.0, "one", "studio", "holder-1", 1, 0)
WRITTEN = Change(2.0, "one", "studio", "holder-1", 1, 1)
GIVEN_UP = Change(3.0, "one", "studio", "", 1, 1)
TAKEN = Change(14.5, "two", "studio", "holder-2", 2, 1)


def wrong(*changes: Change) -> int:
    [owners, _] = lease_audit.owner_rows(changes, ())
    return len(owners.wrong or ())


def test_owners_that_follow_each_other_are_right() -> None:
    assert wrong(OWNED, WRITTEN, GIVEN_UP, TAKEN) == 0
    assert wrong(OWNED, WRITTEN, TAKEN) == 0


@pytest.mark.parametrize(
    "change",
    [
        Change(4.0, "two", "studio", "holder-1", 1, 2),
        Change(4.0, "two", "studio", "holder-2", 1, 2),
        Change(4.0, "two", "studio", "holder-2", 0, 2),
        Change(4.0, "two", "studio", "", 1, 1),
        Change(4.0, "one", "studio", "holder-1", 1, 0),
    ],
    ids=["as another", "within an epoch", "of an epoch before", "not its own to give up", "undone"],
)
def test_a_change_that_is_not_its_writers_to_make_is_found(change: Change) -> None:
    assert wrong(OWNED, WRITTEN, change) == 1


def test_a_write_after_giving_up_is_found() -> None:
    assert wrong(OWNED, GIVEN_UP, WRITTEN) == 1


def test_what_a_replica_lost_is_found_with_its_next_owner() -> None:
    [succession] = lease_audit.successions([OWNED, WRITTEN, TAKEN], [LOSS])
    assert (succession.account, succession.seconds) == ("studio", 4.5)
    [never] = lease_audit.successions([OWNED, WRITTEN], [LOSS])
    assert never.seconds is None


def test_what_was_given_up_before_or_belongs_to_another_is_not_lost() -> None:
    assert list(lease_audit.successions([OWNED, GIVEN_UP], [LOSS])) == []
    assert list(lease_audit.successions([OWNED], [Loss(10.0, "killed", "two")])) == []


@pytest.fixture
def state(postgresql: Server) -> Iterator[Secret]:
    with postgresql.database() as url, psycopg.connect(url.reveal()) as connection:
        connection.execute("CREATE TABLE leases (account text, holder text, epoch bigint, writes bigint)")
        connection.execute("INSERT INTO leases VALUES ('studio', 'holder-1', 1, 0)")
        for table in lease_audit.OWNED:
            connection.execute(f"CREATE TABLE {table} (account text)".encode())
        connection.commit()
        lease_audit.install(url)
        yield url


def test_the_database_records_who_wrote_and_what_was_written_without_a_lease(state: Secret) -> None:
    with psycopg.connect(f"{state.reveal()}?application_name=one", autocommit=True) as connection:
        with connection.transaction():
            connection.execute("UPDATE leases SET writes = 1 WHERE account = 'studio'")
            connection.execute("INSERT INTO totals VALUES ('studio')")
        changes, unfenced = lease_audit.read(state)
        assert [(one.writer, one.holder, one.writes) for one in changes] == [("one", "holder-1", 1)]
        assert unfenced == []
        connection.execute("DELETE FROM totals")
        assert lease_audit.read(state)[1] == ["one: 1 x DELETE totals of studio"]
