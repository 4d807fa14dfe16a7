"""Every SQL statement that only reads, as questions of the domain."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from exporter.domain.ledger import Family, Label, Series
from exporter.domain.spend import Charge
from exporter.domain.values import AccountName, Generation, GenerationId, NewGeneration
from exporter.store import rows
from exporter.store.letters import Kind, Letter
from exporter.store.lists import Lists
from exporter.store.overview import Overview
from exporter.store.schema import (
    admissions,
    generations,
    inbox,
    observations,
    outbox,
    totals,
)
from exporter.store.scope import EVERYTHING, Scope


@dataclass(frozen=True, slots=True)
class LoggedObservation:
    """One line of a generation's history: when, from where, what was reported and what was counted for it."""

    at_us: int
    source: str
    said: str
    counted: str


@dataclass(frozen=True, slots=True)
class DueSpans:
    """A generation whose spans wait to be exported, and its output URLs where those are to be exported too.
    `due_us` identifies this state of its place in the outbox."""

    generation: Generation
    due_us: int
    output_urls: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_set_aside(self) -> bool:
        """Whether the receiver has refused these spans before."""
        return self.due_us < 0


ONE = and_(generations.c.account == bindparam("of_account"), generations.c.id == bindparam("of_id"))
"""The condition that a row is of the generation that a statement is executed for. Such statements are made
once: to make one costs as much as to execute it."""
_FIND = select(generations).where(ONE)
_LEAST = func.min(generations.c.account)
_EACH = select(_LEAST.label("name")).cte("each", recursive=True)
_NEXT = select(_LEAST).where(generations.c.account > _EACH.c.name).scalar_subquery()
_ACCOUNTS = _EACH.union_all(select(_NEXT).where(_EACH.c.name.is_not(None)))
"""The accounts that have generations, one seek each: they are few."""
_ACCOUNTS_OF = (
    select(generations.c.account)
    .join(_ACCOUNTS, generations.c.account == _ACCOUNTS.c.name)
    .where(generations.c.id == bindparam("of_id"))
)

_FAMILIES = frozenset(family.value for family in Family)


class Reading:
    """What can be asked of the state, on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def lists(self) -> Lists:
        """What lists ask."""
        return Lists(self._connection)

    @property
    def overview(self) -> Overview:
        """What the first page asks."""
        return Overview(self._connection)

    def find(self, account: AccountName, id: GenerationId) -> Generation | None:
        """Return a generation; None for an unknown id."""
        row = self._connection.execute(_FIND, {"of_account": account, "of_id": id}).one_or_none()
        return None if row is None else rows.from_row(row)

    def accounts_of(self, id: GenerationId) -> list[AccountName]:
        """Return the accounts that have an id."""
        return list(self._connection.scalars(_ACCOUNTS_OF, {"of_id": id}))

    def history(self, account: AccountName, id: GenerationId) -> list[LoggedObservation]:
        """Return the observations that changed something, oldest first."""
        found = self._connection.execute(
            select(observations)
            .where(observations.c.account == account, observations.c.id == id)
            .order_by(observations.c.at_us)
        )
        return [LoggedObservation(row.at_us, row.source, row.said, row.counted) for row in found]

    def followed(self, account: AccountName) -> list[Generation]:
        """Return the generations to follow, oldest discovered first: not ended, not dropped, and listed or
        registered."""
        found = self._connection.execute(
            select(generations)
            .where(
                generations.c.account == account,
                generations.c.closed_us.is_(None),
                or_(generations.c.listed.is_(True), generations.c.registered.is_(True)),
            )
            .order_by(generations.c.discovered_us)
        )
        return [rows.from_row(row) for row in found]

    def listed(self, account: AccountName) -> set[GenerationId]:
        """Return the ids that configuration and files listed when they were last applied."""
        found = self._connection.scalars(
            select(generations.c.id).where(generations.c.account == account, generations.c.listed.is_(True))
        )
        return {GenerationId(id) for id in found}

    def recent_durations(self, account: AccountName, limit: int) -> list[tuple[str, int]]:
        """Return model and duration in microseconds of the generations that ended last, oldest first."""
        found = self._connection.execute(
            select(generations.c.model, generations.c.end_duration_us)
            .where(
                generations.c.account == account,
                generations.c.model.is_not(None),
                generations.c.end_duration_us.is_not(None),
            )
            .order_by(generations.c.closed_us.desc())
            .limit(limit)
        )
        return [(row.model, row.end_duration_us) for row in reversed(found.all())]

    def charges(self, account: AccountName, since_us: int) -> list[Charge]:
        """Return the charges of the account's generations that have not ended, or ended no earlier."""
        found = self._connection.execute(
            select(
                generations.c.created_us,
                generations.c.credits_estimate_micro,
                generations.c.end_recorded_us,
                generations.c.end_us,
                generations.c.end_duration_us,
                generations.c.end_credits_used_micro,
            ).where(
                generations.c.account == account,
                generations.c.created_us.is_not(None),
                or_(
                    generations.c.closed_us.is_(None),
                    and_(generations.c.closed_us >= since_us, generations.c.end_recorded_us.is_not(None)),
                ),
            )
        )
        return [
            Charge(
                row.created_us,
                row.credits_estimate_micro,
                row.end_us if row.end_duration_us is None else row.created_us + row.end_duration_us,
                row.end_credits_used_micro or 0,
            )
            for row in found
        ]

    def totals(self, account: AccountName) -> Iterator[tuple[Series, str, int]]:
        """Yield the account's durable totals."""
        for row in self._connection.execute(select(totals).where(totals.c.account == account)):
            # A newer replica may have brought metrics that this one does not show.
            if row.family in _FAMILIES:
                yield Series(account, Family(row.family), tuple(json.loads(row.labels))), row.cell, row.amount

    def admissions(self, account: AccountName) -> Iterator[tuple[Label, str]]:
        """Yield the label values that have a series of their own."""
        for row in self._connection.execute(select(admissions).where(admissions.c.account == account)):
            yield Label(row.label), row.value

    def due_spans(self, limit: int, of: Scope = EVERYTHING) -> list[DueSpans]:
        """Generations whose spans wait to be exported and were not set aside, by end."""
        return self._outbox(and_(outbox.c.due_us >= 0, of.covers(outbox.c.account)), _BY_DUE, limit)

    def spans_to_retry(
        self, now_us: int, longest_us: int, limit: int, of: Scope = EVERYTHING
    ) -> list[DueSpans]:
        """Generations whose spans were set aside until `now_us` or earlier, the earliest first. One that is
        set aside for longer than `longest_us` was so by a clock that has stepped back since."""
        due = or_(outbox.c.due_us.between(-now_us, -1), outbox.c.due_us < -(now_us + longest_us))
        due = and_(due, of.covers(outbox.c.account))
        return self._outbox(due, [column.desc() for column in _BY_DUE], limit)

    def count_spans_set_aside(self, of: Scope = EVERYTHING) -> int:
        """How many generations have spans that were set aside."""
        aside = and_(outbox.c.due_us < 0, of.covers(outbox.c.account))
        found = select(func.count()).select_from(outbox).where(aside)
        return self._connection.scalar(found) or 0

    def _outbox(
        self, wanted: ColumnElement[bool], order: Sequence[ColumnElement[object]], limit: int
    ) -> list[DueSpans]:
        found = self._connection.execute(
            select(generations, outbox.c.due_us, outbox.c.output_urls)
            .select_from(outbox.join(generations, _WAITING))
            .where(wanted)
            .order_by(*order)
            .limit(limit)
        )
        return [
            DueSpans(rows.from_row(row), row.due_us, tuple(json.loads(row.output_urls or "[]")))
            for row in found
        ]

    def count_due_spans(self, accounts: Collection[AccountName] | None = None) -> Counter[AccountName]:
        """Return how many spans wait to be exported, by account: of these, or of all that have some."""
        spans = case((generations.c.processing_us.is_(None), 1), else_=3)  # as Generation.spans
        waiting = (
            select(outbox.c.account, func.sum(spans).label("spans"))
            .select_from(outbox.join(generations, _WAITING))
            .group_by(outbox.c.account)
        )
        if accounts is not None:
            waiting = waiting.where(outbox.c.account.in_(accounts))
        # PostgreSQL sums to a decimal number.
        found = self._connection.execute(waiting)
        return Counter({AccountName(row.account): int(row.spans) for row in found})

    def count_new(self, account: AccountName, new: Sequence[NewGeneration]) -> int:
        """Return how many of these ids the account does not have."""
        ids = {item.id for item in new}
        ids.difference_update(
            self._connection.scalars(select(generations.c.id).where(one_of(account, list(ids))))
        )
        return len(ids)

    def find_in_inbox(self, id: GenerationId) -> list[Generation]:
        """Return what the inbox holds of a generation, as its owners will enter it."""
        written = json.dumps(id)[1:-1]
        letters = self._letters(inbox.c.body.contains(written, autoescape=True))
        return [one for letter in letters for one in letter.generations() if one.id == id]

    def letters(self, account: AccountName, limit: int) -> list[Letter]:
        """What waits in the inbox for the owner of an account, in the order of its arrival."""
        return self._letters(inbox.c.account == account, limit)

    def _letters(self, wanted: ColumnElement[bool], limit: int | None = None) -> list[Letter]:
        """What a later version has put into the inbox waits for that one."""
        found = self._connection.execute(
            select(inbox)
            .where(wanted, inbox.c.kind.in_([kind.value for kind in Kind]))
            .order_by(inbox.c.at_us, inbox.c.token)
            .limit(limit)
        )
        return [
            Letter(AccountName(row.account), row.at_us, row.token, Kind(row.kind), row.body) for row in found
        ]


_BY_DUE: Sequence[ColumnElement[object]] = (outbox.c.due_us, outbox.c.account, outbox.c.id)
_WAITING = and_(outbox.c.account == generations.c.account, outbox.c.id == generations.c.id)


def one_of(account: AccountName, ids: Sequence[GenerationId]) -> ColumnElement[bool]:
    """Return the condition that a row is of one of these generations."""
    return and_(generations.c.account == account, generations.c.id.in_(ids))
