"""The files of ids of one account: what they list at present, and what after each change.

Each file is read again when it has changed, and keeps its last good content while it is broken. A file that
is being written is known by its changing: what it lists anew counts at once where that is certain; what it
no longer lists, and that it is broken or gone, counts only once it has stayed so for a while.
"""

import asyncio
import os
import stat
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
from exporter.sources.idfile import MAX_FILE, SUFFIXES, parse_ids
from exporter.sources.watch import FolderWatch

SETTLE = 1.0
"""Seconds without a change after which a file counts as written."""
IMPATIENCE = 10
"""A file that never rests is taken as it stands after so many times the settling."""
RESCAN = 30.0
"""Seconds after which the files are looked at even though no change was heard of: network file systems and
the targets of links may say nothing."""

_log = structlog.get_logger("exporter.sources.idfiles")

Listed = Mapping[GenerationId, NewGeneration]
_Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, times of modification and of change: another one, another content."""


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of one file. `stamp` is None where there is none, and text where it says why it cannot
    be read; it has been so since `since`, and the file has not been taken as it stands since `waiting`. `ids`
    are what it listed when it last was, `more` what it has been seen to list after that."""

    stamp: _Stamp | str | None
    since: float
    waiting: float
    settled: bool = False
    ids: tuple[NewGeneration, ...] = ()
    more: tuple[NewGeneration, ...] = ()
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class _Scan:
    """Everything known after a look at all files."""

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
"""The first look."""


class IdFiles:
    """Follows the files that some globs name. Everything that touches a disk is done on a thread."""

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
    ) -> None:
        """`globs` are relative to `folder`; `clock` is the machine's own, by which files are written."""
        self._account = account
        self._folder = folder
        self._globs = globs
        self._clock = clock
        self._heartbeat = heartbeat
        self._settle = settle
        self._rescan = rescan
        self._scan = _BEFORE
        self._unwatched = False

    @property
    def broken(self) -> int:
        """How many files, and folders that may not be looked into, are broken at present."""
        return self._scan.broken

    @property
    def whole(self) -> bool:
        """Whether what was read last is everything: no file is broken or may still be being written. What it
        does not list is then no longer listed; otherwise it may be yet."""
        return self._scan.whole

    async def read(self) -> Listed:
        """What the files list now. Never raises for what is wrong with a file."""
        await self._update()
        return self._scan.listed

    async def changes(self) -> AsyncGenerator[Listed, None]:
        """What all files list, each time that it has changed since the last `read`, and each time that
        `whole` becomes true; for ever. Closing the iterator (`contextlib.aclosing`) ends the watching."""
        loop = f"files of {self._account}"
        wake = asyncio.Event()
        watch: FolderWatch | None = None
        watched: frozenset[str] = frozenset()
        try:
            while True:
                self._heartbeat.beat(loop)
                wake.clear()
                if await self._update():
                    # How long the taker needs says nothing about this loop.
                    self._heartbeat.end(loop)
                    yield self._scan.listed
                folders = self._scan.folders
                if folders and (watch is None or watch.ended or folders != watched):
                    if watch is not None:
                        self._say_whether_watched(watch)
                        await watch.aclose()
                    watch, watched = FolderWatch(folders, _is_of_ids, wake.set), folders
                await self._wait(wake, loop)
        finally:
            self._heartbeat.end(loop)
            if watch is not None:
                await watch.aclose()

    async def _wait(self, wake: asyncio.Event, loop: str) -> None:
        """Until a change is heard of, a file may have settled, or it is time for a look in any case."""
        now = self._clock.monotonic()
        unsettled = (file.since for file in self._scan.files.values() if not file.settled)
        until = min([now + self._rescan, *(since + self._settle for since in unsettled)])
        while (left := until - self._clock.monotonic()) > 0:
            self._heartbeat.beat(loop)
            if await self._clock.wait(wake, min(left, BEAT)):
                return

    async def _update(self) -> bool:
        """Take in what has changed. Returns whether that is anything for others."""
        before = self._scan
        self._scan = after = await asyncio.to_thread(self._scanned, before)
        for path in sorted(before.files.keys() | after.files.keys()):
            self._say_what_broke(path, before.files.get(path), after.files.get(path))
        for path in after.ignored - before.ignored:
            _log.debug("not a file of ids by its name", account=self._account, file=path)
        return after.listed is not before.listed or (after.whole and not before.whole)

    def _scanned(self, before: _Scan) -> _Scan:
        """`before` brought up to date; on a thread, whose work is lost where the task is cancelled."""
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
        """What is known of a file after a look at it; None where it has gone."""
        stamp, now = _look_at(path), self._clock.monotonic()
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
            content = _content(path, stamp)
            if content is None:
                return replace(file, since=now)
            ids = parse_ids(content, os.path.splitext(path)[1], complete=calm)
        except IdFileError as error:
            return replace(file, settled=calm, broken=str(error)) if due else file
        if not due:
            return replace(file, more=tuple(dict.fromkeys((*file.more, *ids))))
        return replace(file, waiting=now, settled=calm, ids=ids, more=(), broken=None)

    def _age(self, stamp: _Stamp | str | None) -> float:
        """For how long a file has been as it is, by the file system's times, which are compared with ours
        only at the start: what lay there before the exporter was started need not settle."""
        if not isinstance(stamp, tuple):
            return self._settle
        return max(0.0, (self._clock.now_us() - max(stamp[3:]) // 1_000) / MICROS)

    def _say_what_broke(self, path: str, before: _File | None, after: _File | None) -> None:
        was, is_now = before and before.broken, after and after.broken
        if is_now and not was:
            _log.warning("file of ids is broken", account=self._account, file=path, error=is_now)
        elif was and not is_now:
            said = "broken file of ids is mended" if after else "broken file of ids is gone"
            _log.info(said, account=self._account, file=path)

    def _say_whether_watched(self, watch: FolderWatch) -> None:
        if watch.problem and not self._unwatched:
            _log.warning(
                "files of ids cannot be watched; they are looked at now and then",
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
    """Whether a path that a pattern names is meant as a file of ids: by its own suffix, or because the
    pattern spells out another, which is an error to tell of. What editors leave beside a file is not meant by
    `*`."""
    name = os.path.basename(pattern)
    suffix = os.path.splitext(name)[1]
    return _is_of_ids(path) or not has_magic(name) or (suffix != "" and not has_magic(suffix))


def _merged(files: Iterable[_File]) -> Listed:
    merged: dict[GenerationId, NewGeneration] = {}
    for file in files:
        for new in chain(file.ids, file.more):
            merged.setdefault(new.id, new)
    return merged


def _look_at(path: str) -> _Stamp | str | None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _said(error)
    if stat.S_ISDIR(status.st_mode):
        return None if os.access(path, os.R_OK | os.X_OK) else "a folder that may not be looked into"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return _stamp(status)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _content(path: str, stamp: _Stamp | str) -> bytes | None:
    """None where the file has changed since it was looked at. Raises IdFileError."""
    if isinstance(stamp, str):
        raise IdFileError(stamp)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE + 1)
            return content if _stamp(os.fstat(file.fileno())) == stamp else None
    except OSError as error:
        raise IdFileError(_said(error)) from None


def _said(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
