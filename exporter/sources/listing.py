"""What the configuration and its files list for one account, and keeping its follower in step with that."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import structlog

from exporter.clock import Clock
from exporter.domain.values import GenerationId, NewGeneration, Source
from exporter.errors import StoreError
from exporter.polling.follower import Listed
from exporter.polling.poller import Poller
from exporter.sources.idfiles import IdFiles

RETRY = 1.0
"""Seconds until a list that could not be stored is tried again."""

_log = structlog.get_logger("exporter.sources.listing")

Files = Mapping[GenerationId, NewGeneration]


class Sources:
    """The listed ids of one account. `taken_up` is set once the follower knows the first list."""

    def __init__(self, poller: Poller, ids: Sequence[GenerationId], files: IdFiles, clock: Clock) -> None:
        self._poller = poller
        self._ids = ids
        self._files = files
        self._clock = clock
        self.applied = asyncio.Event()

    @property
    def broken_files(self) -> int:
        """How many files of ids cannot be read at present."""
        return self._files.broken

    async def run(self) -> None:
        """Keep the follower in step, until cancelled."""
        await self._apply(await self._files.read())
        self.applied.set()
        async with aclosing(self._files.changes()) as changes:
            async for content in changes:
                await self._apply(content)

    async def _apply(self, files: Files) -> None:
        wanted = await asyncio.to_thread(_merged, self._ids, files)
        while True:
            try:
                # Only once every file could be read does what none of them lists count as removed.
                await self._poller.follower.list(wanted, whole=self._files.whole)
            except StoreError as error:
                account = self._poller.account
                _log.error("cannot store the list of ids; trying again", account=account, error=str(error))
                await self._clock.sleep(RETRY)
            else:
                self._poller.wake()
                return


def _merged(ids: Sequence[GenerationId], files: Files) -> dict[GenerationId, Listed]:
    """Everything that is listed; what the configuration itself lists is first its own."""
    wanted = {id: Listed(Source.CONFIG) for id in ids}
    for id, item in files.items():
        source = Source.CONFIG if id in wanted else Source.FILE
        wanted[id] = Listed(source, item.traceparent)
    return wanted
