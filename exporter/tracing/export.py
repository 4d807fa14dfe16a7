"""The loop that empties the store's outbox: batch by batch in the order of the ends, on a thread of its own.

A generation is marked as exported once the collector has its spans, so they arrive at least once, whatever
fails here or there. Nothing waits in memory but the batch under way. Spans that the collector refuses are set
aside in the store and retried now and then, between batches of the others, which do not wait for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import structlog

from exporter.clock import Clock
from exporter.domain.traceid import trace_id
from exporter.domain.values import Generation
from exporter.errors import StoreError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.store import Store
from exporter.store.reading import DueSpans, Reading
from exporter.threads import on_thread
from exporter.tracing.aside import LONGEST_US, retry_at_us
from exporter.tracing.sender import Outcome, Sender, Sent
from exporter.tracing.spans import Trace

BATCH = 200
"""Generations in one request, of three spans at most."""
LINGER = 1.0
"""Seconds in which ends gather for a batch."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds to wait after a failure, doubled each time."""
SUSPECT = 4
"""Failures in a row without a reason after which the batch itself may be the reason."""
RETRY_FAILURES = 10
"""Refused requests after which retries make room for a batch that was never refused."""
PATIENCE = 10.0
"""Seconds that the export waits at its start for what describes spans."""
FINISH = 5.0
"""Real seconds that a batch under way has when the exporter stops."""

_LOOP = "spans"
_SET_ASIDE = "spans of some generations are not accepted; they are kept and retried apart from the others"

_log = structlog.get_logger("exporter.tracing")


class ExportMeter(Protocol):
    """Counts what becomes of spans."""

    def spans_exported(self, spans: int) -> None: ...
    def span_export_failed(self) -> None: ...


@dataclass(slots=True)
class _Lane:
    """Spans of one kind. `size` is how many generations go into the next request: fewer after a refusal, so
    that a generation refused is found by halving, and more again with each success."""

    retries: bool
    size: int = BATCH


@dataclass(slots=True)
class _Trouble:
    """What the log has said begins, and what is counted until it ends."""

    failures: int = 0
    """Failures in a row that are not about what was sent."""
    outage: int = 0
    """Failures since the collector last accepted anything."""
    refused: int = 0
    """Generations set aside since there last were none."""


class SpanExport:
    """Exports what the outbox holds, until cancelled."""

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
        """`describe` makes a trace of what is due, and `informed` says whether it has by now what it needs
        for that. `arrived` is called with each generation whose spans the collector has. `random` spreads the
        attempts of several exporters."""
        self._store = store
        self._sender = sender
        self._describe = describe
        self._informed = informed
        self._arrived = arrived
        self._clock = clock
        self._heartbeat = heartbeat
        self._meter = meter
        self._random = random
        self._fresh, self._retries = _Lane(retries=False), _Lane(retries=True)
        self._lane = self._retries
        self._trouble = _Trouble()

    async def run(self) -> None:
        """Export what is due, for ever. Once cancelled, finish what is under way."""
        turn: asyncio.Future[float | None] | None = None
        try:
            await self._until_informed()
            while True:
                self._heartbeat.beat(_LOOP)
                if not await self._clock.wait(self._store.writable, BEAT):
                    continue
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
        """Export one batch. Returns the seconds to wait before the next, None to wait until one is due."""
        try:
            due = await self._next_batch()
            pause = await self._export(due) if due else None
        except StoreError:
            return FIRST_PAUSE  # the store logs its own outage
        return pause

    async def _next_batch(self) -> Sequence[DueSpans]:
        """Take turns between what was never refused and what was, unless there is only one of them. In an
        outage there is nothing to learn from retries."""
        lanes = [self._fresh, self._retries]
        if self._lane is self._fresh and not self._trouble.failures:
            lanes.reverse()
        for lane in lanes:
            self._lane = lane
            if due := await self._store.read(self._due_in(lane)):
                return due
        await self._note_refusals()
        if self._store.spans_pending:
            await self._store.recount_spans()
        return ()

    def _due_in(self, lane: _Lane) -> Callable[[Reading], Sequence[DueSpans]]:
        if lane.retries:
            return lambda reading: reading.spans_to_retry(
                self._clock.now_us(), LONGEST_US, BATCH, self._store.scope
            )
        return lambda reading: reading.due_spans(BATCH, self._store.scope)

    async def _export(self, due: Sequence[DueSpans]) -> float:
        """Export these, in as many requests as it takes to tell what is refused from what is not. Returns the
        seconds to wait before the next."""
        lane, pause, refusals, said = self._lane, 0.0, 0, ""
        refused: list[DueSpans] = []
        while due and not pause and not (lane.retries and refusals >= RETRY_FAILURES):
            part = due[: lane.size]
            sent = await self._send([self._describe(one) for one in part])
            if sent.outcome is Outcome.EXPORTED:
                await self._mark_exported(part, sent)
                lane.size = min(BATCH, lane.size * 2)
                due = due[len(part) :]
                continue
            self._meter.span_export_failed()
            pause = self._pause_after(sent)
            if self._blames(sent):
                refusals, said = refusals + 1, sent.said
                if len(part) > 1:
                    lane.size = len(part) // 2
                else:
                    refused.append(part[0])
                    due = due[1:]
        if refused:
            await self._set_aside(refused, said)
        return pause

    async def _send(self, traces: Sequence[Trace]) -> Sent:
        sending = asyncio.ensure_future(on_thread(lambda: self._sender.send(traces), _LOOP))
        try:
            while not sending.done():
                self._heartbeat.beat(_LOOP)
                await asyncio.wait({sending}, timeout=BEAT)
            return sending.result()
        finally:
            sending.cancel()

    def _blames(self, sent: Sent) -> bool:
        """Whether what was sent is why it did not arrive. Without a reason it may be, where it was before or
        once nothing else gets through either."""
        if sent.outcome is Outcome.UNKNOWN:
            return self._lane.retries or self._trouble.failures >= SUSPECT
        return sent.outcome is Outcome.REFUSED

    def _pause_after(self, sent: Sent) -> float:
        """Note a failure. Returns the seconds to wait: none where the collector answers and refuses."""
        trouble = self._trouble
        if sent.outcome is Outcome.REFUSED:
            trouble.failures = 0
            return 0.0
        if sent.outcome is Outcome.UNKNOWN and self._lane.retries:
            return FIRST_PAUSE
        if not trouble.outage:
            _log.warning("spans cannot be exported; they wait in the state", error=sent.said)
        trouble.outage += 1
        trouble.failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(trouble.failures - 1, 20))
        return max(pause * self._random.uniform(0.5, 1.0), sent.retry_after or 0.0)

    async def _mark_exported(self, part: Sequence[DueSpans], sent: Sent) -> None:
        trouble = self._trouble
        if trouble.outage:
            _log.info("spans are exported again", failed_attempts=trouble.outage)
        trouble.failures = trouble.outage = 0
        await self._store.write(lambda tx: tx.outbox.mark_exported(part))
        for one, recorded in zip(part, sent.recorded, strict=True):
            if recorded:
                self._meter.spans_exported(one.generation.spans)
                self._arrived(one.generation)

    async def _set_aside(self, refused: Sequence[DueSpans], said: str) -> None:
        """Let the others go first."""
        now_us = self._clock.now_us()
        times = [(one, retry_at_us(one, now_us)) for one in refused]
        await self._store.write(lambda tx: tx.outbox.set_aside(times))
        if not self._trouble.refused:
            example = refused[0].generation
            _log.warning(
                _SET_ASIDE,
                generations=len(refused),
                account=example.account,
                id=example.id,
                trace_id=trace_id(example.id, example.traceparent),
                error=said,
            )
        others = self._trouble.refused + sum(not one.is_set_aside for one in refused)
        self._trouble.refused = max(len(refused), others)

    async def _note_refusals(self) -> None:
        """Log once nothing refused is left, or that an earlier process left some."""
        trouble = self._trouble
        left = await self._store.read(lambda reading: reading.count_spans_set_aside(self._store.scope))
        if left and not trouble.refused:
            _log.warning(_SET_ASIDE, generations=left)
        elif trouble.refused and not left:
            _log.info("all spans are accepted again", generations=trouble.refused)
        trouble.refused = max(left, trouble.refused) if left else 0

    async def _until_due(self) -> None:
        """Return a moment after a span has become due, or when it is time to ask for spans to retry."""
        if await self._clock.wait(self._store.spans_due, BEAT):
            await self._rest(LINGER)

    async def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            self._heartbeat.beat(_LOOP)
            await self._clock.sleep(min(left, BEAT))

    async def _finish(self, turn: "asyncio.Future[float | None] | None") -> None:
        """Let a batch under way arrive, or the last one where the collector answers."""
        if turn is None:
            return
        if turn.done() and not self._trouble.failures:
            turn = asyncio.ensure_future(self._turn())
        if not turn.done():
            await asyncio.wait({turn}, timeout=FINISH)
            turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
