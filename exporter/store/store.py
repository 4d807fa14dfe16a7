"""The store for the rest of the exporter: units of work, grouped into transactions on one thread.

The database is used by plain synchronous code on a thread of its own, one hop for a whole transaction; the
event loop only awaits. Units that arrive while a transaction is being committed share the next one.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from exporter.clock import Clock, elapsed
from exporter.domain.ledger import Label, Ledger, Series
from exporter.domain.values import AccountName
from exporter.errors import NotOwnerError, StoreError, UnstorableError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.store.availability import Availability, StoreMeter
from exporter.store.database import Database
from exporter.store.holdings import Holdings
from exporter.store.leases import Lease
from exporter.store.reader import Reader
from exporter.store.reading import Reading
from exporter.store.scope import EVERYTHING, NOTHING
from exporter.store.transaction import Transaction

T = TypeVar("T")
Unit = Callable[[Transaction], T]
"""Work to be done in a transaction. It may be run again if that fails, so it changes nothing else."""

GROUP = 500
"""Units in one transaction, so that none waits long for its commit."""
LONGEST = 0.5
"""Real seconds after which a transaction begins no further unit: until it ends it holds the leases of its
accounts, which others wait for."""
PRUNE_CHUNK = 500
_PRUNE_EVERY = 3600.0
_MAX_REFUSALS = 100
"""Different refusals by the state that are logged."""

_LOST = "another replica has the account, or its state is not as it was written last; it is loaded anew"

_log = structlog.get_logger("exporter.store")


@dataclass(slots=True)
class _Job:
    unit: Unit[Any]
    done: "asyncio.Future[Any]"
    accounts: frozenset[AccountName] = frozenset()
    settle: Callable[[Any], None] | None = None
    """Takes the result in the same step of the event loop as the commit. Such a job only reads."""


class Store:
    """Owns the database and keeps the ledger's totals equal to what is committed.

    `writable` is set while the state can be written. During an outage every write fails at once, and the
    store itself tries until one succeeds; an outage is logged and counted here, and nowhere else.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        meter: StoreMeter,
        heartbeat: Heartbeat,
        *,
        traced: bool,
        keeps_output_urls: bool = False,
        holdings: Holdings | None = None,
    ) -> None:
        """`traced` is whether the spans of generations that end are entered into the outbox, and
        `keeps_output_urls` whether their output URLs are entered as well. `holdings` is what this process
        owns of a state that is shared; None where it owns all of it. Raises StoreError."""
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._meter = meter
        self._heartbeat = heartbeat
        self._traced = traced
        self._keeps_output_urls = keeps_output_urls
        self._holdings = holdings
        self._availability = Availability(clock, meter, database.action, jitter=database.shared)
        self.writable = self._availability.writable
        self._refusals: set[str] = set()
        self._reader = Reader(database)
        self.spans_due = asyncio.Event()
        """Set whenever spans have become due."""
        self._spans_pending: Counter[AccountName] = Counter()
        if traced and holdings is None:
            with database.begin() as connection:
                self._spans_pending.update(Reading(connection).count_due_spans())
        self.scope = EVERYTHING if holdings is None else NOTHING
        """What this process looks after besides what it follows."""
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    @property
    def shared(self) -> bool:
        """Whether other processes write the state too."""
        return self._holdings is not None

    @property
    def spans_pending(self) -> int:
        """Spans that wait to be exported, as of the last commit; none where nothing is traced. Of a shared
        state, those of the accounts that this process owns."""
        return sum(spans for account, spans in self._spans_pending.items() if self.owns(account))

    def may_act_for(self, account: AccountName) -> bool:
        """Whether what is found out for an account now can be written, as far as is known: the state can be,
        and no other replica can have taken the account."""
        return self.writable.is_set() and self.surely_owns(account)

    def surely_owns(self, account: AccountName) -> bool:
        """Whether no other replica can have taken the account."""
        return self._holdings is None or self._holdings.is_current(account, elapsed())

    def owns(self, account: AccountName) -> bool:
        """Whether this process works with the account's lease, which may have been lost meanwhile."""
        return self._holdings is None or account in self._holdings.held

    async def prove_writable(self) -> None:
        """Find out whether the state can be written, which is logged here if it cannot."""
        at_us = self._clock.now_us()
        with contextlib.suppress(StoreError):
            await self.write(lambda tx: tx.prove_writable(at_us))

    async def load(self, account: AccountName) -> None:
        """Load the totals of an account. Raises StoreError."""

        def load(tx: Transaction) -> tuple[list[tuple[Series, str, int]], list[tuple[Label, str]]]:
            return list(tx.totals(account)), list(tx.admissions(account))

        def settle(
            loaded: tuple[Iterable[tuple[Series, str, int]], Iterable[tuple[Label, str]]],
        ) -> None:
            for series in self._ledger.load(account, *loaded):
                _log.error(
                    "a total has stepped back: the state has lost what was committed last",
                    account=account,
                    metric=series.family.value,
                    labels=series.labels,
                )

        await self._enqueue(load, [account], settle)
        await self.recount_spans(account)
        self.spans_due.set()

    async def recount_spans(self, *accounts: AccountName) -> None:
        """Count the spans that wait for these accounts anew, or for all that are owned: of a shared state
        another replica may have sent some as it lost an account. What cannot be counted now will be later."""
        if self._holdings is None or not self._traced:
            return
        wanted = accounts or tuple(self._holdings.held)

        def settle(counted: Mapping[AccountName, int]) -> None:
            for account in filter(self.owns, wanted):
                self._spans_pending[account] = counted.get(account, 0)

        with contextlib.suppress(StoreError):
            await self._enqueue(lambda tx: tx.count_due_spans(wanted), settle=settle)

    async def write(self, unit: Unit[T], *accounts: AccountName) -> T:
        """Run `unit` in a transaction and return its result, once that is committed and in the ledger. It may
        change what the owner of these accounts alone may change. Raises StoreError if it could not be
        committed, at once during an outage; UnstorableError if trying again is of no use; NotOwnerError if
        another replica may own one of the accounts; and whatever the unit raises."""
        return await self._enqueue(unit, accounts)

    async def _enqueue(
        self,
        unit: Unit[T],
        accounts: Iterable[AccountName] = (),
        settle: Callable[[T], None] | None = None,
    ) -> T:
        self._availability.check()
        job = _Job(unit, asyncio.get_running_loop().create_future(), frozenset(accounts), settle)
        self._jobs.put_nowait(job)
        result: T = await job.done
        return result

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Return the answer to a question about what is committed; neither waits for writes nor delays them.
        Raises StoreError."""
        return await self._reader.read(question)

    async def run(self) -> None:
        """Commit what arrives, until cancelled; what has arrived by then is still committed."""
        try:
            while True:
                self._heartbeat.beat("store")
                if not self.writable.is_set():
                    await self._clock.sleep(self._availability.pause)
                    await _to_its_end(self._try_to_write())
                    continue
                try:
                    async with asyncio.timeout(BEAT):
                        first = await self._jobs.get()
                except TimeoutError:
                    continue
                await _to_its_end(self._group(first))
        finally:
            while not self._jobs.empty():
                await self._group(self._jobs.get_nowait())

    async def _try_to_write(self) -> None:
        at_us = self._clock.now_us()
        job = _Job(lambda tx: tx.prove_writable(at_us), asyncio.get_running_loop().create_future())
        try:
            await self._commit([job])
        except StoreError as error:
            self._availability.failed(error)

    async def _group(self, first: _Job) -> None:
        jobs = [first]
        while len(jobs) < GROUP and not self._jobs.empty():
            jobs.append(self._jobs.get_nowait())
        while jobs:
            try:
                jobs = await self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever asked for the work
                if len(jobs) == 1 or _is_outage(error):
                    self._fail(jobs, error)
                    return
                # One unit must not take the others' work down with it.
                for job in jobs:
                    try:
                        await self._commit([job])
                    except Exception as single:  # noqa: BLE001
                        self._fail([job], single)
                return

    async def _commit(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Commit these jobs. Returns those that it had no time for."""
        started = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        leases = self._leases_for(jobs)
        results, transaction, confirmed = await loop.run_in_executor(
            self._thread, self._transact, jobs, leases
        )
        self._meter.store_write(self._clock.monotonic() - started)
        self._availability.succeeded()
        for series in self._ledger.commit(transaction.additions):
            _log.error(
                "a total has reached the largest number that can be stored and stays there",
                account=series.account,
                metric=series.family.value,
                labels=series.labels,
            )
        if self._holdings is not None:
            for account in self._holdings.written(leases, confirmed):
                _log.warning(_LOST, account=account)
        self._note_spans(transaction.outbox.added)
        committed = [(jobs[place], result) for place, result in sorted(results.items())]
        for job, result in committed:
            if job.settle is not None and not isinstance(result, NotOwnerError):
                job.settle(result)
        for job, result in committed:
            if job.done.done():
                continue
            if isinstance(result, NotOwnerError):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)
        return [job for place, job in enumerate(jobs) if place not in results]

    def _note_spans(self, added: Mapping[AccountName, int]) -> None:
        self._spans_pending.update(added)
        if any(spans > 0 for spans in added.values()):
            self.spans_due.set()

    def _leases_for(self, jobs: Sequence[_Job]) -> Mapping[AccountName, Lease]:
        if self._holdings is None:
            return {}
        return self._holdings.of({account for job in jobs for account in job.accounts})

    def _transact(
        self, jobs: Sequence[_Job], leases: Mapping[AccountName, Lease]
    ) -> tuple[dict[int, Any], Transaction, set[AccountName]]:
        until = elapsed() + LONGEST
        with self._database.begin() as connection:
            mine = set() if self._holdings is None else self._holdings.fence(connection, leases)
            transaction = Transaction(
                connection, self._ledger, traced=self._traced, keeps_output_urls=self._keeps_output_urls
            )
            results: dict[int, Any] = {}
            # What reads the totals does so once all the others have been added to them.
            for place in sorted(range(len(jobs)), key=lambda place: jobs[place].settle is not None):
                if results and elapsed() >= until:
                    break
                job = jobs[place]
                if job.settle is not None:
                    transaction.flush()
                if self._holdings is not None and not job.accounts <= mine:
                    results[place] = NotOwnerError()
                else:
                    results[place] = job.unit(transaction)
            transaction.flush()
        return results, transaction, mine

    def _fail(self, jobs: Sequence[_Job], error: Exception) -> None:
        failed = list(jobs)
        if isinstance(error, UnstorableError):
            self._refused(error)
        elif isinstance(error, StoreError):
            # What waits would only meet the same.
            while not self._jobs.empty():
                failed.append(self._jobs.get_nowait())
            self._availability.failed(error, len(failed))
        for job in failed:
            if not job.done.done():
                job.done.set_exception(error)

    def _refused(self, error: UnstorableError) -> None:
        self._meter.store_error()
        text = str(error)
        if text not in self._refusals and len(self._refusals) < _MAX_REFUSALS:
            self._refusals.add(text)
            _log.error("the state refuses a write; further ones for this reason are only counted", error=text)

    async def prune(self, retention_us: Callable[[], int]) -> None:
        """Forget generations that have not been followed nor listed for as long as the retention, in small
        steps, until cancelled."""

        def prune(transaction: Transaction) -> int:
            return transaction.prune(self._clock.now_us() - retention_us(), PRUNE_CHUNK, self.scope)

        while True:
            # A StoreError is counted where it arises, and the next round does what this one could not.
            with contextlib.suppress(StoreError):
                while await self.write(prune):
                    pass
            await self._clock.sleep(_PRUNE_EVERY)

    def close(self) -> None:
        """Wait for the transaction under way, and close the database."""
        self._thread.shutdown()
        self._database.close()


def _is_outage(error: Exception) -> bool:
    return isinstance(error, StoreError) and not isinstance(error, UnstorableError | NotOwnerError)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, also when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
