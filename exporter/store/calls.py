"""What the budget of an account's calls needs to know of those before: how many, and on which plan."""

from sqlalchemy import Connection, delete, func, insert, select, update

from exporter.domain.values import AccountName
from exporter.store import upsert
from exporter.store.schema import meta, reservations


class Calls:
    """Reservations of calls, and the plans that the API has reported, on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def reserved(self, account: AccountName, since_us: int) -> list[tuple[int, int]]:
        """Return time and number of the calls reserved after `since_us`, and of the reservation before those,
        which may have been spent later. In order of time."""
        of_account = reservations.c.account == account
        before = select(func.max(reservations.c.at_us)).where(of_account, reservations.c.at_us <= since_us)
        found = self._connection.execute(
            select(reservations)
            .where(of_account, reservations.c.at_us >= func.coalesce(before.scalar_subquery(), since_us))
            .order_by(reservations.c.at_us)
        )
        return [(row.at_us, row.calls) for row in found]

    def reserve(self, account: AccountName, calls: int, at_us: int, keep_us: int) -> None:
        """Record that calls are about to be made, from `at_us` on. Forgets those before `keep_us`, except the
        last."""
        of_account = reservations.c.account == account
        last = select(func.max(reservations.c.at_us)).where(of_account).scalar_subquery()
        self._connection.execute(
            delete(reservations).where(
                of_account, reservations.c.at_us < keep_us, reservations.c.at_us < last
            )
        )
        self._connection.execute(insert(reservations).values(account=account, at_us=at_us, calls=calls))

    def give_back(self, account: AccountName, calls: int) -> None:
        """Record that this many calls of the account's last reservation will not be made."""
        of_account = reservations.c.account == account
        last = select(func.max(reservations.c.at_us)).where(of_account).scalar_subquery()
        self._connection.execute(
            update(reservations)
            .where(of_account, reservations.c.at_us == last)
            .values(calls=reservations.c.calls - calls)
        )

    def plan(self, account: AccountName) -> int | None:
        """Return the calls per minute of the account's plan that the API has last reported, if it has."""
        kept = self._connection.scalar(select(meta.c.value).where(meta.c.key == _plan_key(account)))
        return None if kept is None else int(kept)

    def note_plan(self, account: AccountName, calls_per_minute: int) -> None:
        """Record the calls per minute of the account's plan that the API reports."""
        plan = {"key": _plan_key(account), "value": str(calls_per_minute)}
        row = upsert.insert(self._connection, meta).values(plan)
        self._connection.execute(
            row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
        )


def _plan_key(account: AccountName) -> str:
    return f"calls_per_minute of {account}"
