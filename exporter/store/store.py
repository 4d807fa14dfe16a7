"""The store for the rest of the exporter: units of work, grouped into transactions on one thread.

The database is used by plain synchronous code on a thread of its own, one hop for a whole transaction; the
event loop only awaits. Units that arrive while a transaction is being committed share the next one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from exporter.clock import Clock
from exporter.domain.ledger import Ledger
from exporter.errors import StoreError, UnstorableError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.store.availability import Availability, StoreMeter
from exporter.store.database import Database
from exporter.store.reading import Reading
from exporter.store.transaction import Transaction

T = TypeVar("T")
Unit = Callable[[Transaction], T]
"""Work to be done in a transaction. It may be run again if that fails, so it changes nothing else."""

GROUP = 500
"""Units in one transaction, so that none waits long for its commit."""
PRUNE_CHUNK = 500
_PRUNE_EVERY = 3600.0
_MAX_REFUSALS = 100
"""Different refusals by the state that are logged."""

_log = structlog.get_logger("exporter.store")


@dataclass(slots=True)
class _Job:
    unit: Unit[Any]
    done: "asyncio.Future[Any]"


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
    ) -> None:
        """`traced` is whether the spans of generations that end are entered into the outbox, and
        `keeps_output_urls` whether their output URLs are entered as well. Raises StoreError."""
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._meter = meter
        self._heartbeat = heartbeat
        self._traced = traced
        self._keeps_output_urls = keeps_output_urls
        self._availability = Availability(clock, meter)
        self.writable = self._availability.writable
        self._refusals: set[str] = set()
        self._unread = 0
        self.spans_due = asyncio.Event()
        """Set whenever spans have become due."""
        self.spans_pending = 0
        """Spans that wait to be exported, as of the last commit; none where nothing is traced."""
        if traced:
            with database.begin() as connection:
                self.spans_pending = Reading(connection).count_due_spans()
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in a transaction and return its result, once that is committed and in the ledger. Raises
        StoreError if it could not be committed, at once during an outage; UnstorableError if trying again is
        of no use; and whatever the unit raises."""
        self._availability.check()
        job = _Job(unit, asyncio.get_running_loop().create_future())
        self._jobs.put_nowait(job)
        result: T = await job.done
        return result

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Return the answer to a question about what is committed; neither waits for writes nor delays them.
        Raises StoreError."""

        def ask() -> T:
            with self._database.read() as connection:
                return question(Reading(connection))

        try:
            answer = await asyncio.to_thread(ask)
        except StoreError as error:
            if not self._unread:
                _log.error("the state cannot be read", error=str(error))
            self._unread += 1
            raise
        if self._unread:
            _log.info("the state can be read again", reads_failed=self._unread)
            self._unread = 0
        return answer

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
        try:
            await self._commit(jobs)
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

    async def _commit(self, jobs: Sequence[_Job]) -> None:
        started = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        results, transaction = await loop.run_in_executor(self._thread, self._transact, jobs)
        self._meter.store_write(self._clock.monotonic() - started)
        self._availability.succeeded()
        for series in self._ledger.commit(transaction.additions):
            _log.error(
                "a total has reached the largest number that can be stored and stays there",
                account=series.account,
                metric=series.family.value,
                labels=series.labels,
            )
        if transaction.outbox.added:
            self.spans_pending += transaction.outbox.added
            self.spans_due.set()
        for job, result in zip(jobs, results, strict=True):
            if not job.done.done():
                job.done.set_result(result)

    def _transact(self, jobs: Sequence[_Job]) -> tuple[list[Any], Transaction]:
        with self._database.begin() as connection:
            transaction = Transaction(
                connection, self._ledger, traced=self._traced, keeps_output_urls=self._keeps_output_urls
            )
            results = [job.unit(transaction) for job in jobs]
            transaction.flush()
        return results, transaction

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
            return transaction.prune(self._clock.now_us() - retention_us(), PRUNE_CHUNK)

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
    return isinstance(error, StoreError) and not isinstance(error, UnstorableError)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, also when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
