"""`/metrics` as bytes: gathered on the event loop, rendered and compressed on a thread."""

import asyncio
import gzip
import threading
from collections.abc import Sequence

from prometheus_client.exposition import choose_encoder

from exporter.metrics.collector import Collector, Facts
from exporter.metrics.instruments import Instruments
from exporter.metrics.rendering import Rendering

_GZIP_LEVEL = 1  # a scrape is read once, on a near network


class Exposition:
    """The page in each format that is asked for, of which there are few."""

    def __init__(self, collector: Collector, instruments: Instruments, bounds_us: Sequence[int]) -> None:
        """`bounds_us` are those of the ledger."""
        self._collector = collector
        self._instruments = instruments
        self._bounds_us = bounds_us
        self._renderings: dict[tuple[bool, str], Rendering] = {}
        self._rendering = threading.Lock()

    async def page(self, accept: str, *, zipped: bool) -> tuple[bytes, str]:
        """Return the page in the format that suits an Accept header, and its content type."""
        self._instruments.read_watched()
        facts = await self._collector.collect()
        return await asyncio.to_thread(self._page, facts, accept, zipped)

    def _page(self, facts: Sequence[Facts], accept: str, zipped: bool) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        # Versions are many, but the library writes these families alike in all of them.
        _, named, escaping = content_type.rpartition("; escaping=")
        escaping = escaping if named else "underscores"
        with self._rendering:
            rendering = self._renderings.get((openmetrics, escaping))
            if rendering is None:
                rendering = Rendering(encode, self._bounds_us, escaping, openmetrics=openmetrics)
                self._renderings[openmetrics, escaping] = rendering
            body = rendering.page(facts, self._instruments.registry.collect())
        return gzip.compress(body, _GZIP_LEVEL) if zipped else body, content_type
