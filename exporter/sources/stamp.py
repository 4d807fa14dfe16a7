"""A file on a disk: its content, and the stamp by which a change of that is noticed."""

import os
import stat

from exporter.errors import IdFileError
from exporter.sources.idfile import MAX_FILE

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, times of modification and of change: another one, another content."""


def stamp_of(path: str) -> Stamp | str | None:
    """Return the stamp of a file, None where there is none, and text where it says why it cannot be read."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _unreadable(error)
    if stat.S_ISDIR(status.st_mode):
        return None if os.access(path, os.R_OK | os.X_OK) else "a folder that may not be read"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return _stamp(status)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def content_of(path: str, stamp: Stamp | str) -> bytes | None:
    """Return the content, or None where the file has changed since its `stamp`. Raises IdFileError."""
    if isinstance(stamp, str):
        raise IdFileError(stamp)
    try:
        # A pipe may have taken the file's place, and would be waited for.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            if _stamp(os.fstat(file.fileno())) != stamp:
                return None
            content = file.read(MAX_FILE + 1)
            return content if _stamp(os.fstat(file.fileno())) == stamp else None
    except OSError as error:
        raise IdFileError(_unreadable(error)) from None


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
