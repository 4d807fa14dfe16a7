"""Every SQL statement that changes state, as verbs of the domain."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, false, insert, or_, select, update

from exporter.clock import MICROS
from exporter.domain import transition
from exporter.domain.ledger import Additions, Ledger
from exporter.domain.spend import Charge, Spend, WalletRead, is_same_window, window
from exporter.domain.values import (
    AccountName,
    DropReason,
    Ended,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Phase,
    Source,
    Transition,
)
from exporter.store import history, rows, upsert
from exporter.store.calls import Calls
from exporter.store.inbox import Inbox
from exporter.store.outbox import Outbox, is_waiting
from exporter.store.reading import ONE, LoggedObservation, Reading, one_of
from exporter.store.schema import generations, in_phase, meta, metadata, observations, outbox
from exporter.store.scope import EVERYTHING, Scope
from exporter.store.totals import add

Item = TypeVar("Item")

_LATELY_US = 600 * MICROS
"""How far before a read of the wallet the ends are looked through that may not be in it."""
CHUNK = 1_000
"""Ids in one statement; SQLite takes at most 32,766 values."""

_ENTER = insert(generations)
_LOG = insert(observations)
_SAVE = update(generations).where(ONE, generations.c.end_recorded_us.is_(None))


@dataclass(frozen=True, slots=True)
class Entered:
    """The result of registering or listing ids: those that are new, and those known before that are still to
    be followed. Of the others there is nothing more to learn."""

    new: Sequence[Generation]
    open: Sequence[Generation]


class Transaction(Reading):
    """The verbs, on one open transaction. `additions` is what it adds to the totals."""

    def __init__(
        self, connection: Connection, ledger: Ledger, *, traced: bool, keeps_output_urls: bool = False
    ) -> None:
        super().__init__(connection)
        self.outbox = Outbox(connection, keeps_output_urls=keeps_output_urls)
        self.inbox = Inbox(connection)
        self.calls = Calls(connection)
        self._ledger = ledger
        self._traced = traced
        self.additions = Additions()
        self._observed: list[dict[str, object]] = []
        self._flushed = False

    def discover(
        self,
        account: AccountName,
        source: Source,
        new: Sequence[NewGeneration],
        at_us: int,
        *,
        listed: bool,
    ) -> Entered:
        """Enter the ids that the account does not have yet. `listed` ones are followed until `unlist`, the
        others are registered for good. Their order is kept, by a microsecond each."""
        mark = generations.c.listed if listed else generations.c.registered
        marked = {mark: True, generations.c.unlisted_us: None} if listed else {mark: True}
        entered: list[Generation] = []
        still_open: list[Generation] = []
        for chunk in _chunks(new):
            candidates: dict[GenerationId, Generation] = {}
            for place, item in enumerate(chunk, len(entered)):
                one = Generation(account, item.id, source, at_us + place, traceparent=item.traceparent)
                candidates.setdefault(item.id, one)
            # Nobody else writes between the question and the insertion: the transaction holds the lock.
            found = self._connection.execute(
                select(
                    generations.c.id,
                    generations.c.closed_us,
                    mark.label("marked"),
                    in_phase(Phase.DROPPED).label("dropped"),
                ).where(one_of(account, list(candidates)))
            ).all()
            known = {GenerationId(row.id): candidates.pop(GenerationId(row.id)) for row in found}
            if candidates:
                self._connection.execute(
                    _ENTER,
                    [
                        rows.to_new_row(candidate) | {"listed": listed, "registered": not listed}
                        for candidate in candidates.values()
                    ],
                )
            entered.extend(candidates.values())
            if known:
                self._connection.execute(
                    update(generations).where(one_of(account, list(known)), mark.is_(False)).values(marked)
                )
            # A registration, or a list that names an id anew, asks to follow it; a list read again does not.
            again = {row.id for row in found if row.dropped and not (listed and row.marked)}
            for id in again:
                self._reopen(account, id, source, at_us)
            self._join_traces(account, known.values())
            open_ids = [GenerationId(row.id) for row in found if row.closed_us is None or row.id in again]
            if open_ids:
                still_open.extend(
                    rows.from_row(row)
                    for row in self._connection.execute(select(generations).where(one_of(account, open_ids)))
                )
        for generation in entered:
            for fact in transition.discover(generation).facts:
                self._ledger.enter(account, fact, self.additions)
        return Entered(entered, still_open)

    def _join_traces(self, account: AccountName, registrations: Iterable[Generation]) -> None:
        """Keep the trace context of a later registration, where there was none and the spans have not been
        exported. An export under way does not count: it is repeated in the caller's trace."""
        for generation in registrations:
            if generation.traceparent is None:
                continue
            joined = self._connection.execute(
                update(generations)
                .where(
                    one_of(account, [generation.id]),
                    generations.c.traceparent.is_(None),
                    or_(generations.c.closed_us.is_(None), is_waiting(generation)),
                )
                .values(traceparent=generation.traceparent)
            )
            if joined.rowcount:
                self.outbox.renew(generation)

    def _reopen(self, account: AccountName, id: GenerationId, source: Source, at_us: int) -> None:
        """Follow a dropped generation again."""
        stored = self.find(account, id)
        assert stored is not None, "it was found in this transaction"
        said = "registered again" if source is Source.API else "listed again"
        self._save(transition.reopen(stored, at_us), at_us, source.value, said)
        # The span of its drop may wait; a later one will replace it.
        self.outbox.remove(stored)

    def unlist(self, account: AccountName, ids: Iterable[GenerationId], at_us: int) -> set[GenerationId]:
        """Mark ids as no longer listed by the configuration and its files. Returns those that are followed
        all the same, because they are registered."""
        kept: set[GenerationId] = set()
        for chunk in _chunks(list(ids)):
            self._connection.execute(
                update(generations)
                .where(one_of(account, chunk), generations.c.listed.is_(True))
                .values(listed=False, unlisted_us=at_us)
            )
            registered = self._connection.scalars(
                select(generations.c.id).where(one_of(account, chunk), generations.c.registered.is_(True))
            )
            kept.update(map(GenerationId, registered))
        return kept

    def observe(
        self, account: AccountName, id: GenerationId, observation: Observation, known: Generation | None
    ) -> Transition:
        """Apply an observation to the stored generation; `known` is the one in memory, with the polls that
        were not written. Raises KeyError for an unknown id."""
        stored = self.find(account, id)
        if stored is None:
            raise KeyError(id)
        return self._observe(stored, observation, known)

    def _observe(
        self,
        generation: Generation,
        observation: Observation,
        known: Generation | None = None,
        *,
        stored: bool = True,
    ) -> Transition:
        before = generation if known is None else transition.with_polls_of(generation, known)
        after = transition.observe(before, observation)
        if transition.is_material(generation, after.generation):
            self._save(
                after,
                observation.at_us,
                observation.via.value,
                history.said(observation),
                observation.output_urls,
                stored=stored,
            )
        return after

    def deliver(
        self,
        account: AccountName,
        id: GenerationId,
        observation: Observation,
        known: Generation | None,
        oldest_us: int,
    ) -> Transition | None:
        """Apply an end that a webhook reported, entering an id that was not registered. A repeated delivery
        has no facts. None where the id is unknown and its end lies before `oldest_us`: it may have been
        counted and forgotten."""
        stored = self.find(account, id)
        if stored is not None:
            return self._observe(stored, observation, known)
        if observation.completed_us is not None and observation.completed_us < oldest_us:
            return None
        # Nobody else has entered it meanwhile: the transaction holds the lock.
        discovered = transition.discover(Generation(account, id, Source.WEBHOOK, observation.at_us))
        for fact in discovered.facts:
            self._ledger.enter(account, fact, self.additions)
        after = self._observe(discovered.generation, observation, stored=False)
        return Transition(after.generation, (*discovered.facts, *after.facts))

    def drop(self, generation: Generation, reason: DropReason, at_us: int, said: str) -> Transition:
        """Stop following a generation; nothing happens if its end or drop is already known."""
        stored = self.find(generation.account, generation.id)
        if stored is None:
            return Transition(generation)
        after = transition.drop(transition.with_polls_of(stored, generation), reason, at_us)
        if stored.followed:
            self._save(after, at_us, "poll", said)
        return after

    def log(self, account: AccountName, id: GenerationId, lines: Sequence[LoggedObservation]) -> None:
        """Add lines to the history of a generation."""
        for line in lines:
            said = {"at_us": line.at_us, "source": line.source, "said": line.said, "counted": line.counted}
            self._observed.append({"account": account, "id": id, **said})

    def read_wallet(self, account: AccountName, read: WalletRead) -> None:
        """Enter a read of the account's wallet, which was made long enough ago that what was registered
        before it has been polled."""
        spend = self._spend(account)
        if spend is None or not is_same_window(spend, read):
            spend = self._opened(account, spend, read)
        latest = self.charges(account, read.asked_us - _LATELY_US)
        self.additions.spend[account] = spend.with_read(read, latest)

    def open_wallet(self, account: AccountName, read: WalletRead) -> None:
        """Begin with the wallet of an account that was never read before."""
        if self._spend(account) is None:
            self.additions.spend[account] = self._opened(account, None, read)

    def _opened(self, account: AccountName, former: Spend | None, read: WalletRead) -> Spend:
        spend = window(former, read)
        for charge in self.charges(account, spend.begun_first_us - _LATELY_US):
            if charge.ended_us is not None:
                spend = spend.with_ended(charge)
        return spend

    def _spend(self, account: AccountName) -> Spend | None:
        return self.additions.spend.get(account) or self._ledger.spend(account)

    def prune(self, before_us: int, limit: int, of: Scope = EVERYTHING) -> int:
        """Forget up to `limit` generations that have been neither followed nor listed since `before_us`,
        unless a span is still due for them. Returns how many were forgotten. Without tracing, spans that an
        earlier configuration left behind go with their generations."""
        due = and_(outbox.c.account == generations.c.account, outbox.c.id == generations.c.id)
        closed_us, unlisted_us = generations.c.closed_us, generations.c.unlisted_us
        # One that ended long ago may have been listed until now, and may be listed again.
        closed = and_(closed_us < before_us, or_(unlisted_us.is_(None), unlisted_us < before_us))
        abandoned = and_(closed_us.is_(None), generations.c.registered.is_(False), unlisted_us < before_us)
        old = self._connection.execute(
            select(generations.c.account, generations.c.id)
            .where(
                or_(closed, abandoned),
                generations.c.listed.is_(False),
                of.covers(generations.c.account),
                *([~select(outbox.c.id).where(due).exists()] if self._traced else []),
            )
            .limit(limit)
            # Whoever follows them again meanwhile, on a state that is shared, keeps them.
            .with_for_update(skip_locked=True)
        ).all()
        keys = [{"of_account": row.account, "of_id": row.id} for row in old]
        if keys:
            for table in (observations, outbox, generations):
                self._connection.execute(
                    delete(table).where(
                        table.c.account == bindparam("of_account"), table.c.id == bindparam("of_id")
                    ),
                    keys,
                )
        return len(keys)

    def prove_writable(self, at_us: int) -> None:
        """Write something, so that the commit proves that the state can be written."""
        for table in metadata.tables.values():
            # Changes nothing, but not without the right to, nor while somebody has locked the table.
            column = next(iter(table.columns))
            self._connection.execute(update(table).where(false()).values({column: column}))
        written = upsert.insert(self._connection, meta).values(key="proved_writable_us", value=str(at_us))
        self._connection.execute(
            written.on_conflict_do_update(index_elements=["key"], set_={"value": written.excluded.value})
        )

    def flush(self) -> None:
        """Write the additions of this transaction, and what was observed in it; nothing more may be added
        then."""
        if not self._flushed:
            add(self._connection, self.additions)
            if self._observed:
                self._connection.execute(_LOG, self._observed)
        self._flushed = True

    def _enter_spend(self, ended: Generation) -> None:
        spend, charge = self._spend(ended.account), Charge.of(ended)
        if spend is not None and charge is not None:
            self.additions.spend[ended.account] = spend.with_ended(charge)

    def _save(
        self,
        after: Transition,
        at_us: int,
        source: str,
        said: str,
        output_urls: Sequence[str] = (),
        *,
        stored: bool = True,
    ) -> None:
        """One that is not `stored` yet is entered as registered."""
        generation = after.generation
        values = rows.to_row(generation)
        if stored:
            key = {"of_account": generation.account, "of_id": generation.id}
            saved = self._connection.execute(_SAVE, values | key)
            if saved.rowcount != 1:
                raise RuntimeError(f"generation {generation.id} ended twice in one transaction")
        else:
            self._connection.execute(_ENTER, values | {"listed": False, "registered": True})
        if generation.model is not None:
            self._ledger.admit_model(generation.account, generation.model, self.additions)
        for fact in after.facts:
            self._ledger.enter(generation.account, fact, self.additions)
            if isinstance(fact, Ended):
                self._enter_spend(generation)
        counted = "; ".join(map(history.counted, after.facts))
        self.log(generation.account, generation.id, [LoggedObservation(at_us, source, said, counted)])
        if self._traced and not generation.followed and generation.created_us is not None:
            self.outbox.enter(generation, output_urls)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
