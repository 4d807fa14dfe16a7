"""What Prometheus would have scraped, in files that `promtool tsdb create-blocks-from openmetrics` takes."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import aiohttp

from exporter.clock import MICROS, Clock

_BLOCK_S = 2 * 3600
"""What one of Prometheus' blocks holds, from a multiple of it on. promtool reads a file once for each."""
_PLAIN = {"Accept": "text/plain"}
"""Exemplars are not taken from files."""
_WHOLE, _UNFINISHED = "*.om.gz", "*.om.gz.part"


def finished(folder: Path) -> bool:
    """Whether a folder holds a history, all of it."""
    return any(folder.glob(_WHOLE)) and not any(folder.glob(_UNFINISHED))


def samples(page: str, labels: str, at_us: int) -> Iterator[str]:
    """Yield the samples of a page in the text format with `labels` added and the time, in seconds."""
    at = f"{at_us / MICROS:.3f}"
    for line in page.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, own = series.partition("{")
            yield f"{name}{{{labels}{',' if own else ''}{own or '}'} {value} {at}\n"


class History:
    """Files of a folder, each of what one block holds; the one that is written ends in `.part`.

    Making one begins the first, so that whoever looks knows that there is more to come.
    """

    def __init__(self, folder: Path, instance: str, now_us: int, interval_s: int = 30) -> None:
        """What is left of one that was not finished is removed; `interval_s` is how often a page is scraped.
        Raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        for left in (*folder.glob(_WHOLE), *folder.glob(_UNFINISHED)):
            left.unlink()
        self._folder = folder
        self._interval_us = interval_s * MICROS
        self._labels = f'instance="{instance}",job="vivix"'
        self._begin(_block(now_us))

    async def scrape(self, url: str, clock: Clock, arrived: asyncio.Event) -> None:
        """Scrape `url` until `arrived` is set."""
        async with aiohttp.ClientSession(headers=_PLAIN, raise_for_status=True) as http:
            due_us = clock.now_us()
            while not arrived.is_set():
                async with http.get(url) as answer:
                    self.add(await answer.text(), due_us)
                due_us += self._interval_us
                await clock.wait(arrived, (due_us - clock.now_us()) / MICROS)
        self.end()

    def add(self, page: str, at_us: int) -> None:
        """Add a page that was scraped; raises OSError."""
        if (block := _block(at_us)) != self._block:
            self.end()
            self._begin(block)
        self._file.write(f"up{{{self._labels}}} 1 {at_us / MICROS:.3f}\n")
        self._file.writelines(samples(page, self._labels, at_us))

    def end(self) -> None:
        """Finish the file that is written."""
        self._file.write("# EOF\n")
        self._file.close()
        self._written.rename(self._written.with_suffix(""))

    def _begin(self, block: int) -> None:
        self._block = block
        self._written = self._folder / f"{block}.om.gz.part"
        self._file: IO[str] = gzip.open(self._written, "wt", compresslevel=1)  # noqa: SIM115 - until the next begins


def _block(at_us: int) -> int:
    return at_us // MICROS // _BLOCK_S * _BLOCK_S
