"""Whatever replicas, their clocks and the database do: of those who believe that they own an account, at most
one can write, and none calls the API that cannot."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Connection, literal, select

from exporter.domain.values import AccountName
from exporter.errors import StateUnusableError
from exporter.store import Database, open_database
from exporter.store.holdings import Holdings
from exporter.store.leases import LIFE, NOBODY, Held, Lease, Leases, Standing
from exporter.store.overview import Overview
from exporter.store.schema import leases as lease_table
from support.postgresql import Server

ACCOUNTS = (AccountName("studio"), AccountName("lab"))
REPLICAS = ("one", "two", "three")
MICROS = 1_000_000

replicas = st.sampled_from(REPLICAS)
accounts = st.sampled_from(ACCOUNTS)


class Clock:
    """The database's clock, and the monotonic one of each replica: the same rate, from anywhere."""

    def __init__(self) -> None:
        self.us = 1_800_000_000 * MICROS
        self.began = {name: 1000.0 * place for place, name in enumerate(REPLICAS)}

    def monotonic(self, replica: str) -> float:
        return self.began[replica] + self.us / MICROS


class Replica:
    def __init__(self, name: str, database: Database, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.leases = Leases(database, name, lambda: literal(clock.us))
        self.holdings = Holdings(self.leases)
        self.seen: Standing | None = None

    def renew(self) -> None:
        self.holdings.renewed(self.clock.monotonic(self.name))
        self.seen = self.leases.renew(ACCOUNTS)
        mine = self.seen.held_by(self.name)
        for account, lease in list(self.holdings.held.items()):
            if account not in mine or mine[account].epoch != lease.epoch:
                self.holdings.remove(account)

    def believes(self, account: AccountName) -> bool:
        return account in self.holdings.held

    def calls(self, account: AccountName) -> bool:
        return self.holdings.is_current(account, self.clock.monotonic(self.name))


class _RollBackError(Exception):
    """Ends a transaction that was only tried."""


class Ownership(RuleBasedStateMachine):
    """A replica that is frozen or cut off is one for which no rule runs: then it goes on as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.database = open_database(Path(self.folder.name) / "state.db", owner=True)
        self.clock = Clock()
        self.replicas = {name: Replica(name, self.database, self.clock) for name in REPLICAS}
        self.epochs: Counter[AccountName] = Counter()
        self.holders: dict[tuple[AccountName, int], str] = {}

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @rule(seconds=st.floats(0, 2 * LIFE))
    def time_passes(self, seconds: float) -> None:
        self.clock.us += round(seconds * MICROS)

    @rule(name=replicas)
    def renews(self, name: str) -> None:
        self.replicas[name].renew()

    @rule(name=replicas, account=accounts)
    def takes_what_it_saw(self, name: str, account: AccountName) -> None:
        """What it saw may be long ago."""
        replica = self.replicas[name]
        if replica.seen is None or replica.believes(account):
            return
        lease = replica.leases.take(account, replica.seen.leases[account])
        if lease is not None:
            replica.holdings.add(account, lease)

    @rule(name=replicas, account=accounts)
    def writes(self, name: str, account: AccountName) -> None:
        holdings = self.replicas[name].holdings
        used = holdings.of([account])
        with self.database.begin() as connection:
            confirmed = holdings.fence(connection, used)
        holdings.written(used, confirmed)
        if account in confirmed:
            epoch = used[account].epoch
            assert epoch >= self.epochs[account], "a former owner has written"
            assert self.holders.setdefault((account, epoch), name) == name, "two wrote in one epoch"
            self.epochs[account] = epoch

    @rule(name=replicas, account=accounts)
    def gives_up(self, name: str, account: AccountName) -> None:
        replica = self.replicas[name]
        replica.holdings.remove(account)
        replica.leases.give_up(account)

    @rule(name=replicas)
    def leaves(self, name: str) -> None:
        replica = self.replicas[name]
        for account in ACCOUNTS:
            replica.holdings.remove(account)
        replica.leases.leave()

    @invariant()
    def at_most_one_can_write(self) -> None:
        for account in ACCOUNTS:
            able = [name for name in REPLICAS if self._could_write(name, account)]
            assert len(able) <= 1, f"{able} could write for {account}"

    @invariant()
    def whoever_calls_can_write(self) -> None:
        for account in ACCOUNTS:
            for name in REPLICAS:
                assert not self.replicas[name].calls(account) or self._could_write(name, account)

    def _could_write(self, name: str, account: AccountName) -> bool:
        holdings = self.replicas[name].holdings
        confirmed: set[AccountName] = set()
        with _rolled_back(self.database) as connection:
            confirmed = holdings.fence(connection, holdings.of([account]))
        return account in confirmed


@contextmanager
def _rolled_back(database: Database) -> Iterator[Connection]:
    try:
        with database.begin() as connection:
            yield connection
            raise _RollBackError
    except _RollBackError:
        pass


TestOwnership = Ownership.TestCase
TestOwnership.settings = settings(max_examples=60, stateful_step_count=40)


def replica_on(database: Database, name: str, clock: Clock) -> Replica:
    """A replica that has joined."""
    one = Replica(name, database, clock)
    one.renew()
    return one


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "state.db", owner=True)
    yield opened
    opened.close()


STUDIO = ACCOUNTS[0]


def test_a_state_that_has_lost_the_last_commits_is_noticed_at_the_next_write(database: Database) -> None:
    one = replica_on(database, "one", Clock())
    lease = one.leases.take(STUDIO, Held(NOBODY, Lease(0, 0)))
    assert lease is not None
    one.holdings.add(STUDIO, lease)
    for expected in ({STUDIO}, {STUDIO}):
        used = one.holdings.of([STUDIO])
        with database.begin() as connection:
            confirmed = one.holdings.fence(connection, used)
        assert confirmed == expected
        assert one.holdings.written(used, confirmed) == set()
    with database.begin() as connection:  # as after a failover to a server that lags behind
        connection.execute(lease_table.update().values(writes=lease_table.c.writes - 1))
    used = one.holdings.of([STUDIO])
    with database.begin() as connection:
        confirmed = one.holdings.fence(connection, used)
    assert confirmed == set()
    assert one.holdings.written(used, confirmed) == {STUDIO}
    assert not one.believes(STUDIO)


def test_a_replica_with_other_settings_is_refused_while_others_live(database: Database) -> None:
    clock = Clock()
    one, two = (Replica(name, database, clock).leases for name in ("one", "two"))
    settings = {"max_models": 100, "max_failure_reasons": 50}
    assert one.join((1, 2), settings) is False
    assert two.join((1, 2), settings) is False
    with pytest.raises(StateUnusableError, match=r"metrics\.duration_buckets, metrics\.max_models: .*others"):
        two.join((1, 2, 3), settings | {"max_models": 7})
    clock.us += round((LIFE + 1) * MICROS)
    assert two.join((1, 2, 3), settings) is True, "nobody else lives any more"


def test_a_replica_that_leaves_is_replaced_at_once(database: Database) -> None:
    clock = Clock()
    one, two = (replica_on(database, name, clock) for name in ("one", "two"))
    assert one.leases.take(STUDIO, Held(NOBODY, Lease(0, 0))) == Lease(1, 0)
    two.renew()
    assert two.seen is not None
    held = two.seen.leases[STUDIO]
    assert two.leases.take(STUDIO, held) is None, "its holder lives"
    one.leases.leave()
    two.renew()
    assert two.seen.alive == {"two"}
    assert two.leases.take(STUDIO, two.seen.leases[STUDIO]) == Lease(2, 0)
    with database.read() as connection:
        [row] = connection.execute(select(lease_table).where(lease_table.c.account == STUDIO)).all()
    assert (row.holder, row.epoch) == ("two", 2)


def test_a_replica_that_is_stuck_in_its_renewal_holds_up_that_of_no_other(postgresql: Server) -> None:
    with (
        postgresql.database() as url,
        closing(open_database(url, owner=True)) as stuck,
        closing(open_database(url, owner=True)) as other,
    ):
        Leases(other, "one").renew(ACCOUNTS, "first")
        with stuck.begin() as connection:
            within = SimpleNamespace(begin=lambda: nullcontext(connection))
            Leases(cast(Database, within), "one").renew(ACCOUNTS, "not to be seen yet")
            Leases(other, "two").renew(ACCOUNTS, "second")
            with other.read() as reading:
                assert Overview(reading).told() == {"one": "first", "two": "second"}


def test_what_was_told_last_stays_until_the_replica_leaves(database: Database) -> None:
    one = Leases(database, "one", lambda: literal(1_800_000_000 * MICROS))
    for told in ("first", "second", None):
        one.renew(ACCOUNTS, told)
    with database.read() as connection:
        assert Overview(connection).told() == {"one": "second"}
    one.leave()
    with database.read() as connection:
        assert Overview(connection).told() == {}
