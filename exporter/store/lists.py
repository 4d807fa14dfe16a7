"""Lists of generations, newest discovered first: what they are limited to, and a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Tuple, select, tuple_, union_all

from exporter.domain.values import AccountName, Generation, GenerationId, Phase
from exporter.store import rows
from exporter.store.schema import PHASE, REASON, generations, in_phase, unindexed


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a generation in the list of all, newest first."""

    discovered_us: int
    account: AccountName
    id: GenerationId


@dataclass(frozen=True, slots=True)
class Filter:
    """The generations that a list is limited to; None is any."""

    account: AccountName | None = None
    phase: Phase | None = None
    model: str | None = None
    reason: str | None = None
    """Of the failure or the drop."""
    id_part: str | None = None
    """Text that the id holds; letters of either case are the same."""


class Lists:
    """Questions on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(
        self, of: Filter, after: Place | None, limit: int, many: int
    ) -> tuple[list[Generation], Place | None]:
        """As `page`, among the `many` generations that come next, whatever they are. The place is that of the
        last of these, None where there are not so many."""
        until = self._reach(after, many)
        return self.page(of, after, limit, until), until

    def page(
        self, of: Filter, after: Place | None, limit: int, until: Place | None = None
    ) -> list[Generation]:
        """Return up to `limit` generations, newest discovered first, that come after `after`, and not after
        `until`."""
        columns: Sequence[ColumnElement[str]] = (generations.c.account, generations.c.model, PHASE)
        wanted: list[ColumnElement[bool]] = []
        phases = [of.phase]
        if of.reason is not None:
            wanted.append(REASON.bool_op("=")(of.reason))
            # Its index has the fewest rows, and others have more of the filter.
            columns = [unindexed(column) for column in columns]
        elif of.phase is None and (of.account is not None or of.model is not None):
            # Their indexes have the phase in them, and serve all of them one by one: phases are few.
            phases = list(Phase)
        account, model, phase = columns
        if of.account is not None:
            wanted.append(account == of.account)
        if of.model is not None:
            wanted.append(model == of.model)
        if of.id_part is not None:
            wanted.append(self._holds(of.id_part))
        wanted += _behind(after)
        if until is not None:
            wanted.append(generations.c.discovered_us >= until.discovered_us)
            wanted.append(_place(generations) >= _at(until))
        pages = [
            _newest(generations, wanted if one is None else [*wanted, in_phase(one, phase)], limit)
            for one in phases
        ]
        merged = union_all(*(select(page.subquery()) for page in pages)).subquery()
        found = self._connection.execute(pages[0] if len(pages) == 1 else _newest(merged, [], limit))
        return [rows.from_row(row) for row in found]

    def _reach(self, after: Place | None, many: int) -> Place | None:
        place = select(*_place(generations).clauses).where(*_behind(after)).order_by(*_backwards(generations))
        found = self._connection.execute(place.offset(many - 1).limit(1)).one_or_none()
        return None if found is None else Place(found[0], AccountName(found[1]), GenerationId(found[2]))

    def _holds(self, part: str) -> ColumnElement[bool]:
        # SQLite's LIKE takes letters of either case for the same, and twice the time where they are lowered.
        is_sqlite = self._connection.dialect.name == "sqlite"
        holds = generations.c.id.contains if is_sqlite else generations.c.id.icontains
        return holds(part, autoescape=True)


def _place(of: FromClause) -> Tuple:
    return tuple_(of.c.discovered_us, of.c.account, of.c.id)


def _behind(place: Place | None) -> list[ColumnElement[bool]]:
    """The conditions of what comes after a place. The time alone is what an index that leaves the account out
    can use of it."""
    if place is None:
        return []
    return [generations.c.discovered_us <= place.discovered_us, _place(generations) < _at(place)]


def _at(place: Place) -> Tuple:
    return tuple_(place.discovered_us, place.account, place.id)


def _newest(of: FromClause, wanted: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    return select(of).where(*wanted).order_by(*_backwards(of)).limit(limit)


def _backwards(of: FromClause) -> list[ColumnElement[Any]]:
    return [column.desc() for column in _place(of).clauses]
