"""The loop that empties the store's outbox: batch by batch in the order of the ends, on a thread of its own.

A generation is ticked off once its spans have arrived, so they arrive at least once, whatever happens here or
there. Nothing waits in memory but the batch under way, and the keys of what the receiver refuses.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeVar

import structlog

from exporter.clock import Clock
from exporter.domain.traceid import trace_id
from exporter.domain.values import AccountName, Generation, GenerationId
from exporter.errors import StoreError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.store import Store
from exporter.store.reading import DueSpans
from exporter.tracing.sender import Outcome, Sender, Sent
from exporter.tracing.spans import Trace

T = TypeVar("T")
Key = tuple[AccountName, GenerationId]

BATCH = 200
"""Generations in one request, of three spans at most."""
LINGER = 1.0
"""Seconds in which ends gather for a batch."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds to wait after a failure, doubled each time."""
SUSPECT = 4
"""Failures in a row without a reason after which the batch itself may be the reason."""
ASIDE_PAUSE, LONGEST_ASIDE = 60.0, 3600.0
"""Seconds after which spans that were refused are tried again, doubled each time."""
MAX_ASIDE = 1_000
"""Refused generations that the others do not wait for."""
PATIENCE = 10.0
"""Seconds that delivery waits at its start for what describes spans."""
FINISH = 5.0
"""Real seconds that a batch under way has when the exporter stops."""

_LOOP = "spans"

_log = structlog.get_logger("exporter.tracing")


class ExportMeter(Protocol):
    """Hears how delivery goes."""

    def spans_exported(self, spans: int) -> None: ...
    def span_export_failed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Aside:
    """A generation that the others do not wait for: when to try again, and how often it was refused."""

    until: float
    refusals: int


@dataclass(slots=True)
class _Trouble:
    """How delivery has been failing; `told` is whether the log says so."""

    failures: int = 0
    told: bool = False
    aside: dict[Key, _Aside] = field(default_factory=dict)


class Delivery:
    """Delivers what the outbox holds, until cancelled."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        describe: Callable[[DueSpans], Trace],
        informed: Callable[[], bool],
        arrived: Callable[[Generation], None],
        clock: Clock,
        heartbeat: Heartbeat,
        meter: ExportMeter,
        random: Random,
    ) -> None:
        """`describe` makes a trace of what is due, and `informed` says whether it knows by now what it needs
        for that. `arrived` hears of each that the receiver has. `random` spreads several exporters' attempts.
        """
        self._store = store
        self._sender = sender
        self._describe = describe
        self._informed = informed
        self._arrived = arrived
        self._clock = clock
        self._heartbeat = heartbeat
        self._meter = meter
        self._random = random
        self._size = BATCH
        self._trouble = _Trouble()

    async def run(self) -> None:
        """Deliver what is due, for ever. Once cancelled, finish what is under way."""
        turn: asyncio.Future[float | None] | None = None
        try:
            await self._until_informed()
            while True:
                self._heartbeat.beat(_LOOP)
                self._store.spans_due.clear()
                turn = asyncio.ensure_future(self._turn())
                pause = await asyncio.shield(turn)
                if pause is None:
                    await self._until_due()
                else:
                    await self._rest(pause)
        finally:
            await self._finish(turn)
            self._sender.stop()
            self._heartbeat.end(_LOOP)

    async def _until_informed(self) -> None:
        """What an earlier process left is due at once, before this one has asked the API anything."""
        until = self._clock.monotonic() + PATIENCE
        while not self._informed() and self._clock.monotonic() < until:
            await self._rest(0.1)

    async def _turn(self) -> float | None:
        """Deliver one batch. Returns the seconds to wait before the next, None to wait until one is due."""
        try:
            due = await self._due()
            if not due:
                return None
            sent = await self._send([self._describe(one) for one in due])
            if sent.outcome is not Outcome.EXPORTED:
                return self._failed(due, sent)
            await self._store.write(lambda tx: tx.mark_spans_exported(due))
        except StoreError as error:
            _log.error("cannot read or write the outbox of spans", error=str(error))
            return FIRST_PAUSE
        self._delivered(due, sent)
        return 0.0

    async def _due(self) -> Sequence[DueSpans]:
        """The next batch: one that was refused before goes alone, so that it holds up no other."""
        now, aside = self._clock.monotonic(), self._trouble.aside
        limit = self._size + len(aside)
        found = await self._store.write(lambda tx: tx.due_spans(limit))
        for one in found:
            if (refused := aside.get(_key(one))) is not None and refused.until <= now:
                return [one]
        return [one for one in found if _key(one) not in aside][: self._size]

    async def _send(self, traces: Sequence[Trace]) -> Sent:
        sending = asyncio.ensure_future(_on_thread(lambda: self._sender.send(traces)))
        try:
            while not sending.done():
                self._heartbeat.beat(_LOOP)
                await asyncio.wait({sending}, timeout=BEAT)
            return sending.result()
        finally:
            sending.cancel()

    def _delivered(self, due: Sequence[DueSpans], sent: Sent) -> None:
        trouble = self._trouble
        if trouble.told:
            _log.info("spans are delivered again")
        trouble.failures, trouble.told = 0, False
        self._size = min(BATCH, self._size * 2)
        for one, recorded in zip(due, sent.recorded, strict=True):
            trouble.aside.pop(_key(one), None)
            if recorded:
                self._meter.spans_exported(one.generation.spans)
                self._arrived(one.generation)

    def _failed(self, due: Sequence[DueSpans], sent: Sent) -> float:
        """Decide what to do about a batch that did not arrive. Returns the seconds to wait."""
        trouble = self._trouble
        self._meter.span_export_failed()
        refused = sent.outcome is Outcome.REFUSED
        if refused and len(due) > 1:
            # It answers, so there is no outage to wait for.
            self._size = len(due) // 2
            return max(FIRST_PAUSE, sent.retry_after or 0.0)
        trouble.failures += 1
        if len(due) > 1 and sent.outcome is Outcome.UNKNOWN and trouble.failures >= SUSPECT:
            self._size = len(due) // 2
        elif refused or (sent.outcome is Outcome.UNKNOWN and trouble.failures >= SUSPECT):
            self._set_aside(due[0], sent)
        if (not refused or trouble.failures >= SUSPECT) and not trouble.told:
            trouble.told = True
            _log.warning("spans cannot be delivered; they wait in the state", error=sent.said)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(trouble.failures - 1, 20))
        return max(pause * self._random.uniform(0.5, 1.0), sent.retry_after or 0.0)

    def _set_aside(self, due: DueSpans, sent: Sent) -> None:
        """Let the others go first."""
        aside, key, generation = self._trouble.aside, _key(due), due.generation
        before = aside.get(key)
        if before is None and len(aside) >= MAX_ASIDE:
            return
        refusals = (before.refusals if before else 0) + (sent.outcome is Outcome.REFUSED)
        pause = min(LONGEST_ASIDE, ASIDE_PAUSE * 2.0 ** min(max(0, refusals - 1), 20))
        aside[key] = _Aside(self._clock.monotonic() + pause, refusals)
        # Once everything is refused, it is no news of each that it is.
        if refusals == 1 and not self._trouble.told:
            _log.error(
                "the spans of a generation are refused; they are kept and tried again now and then",
                account=generation.account,
                id=generation.id,
                trace_id=trace_id(generation.id, generation.traceparent),
                error=sent.said,
            )

    async def _until_due(self) -> None:
        """Return a moment after a span has become due, or once one that was refused may be tried again."""
        now, due = self._clock.monotonic(), self._store.spans_due
        left = min((aside.until - now for aside in self._trouble.aside.values()), default=BEAT)
        if await self._clock.wait(due, min(max(left, 0.0), BEAT)):
            await self._rest(LINGER)

    async def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            self._heartbeat.beat(_LOOP)
            await self._clock.sleep(min(left, BEAT))

    async def _finish(self, turn: "asyncio.Future[float | None] | None") -> None:
        """Let a batch under way arrive, or the last one where there is somebody to take it."""
        if turn is None:
            return
        if turn.done() and not self._trouble.failures:
            turn = asyncio.ensure_future(self._turn())
        if not turn.done():
            await asyncio.wait({turn}, timeout=FINISH)
            turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)


def _key(due: DueSpans) -> Key:
    return due.generation.account, due.generation.id


async def _on_thread(work: Callable[[], T]) -> T:
    """Run `work` on a thread that the process does not wait for at its end, should a collector hang."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits for the result
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=_LOOP, daemon=True).start()
    return await done
