"""The outbox: generations whose spans wait to be exported, entered in the transaction that ends them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from exporter.domain.values import AccountName, Generation
from exporter.store.reading import DueSpans
from exporter.store.schema import outbox


class Outbox:
    """The outbox, on one open transaction. `added` is how many more spans of each account wait after it
    than before."""

    def __init__(self, connection: Connection, *, keeps_output_urls: bool) -> None:
        self._connection = connection
        self._keeps_output_urls = keeps_output_urls
        self.added: Counter[AccountName] = Counter()

    def enter(self, generation: Generation, output_urls: Sequence[str]) -> None:
        """Let the spans of a generation wait, in place of those that waited already."""
        urls = json.dumps(output_urls) if output_urls and self._keeps_output_urls else None
        values = {"due_us": max(0, generation.ended_us or 0), "output_urls": urls}
        moved = self._connection.execute(update(outbox).where(_of(generation)).values(values))
        if not moved.rowcount:
            key = {"account": generation.account, "id": generation.id}
            self._connection.execute(insert(outbox).values(key | values))
            self.added[generation.account] += generation.spans

    def remove(self, generation: Generation) -> None:
        """Let the spans of a generation wait no longer."""
        gone = self._connection.execute(delete(outbox).where(_of(generation)))
        self.added[generation.account] -= gone.rowcount * generation.spans

    def renew(self, generation: Generation) -> None:
        """Note that the spans of a generation have changed: an export of them under way does not count."""
        self._connection.execute(update(outbox).where(_of(generation)).values(due_us=outbox.c.due_us + 1))

    def mark_exported(self, exported: Iterable[DueSpans]) -> None:
        """Mark spans as exported. What has become due anew meanwhile, because an end was reported after a
        drop, stays due."""
        for one in exported:
            gone = self._connection.execute(delete(outbox).where(_as_due(one)))
            self.added[one.generation.account] -= gone.rowcount * one.generation.spans

    def set_aside(self, refused: Iterable[tuple[DueSpans, int]]) -> None:
        """Retry each of these refused spans at its time, in Unix microseconds, and let those that were not
        refused go first until then. What has become due anew meanwhile is not set aside."""
        for one, until_us in refused:
            self._connection.execute(update(outbox).where(_as_due(one)).values(due_us=-until_us))


def is_waiting(generation: Generation) -> ColumnElement[bool]:
    """Return the condition that the spans of a generation wait."""
    return select(outbox.c.id).where(_of(generation)).exists()


def _of(generation: Generation) -> ColumnElement[bool]:
    return and_(outbox.c.account == generation.account, outbox.c.id == generation.id)


def _as_due(due: DueSpans) -> ColumnElement[bool]:
    return and_(_of(due.generation), outbox.c.due_us == due.due_us)
