"""What the first page asks of the state: how many ended and failed lately, what runs, what failed and why."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select

from exporter.domain.values import UNKNOWN, AccountName, Generation, Status
from exporter.store import rows
from exporter.store.schema import FAILED, generations, leases, replicas, unindexed

_FOLLOWED = and_(
    generations.c.closed_us.is_(None),
    or_(generations.c.listed.is_(True), generations.c.registered.is_(True)),
)


@dataclass(frozen=True, slots=True)
class Ends:
    """How many generations of an account ended with a status since some time, and their credits."""

    account: AccountName
    status: Status
    count: int
    credits_micro: int


@dataclass(frozen=True, slots=True)
class Failures:
    """How many generations failed for a reason, of a model, in the interval `step` of those asked for."""

    reason: str
    model: str
    step: int
    count: int


class Overview:
    """Questions on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def in_flight(self, limit: int) -> list[Generation]:
        """Return up to `limit` generations that are followed, oldest discovered first."""
        found = self._connection.execute(
            select(generations).where(_FOLLOWED).order_by(generations.c.discovered_us).limit(limit)
        )
        return [rows.from_row(row) for row in found]

    def count_in_flight(self) -> dict[AccountName, int]:
        """Return how many generations of each account are followed; accounts without any are left out."""
        found = self._connection.execute(
            select(generations.c.account, func.count().label("number"))
            .where(_FOLLOWED)
            .group_by(generations.c.account)
        )
        return {AccountName(row.account): row.number for row in found}

    def latest_failures(self, limit: int) -> list[Generation]:
        """Return up to `limit` generations that failed, those seen last first."""
        found = self._connection.execute(
            select(generations)
            .where(FAILED, generations.c.closed_us.is_not(None))
            .order_by(generations.c.closed_us.desc())
            .limit(limit)
        )
        return [rows.from_row(row) for row in found]

    def ends(self, since_us: int) -> list[Ends]:
        """Return what ended since then, by account and status."""
        account = unindexed(generations.c.account).label("account")
        found = self._connection.execute(
            select(
                account,
                generations.c.status,
                func.count().label("number"),
                func.sum(generations.c.end_credits_used_micro).label("credits"),
            )
            .where(generations.c.closed_us >= since_us, generations.c.end_recorded_us.is_not(None))
            .group_by(account, generations.c.status)
        )
        # PostgreSQL sums to a decimal number.
        return [
            Ends(AccountName(row.account), Status(row.status), row.number, int(row.credits or 0))
            for row in found
        ]

    def failures(self, since_us: int, step_us: int) -> list[Failures]:
        """Return what failed since then, by reason, model and interval of `step_us`, the first being 0."""
        step = ((generations.c.closed_us - since_us) // step_us).label("step")
        found = self._connection.execute(
            select(generations.c.end_reason, generations.c.model, step, func.count().label("number"))
            .where(FAILED, generations.c.closed_us >= since_us)
            .group_by(generations.c.end_reason, generations.c.model, step)
        )
        return [
            Failures(row.end_reason or UNKNOWN, row.model or UNKNOWN, int(row.step), row.number)
            for row in found
        ]

    def is_empty(self) -> bool:
        """Return whether no generation is known."""
        return self._connection.execute(select(generations.c.id).limit(1)).one_or_none() is None

    def owners(self) -> dict[AccountName, str]:
        """Return the replicas that have the accounts' leases; of a state that is not shared, none."""
        found = self._connection.execute(select(leases.c.account, leases.c.holder))
        return {AccountName(row.account): row.holder for row in found}

    def told(self) -> dict[str, str]:
        """Return what replicas have told the others of the accounts that they own."""
        found = self._connection.execute(select(replicas.c.id, replicas.c.told))
        return {row.id: row.told for row in found if row.told is not None}
