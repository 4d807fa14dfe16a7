"""What the configuration and its files list for one account, and keeping its follower in step with that."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from exporter.clock import Clock
from exporter.domain.values import GenerationId, NewGeneration, Source
from exporter.errors import NotOwnerError, StoreError
from exporter.polling.poller import Poller
from exporter.polling.relisting import Listed
from exporter.sources.idfiles import IdFiles
from exporter.store import Store

RETRY = 1.0
"""Seconds until a list that could not be stored is stored again, if the state can be written by then."""

Files = Mapping[GenerationId, NewGeneration]


@dataclass(frozen=True, slots=True)
class Listing:
    """The listed ids; not `whole` where a file that may list more is broken or still being written."""

    wanted: Mapping[GenerationId, Listed]
    whole: bool


class Sources:
    """The listed ids of one account."""

    def __init__(
        self, poller: Poller, ids: Sequence[GenerationId], files: IdFiles, store: Store, clock: Clock
    ) -> None:
        self._poller = poller
        self._ids = ids
        self._files = files
        self._store = store
        self._clock = clock

    @property
    def files(self) -> IdFiles:
        """The files of ids among them."""
        return self._files

    @property
    def broken_files(self) -> int:
        """How many files of ids cannot be read at present."""
        return self._files.broken

    async def read(self) -> Listing:
        """Return what is listed now."""
        return await self._listing(await self._files.read())

    async def run(self) -> None:
        """Keep the follower in step with what has changed since the last reading, until cancelled."""
        async with aclosing(self._files.changes()) as changes:
            async for files in changes:
                await self.apply(await self._listing(files))

    async def apply(self, listing: Listing) -> None:
        """Let what is listed be followed; returns once that is stored, or the account is another's."""
        while True:
            try:
                await self._poller.follower.list(listing.wanted, whole=listing.whole)
            except NotOwnerError:
                return  # whoever owns the account reads what is listed
            except StoreError:
                await self._clock.sleep(RETRY)
                await self._store.writable.wait()
            else:
                self._poller.wake()
                return

    async def _listing(self, files: Files) -> Listing:
        # Only once every file could be read does what none of them lists count as removed.
        return Listing(await asyncio.to_thread(_merged, self._ids, files), self._files.whole)


def _merged(ids: Sequence[GenerationId], files: Files) -> dict[GenerationId, Listed]:
    """Everything that is listed; an id that the configuration itself lists too is its own."""
    wanted = {id: Listed(Source.CONFIG) for id in ids}
    for id, item in files.items():
        source = Source.CONFIG if id in wanted else Source.FILE
        wanted[id] = Listed(source, item.traceparent)
    return wanted
