"""Leases: which replica owns an account, decided in the database and by its clock.

A replica lives until the expiry of its one row, which it renews. A lease has no expiry of its own: it may be
taken from a holder that is no longer alive, which raises the epoch. What keeps a former holder from writing
is not its own belief but `fence`, with which every transaction of an owner begins: it locks the lease of this
holder and epoch until the commit, so that a take-over comes wholly before or wholly after.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from exporter.clock import MICROS
from exporter.domain.values import AccountName
from exporter.errors import StateUnusableError
from exporter.store.database import BUCKETS, Database, changed_settings, keep_settings
from exporter.store.schema import inbox, leases, replicas
from exporter.store.upsert import insert

LIFE = 6.0
"""Seconds that a replica lives without renewing."""
_STEP = 1.0
"""Seconds by which the database's clock may step back without a replica noticing."""
_BURIED_AFTER = 3600.0
"""Seconds after which the row of a dead replica goes."""

_SETTINGS = {BUCKETS: "duration_buckets"}
"""Names in the configuration, where they differ from those in the state."""

NOBODY = ""
"""The holder of a lease that was never taken, or whose replica has left."""
SPARE = "-"
"""The holder of a lease that a replica gave up because it had more than others."""

_NOW: ColumnElement[int] = literal_column(
    "(extract(epoch from clock_timestamp()) * 1000000)::bigint", BigInteger
)
"""PostgreSQL's clock in Unix microseconds."""


_EVICT = text(
    "SELECT pg_terminate_backend(activity.pid) FROM pg_stat_activity AS activity "
    "WHERE activity.usename = current_user AND activity.pid <> pg_backend_pid() "
    "AND activity.datname = current_database() "
    "AND activity.xact_start < clock_timestamp() - make_interval(secs => :seconds) "
    "AND EXISTS (SELECT FROM pg_locks AS lock WHERE lock.pid = activity.pid "
    "AND lock.relation = 'leases'::regclass AND lock.mode = 'RowExclusiveLock' AND lock.granted)"
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for an account. `writes` is how many transactions have used it, those of former
    holders included."""

    epoch: int
    writes: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as everybody sees it."""

    holder: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica sees as it renews: the database's clock, the replicas that are alive (itself included),
    the leases of all accounts, and the accounts that have something in the inbox."""

    now_us: int
    alive: frozenset[str]
    leases: Mapping[AccountName, Held]
    inbox: frozenset[AccountName]

    def held_by(self, replica: str) -> dict[AccountName, Lease]:
        """The leases of one replica."""
        return {account: held.lease for account, held in self.leases.items() if held.holder == replica}


class Leases:
    """The leases of the replica `me`. Every method is a transaction of its own and raises StoreError."""

    def __init__(
        self,
        database: Database,
        me: str,
        clock: Callable[[], ColumnElement[int]] = lambda: _NOW,
    ) -> None:
        """`clock` is the expression that the database takes the time from, in Unix microseconds."""
        self.me = me
        self._database = database
        self._clock = clock

    def join(self, bounds_us: tuple[int, ...], settings: Mapping[str, int]) -> bool:
        """Use the state with these buckets of histograms and these settings. Returns whether its histograms
        began anew for that. Raises StateUnusableError where a replica that is alive has others."""
        wanted = {BUCKETS: json.dumps(bounds_us), **{key: str(n) for key, n in settings.items()}}
        with self._database.begin() as connection:
            self._database.lock_schema(connection)
            # It may have begun since this state was opened.
            self._database.check_finished(connection)
            others = count_alive(connection, self._clock())
            changed = changed_settings(connection, wanted)
            if changed and others:
                names = ", ".join(f"metrics.{_SETTINGS.get(key, key)}" for key in changed)
                raise StateUnusableError(
                    f"{self._database.name}: {names}: this configuration differs from that of the replicas "
                    f"({others}) that share the state; give all the same, or stop the others first"
                )
            self._live_on(connection)
            return keep_settings(connection, wanted)

    def renew(self, accounts: Iterable[AccountName], told: str | None = None) -> Standing:
        """Live on, let there be a lease for each account, and see how things stand. `told` is what the others
        are to know of the accounts that this replica owns; without it, what they know stays."""
        with self._database.begin() as connection:
            now_us = self._live_on(connection, told)
            alive = connection.scalars(select(replicas.c.id).where(_lives(now_us)))
            found = self._all(connection)
            missing = [account for account in accounts if account not in found]
            if missing:
                connection.execute(
                    insert(connection, leases).on_conflict_do_nothing(),
                    [{"account": one, "holder": NOBODY, "epoch": 0, "writes": 0} for one in sorted(missing)],
                )
                found = self._all(connection)
            waiting = connection.scalars(select(inbox.c.account).distinct())
            return Standing(now_us, frozenset(alive), found, frozenset(map(AccountName, waiting)))

    def take(self, account: AccountName, seen: Held) -> Lease | None:
        """Become the holder in place of the one seen, if that is still so, it is not alive and this replica
        is. Returns the lease, None where another replica was faster."""
        with self._database.begin() as connection:
            now = self._clock()
            lives = exists().where(replicas.c.id == seen.holder, _lives(now))
            i_live = exists().where(replicas.c.id == self.me, _lives(now))
            row = connection.execute(
                update(leases)
                .where(
                    leases.c.account == account,
                    leases.c.holder == seen.holder,
                    leases.c.epoch == seen.lease.epoch,
                    ~lives,
                    i_live,
                )
                .values(holder=self.me, epoch=leases.c.epoch + 1)
                .returning(leases.c.epoch, leases.c.writes)
            ).one_or_none()
            return None if row is None else Lease(row.epoch, row.writes)

    def evict(self) -> int:
        """End sessions of this user that have held up leases for longer than a replica lives: of one that was
        cut off within a message, the server waits for the rest without any limit. Returns how many."""
        with self._database.begin() as connection:
            return len(connection.execute(_EVICT, {"seconds": LIFE}).all())

    def give_up(self, account: AccountName) -> None:
        """Hold the lease of an account no longer, for a replica that has fewer."""
        with self._database.begin() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.account == account, leases.c.holder == self.me)
                .values(holder=SPARE)
            )

    def leave(self) -> None:
        """Hold nothing and live no longer."""
        with self._database.begin() as connection:
            connection.execute(update(leases).where(leases.c.holder == self.me).values(holder=NOBODY))
            long_ago = self._clock() - round(_BURIED_AFTER * MICROS)
            connection.execute(
                delete(replicas).where((replicas.c.id == self.me) | (replicas.c.expires_us < long_ago))
            )

    def fence(self, connection: Connection, held: Mapping[AccountName, Lease]) -> set[AccountName]:
        """Begin the writes of an owner. Returns the accounts of whose lease this replica is the holder still,
        and of which the state is the one that it has written last."""
        keys: Sequence[tuple[str, int]] = [(account, lease.epoch) for account, lease in held.items()]
        rows = connection.execute(
            update(leases)
            .where(leases.c.holder == self.me, tuple_(leases.c.account, leases.c.epoch).in_(keys))
            .values(writes=leases.c.writes + 1)
            .returning(leases.c.account, leases.c.writes)
        ).all()
        return {row.account for row in rows if row.writes == held[row.account].writes + 1}

    def _live_on(self, connection: Connection, told: str | None = None) -> int:
        """Renew this replica's life, and what it tells the others. Returns the database's time."""
        life_us = round(LIFE * MICROS)
        row = insert(connection, replicas).values(id=self.me, expires_us=self._clock() + life_us, told=told)
        told_last = func.coalesce(row.excluded.told, replicas.c.told)
        expires_us = connection.scalar(
            row.on_conflict_do_update(
                index_elements=["id"], set_={"expires_us": row.excluded.expires_us, "told": told_last}
            ).returning(replicas.c.expires_us)
        )
        assert expires_us is not None, "an upsert returns its row"
        return int(expires_us) - life_us

    def _all(self, connection: Connection) -> dict[AccountName, Held]:
        return {
            AccountName(row.account): Held(row.holder, Lease(row.epoch, row.writes))
            for row in connection.execute(select(leases))
        }


def count_alive(connection: Connection, now: ColumnElement[int] = _NOW) -> int:
    """Return how many replicas use the state, which is one that they can share."""
    return connection.scalar(select(func.count()).select_from(replicas).where(_lives(now))) or 0


def _lives(now: ColumnElement[int] | int) -> ColumnElement[bool]:
    """The condition that a replica is alive. One that would live for longer than any does has renewed before
    the database's clock stepped back; it may have died since."""
    longest = round((LIFE + _STEP) * MICROS)
    return and_(replicas.c.expires_us > now, replicas.c.expires_us <= now + longest)
