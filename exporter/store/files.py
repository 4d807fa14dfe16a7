"""The files of a state on disk: found by their real names, private to their owner, locked against a second
one."""

import fcntl
import os
from pathlib import Path
from typing import IO

from exporter.errors import StateUnusableError

_PRIVATE = 0o600
"""A state may hold the URLs of outputs, which open them to whoever has them."""
_BESIDE = ("-wal", "-shm", ".lock")
"""What SQLite and the lock keep beside the database."""


def resolve(path: Path) -> Path:
    """Return the name of a state file without symbolic links, which all that use it must agree on."""
    return Path(os.path.realpath(path))


def claim(path: Path) -> IO[str]:
    """Create the files of a state where they are missing, and lock them for as long as the
    result is open; the system releases it even after a kill. Raises StateUnusableError and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path.parent, path, *_files_beside(path)):
        _check_writable(file)
    lock = _locked(path)
    try:
        os.close(_open(path))
        _check_names(path)
    except BaseException:
        lock.close()
        raise
    return lock


def hold(path: Path) -> IO[str]:
    """Lock the files of a state as `claim` does, and leave them as they are. Raises StateUnusableError."""
    _check_names(path)
    try:
        return _locked(path)
    except OSError as error:
        raise StateUnusableError(
            f"{path}.lock: cannot lock the state file: {error.strerror}; copy it to a folder that the user "
            f"of this process ({os.geteuid()}) can write"
        ) from None


def make_private(path: Path) -> None:
    """Let nobody but their owner read the files of a state. What SQLite creates beside a private database is
    private too. Raises OSError."""
    for file in (path, *_files_beside(path)):
        status = file.stat()
        # Another user's file that this one may write is shared on purpose, and not ours to change.
        if status.st_mode & 0o777 != _PRIVATE and status.st_uid == os.geteuid():
            file.chmod(_PRIVATE)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def size(path: Path) -> int:
    """Return the bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _files_beside(path: Path) -> list[Path]:
    return [file for file in (Path(f"{path}{suffix}") for suffix in _BESIDE) if file.exists()]


def _check_writable(file: Path) -> None:
    """Refuse a file or folder that exists and cannot be written."""
    if not file.exists():
        return
    needed = os.W_OK | os.X_OK if file.is_dir() else os.R_OK | os.W_OK
    if os.access(file, needed):
        return
    what = "folder of the state file" if file.is_dir() else "state file"
    raise StateUnusableError(
        f"{file}: the {what} cannot be written by the user of this process ({os.geteuid()}); give it to that "
        "user (chown, chmod), mount it writable, or give state.url another place"
    )


def _check_names(path: Path) -> None:
    """Refuse a file that another process may know by another name, and so by another lock."""
    if path.stat().st_nlink > 1:
        raise StateUnusableError(
            f"{path}: the state file has several names (hard links), and each could have an exporter "
            "using it; give state.url a file of its own"
        )


def _open(path: Path) -> int:
    """Open a file; one that is new is private from the beginning."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        return os.open(path, os.O_RDWR)
    os.fchmod(descriptor, _PRIVATE)  # whatever the umask left of it
    return descriptor


def _locked(path: Path) -> IO[str]:
    """Raises StateUnusableError where another process has the lock, and OSError."""
    lock = os.fdopen(_open(Path(f"{path}.lock")), "r+", encoding="ascii")
    try:
        _lock(lock, path)
    except BaseException:
        lock.close()
        raise
    return lock


def _lock(lock: IO[str], path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read().strip()
        by = f" (process {holder})" if holder.isdecimal() else ""
        raise StateUnusableError(
            f"{path}: the state file is in use by another exporter{by}; stop that one, or give state.url "
            "another file"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
