"""The files of ids of one account: what they list at present, and after each change.

A file is read again when it has changed, and keeps its last good content while it is broken. A file that
keeps changing is being written: an id that it certainly lists counts immediately; an id that it no longer
lists, or that the file is broken or gone, counts only once that has not changed for a while.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import chain
from pathlib import Path

import structlog

from exporter.clock import MICROS, Clock
from exporter.domain.values import AccountName, GenerationId, NewGeneration
from exporter.errors import IdFileError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.sources.globs import find
from exporter.sources.idfile import SUFFIXES, parse_ids
from exporter.sources.stamp import Stamp, content_of, stamp_of
from exporter.sources.watch import FolderWatch
from exporter.threads import on_thread

SETTLE = 1.0
"""Seconds without a change after which a file counts as written."""
IMPATIENCE = 10
"""Times the settling after which a file that never stops changing is read as it is."""
RESCAN = 30.0
"""Seconds after which files are checked without a notification: network file systems and the targets of links
may send none."""

LOGGED = 10
"""Files that are logged by name where many break, or are fixed, at the same time."""

_log = structlog.get_logger("exporter.sources.idfiles")

Listed = Mapping[GenerationId, NewGeneration]


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of one file. `stamp` is None where there is no file, and the reason as text where it
    cannot be read; it has not changed since `since`, and the file has waited to be read as it is since
    `waiting`. `ids` are those of the last such reading, `more` those that were seen in it after that."""

    stamp: Stamp | str | None
    since: float
    waiting: float
    settled: bool = False
    ids: tuple[NewGeneration, ...] = ()
    more: tuple[NewGeneration, ...] = ()
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class _Scan:
    """Everything known after one check of all files."""

    files: Mapping[str, _File]
    listed: Listed
    folders: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        return self is not _BEFORE and all(
            file.settled and file.broken is None for file in self.files.values()
        )

    @property
    def broken(self) -> int:
        return sum(file.broken is not None for file in self.files.values())


_BEFORE = _Scan({}, {})
"""Before the first check."""


class IdFiles:
    """The files that some globs name. Disks are accessed on threads that the process does not wait for at its
    end."""

    def __init__(
        self,
        account: AccountName,
        folder: Path,
        globs: Sequence[str],
        clock: Clock,
        heartbeat: Heartbeat,
        *,
        settle: float = SETTLE,
        rescan: float = RESCAN,
        former: "IdFiles | None" = None,
    ) -> None:
        """`globs` are relative to `folder`; `clock` is the machine's own, as files have its time. What
        `former` ones with the same globs know is kept."""
        self._account = account
        self._folder = folder
        self._globs = globs
        self._clock = clock
        self._heartbeat = heartbeat
        self._settle = settle
        self._rescan = rescan
        same = former is not None and (former._folder, former._globs) == (folder, globs)
        self._scan: _Scan = former._scan if former is not None and same else _BEFORE
        self._unwatched = False

    @property
    def broken(self) -> int:
        """Number of files that are broken at present, and of folders that may not be read."""
        return self._scan.broken

    @property
    def whole(self) -> bool:
        """Whether the last reading was complete: no file is broken, or may still be being written. Only then
        is an id that was not in it no longer listed."""
        return self._scan.whole

    async def read(self) -> Listed:
        """Return what the files list now. Never raises for what is wrong with a file."""
        await self._update()
        return self._scan.listed

    async def changes(self) -> AsyncGenerator[Listed, None]:
        """Yield what all files list, each time that it has changed since the last `read`, and each time that
        `whole` becomes true; never ends. Closing the iterator (`contextlib.aclosing`) ends the watching."""
        loop = f"files of {self._account}"
        wake = asyncio.Event()
        watch: FolderWatch | None = None
        watched: frozenset[str] = frozenset()
        try:
            while True:
                self._heartbeat.beat(loop)
                wake.clear()
                if await self._update():
                    # The consumer may take its time; that is no stall of this loop.
                    self._heartbeat.end(loop)
                    yield self._scan.listed
                folders = self._scan.folders
                if folders and (watch is None or watch.ended or folders != watched):
                    if watch is not None:
                        self._log_watch(watch)
                        await watch.aclose()
                    watch, watched = FolderWatch(folders, _is_of_ids, wake.set), folders
                await self._wait(wake, loop)
        finally:
            self._heartbeat.end(loop)
            if watch is not None:
                await watch.aclose()

    async def _wait(self, wake: asyncio.Event, loop: str) -> None:
        """Wait for a notification, for a file to settle, or for the next check."""
        now = self._clock.monotonic()
        unsettled = (file.since for file in self._scan.files.values() if not file.settled)
        until = min([now + self._rescan, *(since + self._settle for since in unsettled)])
        while (left := until - self._clock.monotonic()) > 0:
            self._heartbeat.beat(loop)
            if await self._clock.wait(wake, min(left, BEAT)):
                return

    async def _update(self) -> bool:
        """Check all files. Returns whether there is anything new to yield."""
        before = self._scan
        self._scan = after = await on_thread(lambda: self._scanned(before), f"files of {self._account}")
        self._log_broken(before.files, after.files)
        for path in after.ignored - before.ignored:
            _log.debug("not a file of ids by its name", account=self._account, file=path)
        return after.listed is not before.listed or (after.whole and not before.whole)

    def _scanned(self, before: _Scan) -> _Scan:
        """`before` brought up to date; runs on a thread."""
        found = [(pattern, find(self._folder, pattern)) for pattern in self._globs]
        meant = {path for pattern, each in found for path in each.files if _is_meant(pattern, path)}
        paths = meant | _union(each.denied for _, each in found)
        looked = {
            path: self._file(path, before.files.get(path), at_start=before is _BEFORE)
            for path in sorted(paths | before.files.keys())
        }
        files = {path: file for path, file in looked.items() if file is not None}
        listed = before.listed
        if any(file is not before.files.get(path) for path, file in looked.items()):
            merged = _merged(files.values())
            listed = listed if merged == listed else merged
        return _Scan(
            files,
            listed,
            folders=_union(each.folders for _, each in found),
            ignored=_union(each.files for _, each in found) - meant,
        )

    def _file(self, path: str, file: _File | None, *, at_start: bool) -> _File | None:
        """What is known of a file after checking it; None where it is gone."""
        stamp, now = stamp_of(path), self._clock.monotonic()
        fresh = file is None or stamp != file.stamp
        if file is None:
            if stamp is None:
                return None
            file = _File(stamp, now - (self._age(stamp) if at_start else 0.0), now)
        elif fresh:
            waiting = now if file.settled else file.waiting
            file = replace(file, stamp=stamp, since=now, waiting=waiting, settled=False)
        calm = now - file.since >= self._settle
        due = calm or now - file.waiting >= self._settle * IMPATIENCE
        if file.settled or not (fresh or due):
            return file
        if stamp is None:
            return None if due else file
        try:
            content = content_of(path, stamp)
            if content is None:
                return replace(file, since=now)
            ids = parse_ids(content, os.path.splitext(path)[1], complete=calm)
        except IdFileError as error:
            return replace(file, settled=calm, broken=str(error)) if due else file
        if not due:
            return replace(file, more=tuple(dict.fromkeys((*file.more, *ids))))
        return replace(file, waiting=now, settled=calm, ids=ids, more=(), broken=None)

    def _age(self, stamp: Stamp | str | None) -> float:
        """Seconds since a file last changed, by the file system's times. Used only at the start: a file that
        was there before need not settle."""
        if not isinstance(stamp, tuple):
            return self._settle
        return max(0.0, (self._clock.now_us() - max(stamp[3:]) // 1_000) / MICROS)

    def _log_broken(self, before: Mapping[str, _File], after: Mapping[str, _File]) -> None:
        was = {path: file.broken for path, file in before.items() if file.broken}
        now = {path: file.broken for path, file in after.items() if file.broken}
        broke, fixed = sorted(now.keys() - was.keys()), sorted(was.keys() - now.keys())
        for path in broke[:LOGGED]:
            _log.warning("file of ids is broken", account=self._account, file=path, error=now[path])
        for path in fixed[:LOGGED]:
            event = "broken file of ids is fixed" if path in after else "broken file of ids is gone"
            _log.info(event, account=self._account, file=path)
        if len(broke) > LOGGED or len(fixed) > LOGGED:
            _log.warning("further files of ids broke or were fixed", account=self._account, broken=len(now))

    def _log_watch(self, watch: FolderWatch) -> None:
        if watch.problem and not self._unwatched:
            _log.warning(
                "files of ids cannot be watched; they are checked at intervals",
                account=self._account,
                every_seconds=self._rescan,
                error=watch.problem,
            )
        self._unwatched = watch.problem is not None


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset(chain.from_iterable(sets))


def _is_of_ids(path: str) -> bool:
    return path.endswith(SUFFIXES)


def _is_meant(pattern: str, path: str) -> bool:
    """Whether a path that a pattern matches is meant as a file of ids: by its own suffix, or because the
    pattern spells out another one, which is then reported as an error. `*` does not mean what editors leave
    beside a file."""
    name = os.path.basename(pattern)
    suffix = os.path.splitext(name)[1]
    return _is_of_ids(path) or not has_magic(name) or (suffix != "" and not has_magic(suffix))


def _merged(files: Iterable[_File]) -> Listed:
    merged: dict[GenerationId, NewGeneration] = {}
    for file in files:
        for new in chain(file.ids, file.more):
            merged.setdefault(new.id, new)
    return merged
