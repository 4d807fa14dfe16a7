"""Sender of planned deliveries: on time, over HTTP, again where not acknowledged."""

import asyncio
import heapq
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random

import aiohttp

from exporter.clock import MICROS
from exporter.simulator import webhooks
from exporter.simulator.api import SimulatedApi
from exporter.simulator.delivered import NO_ANSWER, succeeded
from exporter.simulator.deliveries import Delivery, Kind

ATTEMPTS = 5
FIRST_BACKOFF_S, BACKOFF_GROWTH, LONGEST_BACKOFF_S = 1.0, 5.0, 125.0
"""Simulated seconds from the first to the second attempt, the factor for each later pause, and the longest.
The vendor documents no retries; comparable vendors retry like this, over a longer time."""
CONCURRENCY = 20
TIMEOUT_S = 30.0
"""Real seconds: the speed of the receiver's machine does not scale with simulated time."""


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """An attempt to be made, of a delivery to the endpoint at `place` in its account's list."""

    at_us: int
    number: int
    delivery: Delivery = field(compare=False)
    place: int = field(compare=False)
    attempt: int = field(compare=False, default=1)


class Deliverer:
    """Deliver the ends of generations to the endpoints that their accounts have at that moment.

    An attempt without a 2xx is repeated, up to `attempts` in all; forged deliveries are sent once.
    Attempts begin in the order in which they are due, at most `concurrency` at once.
    """

    def __init__(
        self,
        api: SimulatedApi,
        attempts: int = ATTEMPTS,
        concurrency: int = CONCURRENCY,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._api = api
        self._attempts = attempts
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._due: list[_Due] = []
        self._scheduled = 0
        self._sending = 0
        self._planned = 0
        self._news = asyncio.Event()
        self._ids = Random(f"{api.world.seed}/delivery ids")

    @property
    def outstanding(self) -> int:
        """Number of ends not planned yet, attempts to be made, and attempts under way."""
        return len(self._api.world.ends) - self._planned + len(self._due) + self._sending

    async def run(self) -> None:
        """Deliver until cancelled. Attempts under way are then cut off; later ones are never sent."""
        world, clock = self._api.world, self._api.clock
        world.on_submitted.append(self._news.set)
        free = asyncio.Semaphore(self._concurrency)
        try:
            async with self._session() as session, asyncio.TaskGroup() as attempts:
                while True:
                    self._news.clear()
                    now_us = world.advance(clock.now_us())
                    self._plan_ends()
                    if self._due and self._due[0].at_us <= now_us:
                        await free.acquire()
                        # Popped only now: while waiting, a retry may have become due earlier.
                        due = heapq.heappop(self._due)
                        self._sending += 1
                        attempt = attempts.create_task(self._make(session, due))
                        attempt.add_done_callback(lambda _: free.release())
                    else:
                        await self._until_due(now_us)
        finally:
            world.on_submitted.remove(self._news.set)

    def _session(self) -> aiohttp.ClientSession:
        # One connection per attempt: a kept one that the receiver is closing would fail the attempt.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
        )

    def _plan_ends(self) -> None:
        world, log = self._api.world, self._api.delivered
        for generation in world.ended(self._planned):
            self._planned += 1
            endpoints = self._api.endpoints.of(generation.account)
            if not endpoints:
                continue
            planned = self._api.mishaps.plan(generation)
            log.plan(generation.id, planned)
            for delivery in planned:
                if delivery.kind is not Kind.LOST:
                    for place in range(len(endpoints)):
                        self._schedule(_Due(delivery.due_us, 0, delivery, place))

    def _schedule(self, due: _Due) -> None:
        heapq.heappush(self._due, replace(due, number=self._scheduled))
        self._scheduled += 1

    async def _until_due(self, now_us: int) -> None:
        """Return when an attempt is due, a generation may have ended, or something was submitted."""
        ahead = [due.at_us for due in self._due[:1]]
        event_us = self._api.world.next_event_us()
        if event_us is not None:
            ahead.append(event_us)
        if ahead:
            await self._api.clock.wait(self._news, (min(ahead) - now_us) / MICROS)
        else:
            await self._news.wait()

    async def _make(self, session: aiohttp.ClientSession, due: _Due) -> None:
        api, delivery = self._api, due.delivery
        try:
            endpoints = api.endpoints.of(delivery.account)
            if due.place >= len(endpoints):
                return
            status = await self._post(session, delivery, endpoints[due.place])
            now_us = api.clock.now_us()
            api.delivered.note(delivery, status, now_us)
            if succeeded(status) or delivery.kind is Kind.FORGED or due.attempt >= self._attempts:
                return
            pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * BACKOFF_GROWTH ** (due.attempt - 1))
            again_us = now_us + round(pause_s * MICROS)
            self._schedule(replace(due, at_us=again_us, attempt=due.attempt + 1))
            self._news.set()
        finally:
            self._sending -= 1

    async def _post(
        self, session: aiohttp.ClientSession, delivery: Delivery, endpoint: webhooks.Endpoint
    ) -> int:
        """Send one attempt. Returns the status of the answer, or NO_ANSWER."""
        delivery_id = str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
        headers = webhooks.headers(delivery.event, delivery_id, delivery.signature(endpoint.secret))
        try:
            async with session.post(
                endpoint.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, UnicodeError):
            # UnicodeError is raised for a host name that is not valid in DNS.
            return NO_ANSWER


@asynccontextmanager
async def delivering(
    api: SimulatedApi,
    attempts: int = ATTEMPTS,
    concurrency: int = CONCURRENCY,
    timeout_s: float = TIMEOUT_S,
) -> AsyncIterator[Deliverer]:
    """Deliver while the context lasts. A failing deliverer ends the context with an ExceptionGroup."""
    deliverer = Deliverer(api, attempts, concurrency, timeout_s)
    async with asyncio.TaskGroup() as beside:
        running = beside.create_task(deliverer.run(), name="simulator-deliverer")
        try:
            yield deliverer
        finally:
            running.cancel()
