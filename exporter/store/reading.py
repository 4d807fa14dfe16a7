"""Every SQL statement that only reads, as questions of the domain."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from exporter.ledger import Family, Series
from exporter.store import rows
from exporter.store.schema import generations, observations, outbox, reservations, totals
from exporter.values import AccountName, Generation, GenerationId, Source


@dataclass(frozen=True, slots=True)
class LoggedObservation:
    """One line of a generation's history: when, from where, what was said and what was counted for it."""

    at_us: int
    source: str
    said: str
    counted: str


@dataclass(frozen=True, slots=True)
class DueSpans:
    """A generation whose spans wait to be exported, and where its outputs are if that is to be told."""

    generation: Generation
    due_us: int
    output_urls: tuple[str, ...] = field(default=(), repr=False)


class Reading:
    """The questions, on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, account: AccountName, id: GenerationId) -> Generation | None:
        """What the store holds of one generation."""
        row = self._connection.execute(select(generations).where(one_of(account, [id]))).one_or_none()
        return None if row is None else rows.from_row(row)

    def accounts_of(self, id: GenerationId) -> list[AccountName]:
        """The accounts under which an id is known."""
        return list(self._connection.scalars(select(generations.c.account).where(generations.c.id == id)))

    def history(self, account: AccountName, id: GenerationId) -> list[LoggedObservation]:
        """The observations that changed something, oldest first."""
        found = self._connection.execute(
            select(observations)
            .where(observations.c.account == account, observations.c.id == id)
            .order_by(observations.c.at_us)
        )
        return [LoggedObservation(row.at_us, row.source, row.said, row.counted) for row in found]

    def followed(self, account: AccountName) -> list[Generation]:
        """The generations to follow, oldest discovered first: not ended, not dropped, and either still named
        by the configuration or handed over for good."""
        handed_over = generations.c.source.in_([Source.API.value, Source.WEBHOOK.value])
        found = self._connection.execute(
            select(generations)
            .where(
                generations.c.account == account,
                generations.c.closed_us.is_(None),
                or_(generations.c.listed.is_(True), handed_over),
            )
            .order_by(generations.c.discovered_us)
        )
        return [rows.from_row(row) for row in found]

    def recent_durations(self, account: AccountName, limit: int) -> list[tuple[str, int]]:
        """Model and duration in microseconds of the generations that ended last, oldest first."""
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

    def totals(self, account: AccountName) -> Iterator[tuple[Series, str, int]]:
        """The account's durable totals."""
        for row in self._connection.execute(select(totals).where(totals.c.account == account)):
            yield Series(account, Family(row.family), tuple(json.loads(row.labels))), row.cell, row.amount

    def reserved_calls(self, account: AccountName, since_us: int) -> list[tuple[int, int]]:
        """Time and number of the calls reserved after `since_us`, and of the reservation before those, which
        may have been spent later. In order of time."""
        of_account = reservations.c.account == account
        before = select(func.max(reservations.c.at_us)).where(of_account, reservations.c.at_us <= since_us)
        found = self._connection.execute(
            select(reservations)
            .where(of_account, reservations.c.at_us >= func.coalesce(before.scalar_subquery(), since_us))
            .order_by(reservations.c.at_us)
        )
        return [(row.at_us, row.calls) for row in found]

    def due_spans(self, limit: int) -> list[DueSpans]:
        """Generations whose spans wait to be exported, by end."""
        found = self._connection.execute(
            select(generations, outbox.c.due_us, outbox.c.output_urls)
            .select_from(outbox.join(generations, _WAITING))
            .order_by(outbox.c.due_us, outbox.c.account, outbox.c.id)
            .limit(limit)
        )
        return [
            DueSpans(rows.from_row(row), row.due_us, tuple(json.loads(row.output_urls or "[]")))
            for row in found
        ]

    def count_due_spans(self) -> int:
        """How many spans wait to be exported."""
        spans = case((generations.c.processing_us.is_(None), 1), else_=3)  # as Generation.spans
        waiting = select(func.sum(spans)).select_from(outbox.join(generations, _WAITING))
        return self._connection.scalar(waiting) or 0


_WAITING = and_(outbox.c.account == generations.c.account, outbox.c.id == generations.c.id)


def one_of(account: AccountName, ids: Sequence[GenerationId]) -> ColumnElement[bool]:
    """The condition that a row is of one of these generations."""
    return and_(generations.c.account == account, generations.c.id.in_(ids))
