"""Which accounts' rows a replica looks after besides following them: their spans, and the oldest ones."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, true

from exporter.domain.values import AccountName


@dataclass(frozen=True, slots=True)
class Scope:
    """These accounts, or all `but` these: so that accounts that nobody follows any more have somebody too."""

    accounts: frozenset[AccountName] = frozenset()
    but: bool = True

    def covers(self, account: ColumnElement[str]) -> ColumnElement[bool]:
        """The condition that a column names one of them."""
        if self.but and not self.accounts:
            return true()
        return account.not_in(self.accounts) if self.but else account.in_(self.accounts)


def scope_of(
    me: str, alive: Iterable[str], configured: Collection[AccountName], owned: Collection[AccountName]
) -> Scope:
    """What falls to a replica: what it owns, and to the first of those alive also what nobody follows."""
    if me == min(alive, default=me):
        return Scope(frozenset(configured) - frozenset(owned))
    return Scope(frozenset(owned), but=False)


EVERYTHING = Scope()
NOTHING = Scope(but=False)
