"""SQLite: a file that one process owns, and any number may read meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from exporter.errors import StateUnusableError, StoreError
from exporter.store import files

_BUSY_SECONDS = 5

_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something of the file, not of the statement: sqlite.org/rescode.html."""

_ACTIONS = (
    ("removed or replaced", "put the file back, or restart the exporter"),
    ("full", "free some space on its disk"),
    ("locked", "end the other program that has locked it"),
    ("readonly", "make the file and its folder writable"),
    ("unable to open", "restore the file's folder and its permissions"),
    ("malformed", "restore the file from a backup"),
    ("not a database", "restore the file from a backup"),
)
"""What to do, by a part of the cause in SQLite's words."""
_ACTION = "check its disk: free space, file-size limits and quotas, errors in the system's log"


class Sqlite:
    """A SQLite file in WAL mode. Implements StateEngine."""

    shared = False
    advice = "give state.url another file"

    def __init__(self, path: Path, *, owner: bool, untouched: bool = False) -> None:
        """Lock the file for an `owner`, creating it where it is missing. One that is only read is locked too
        where it is to be `untouched`: no byte of it changes meanwhile. Raises StateUnusableError and
        OSError."""
        self._path = files.resolve(path)
        self._lock: IO[str] | None = None
        self._identity: tuple[int, int] | None = None
        if owner:
            self._lock = files.claim(self._path)
        elif not self._path.exists():
            raise StateUnusableError(f"{self.name}: no such state file; has the exporter run with it yet?")
        elif untouched:
            self._lock = files.hold(self._path)
            self.writing = self.reading = _untouching(self._path)
            return
        self.writing = _engine(self._path, owner=owner)
        self.reading = _engine(self._path, owner=False)

    @property
    def name(self) -> str:
        return str(self._path)

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: the owner's transaction has locked the file."""

    @contextmanager
    def creating(self, connection: Connection) -> Iterator[None]:
        yield

    def check_rights(self, *, empty: bool) -> None:
        """Do nothing: the file itself tells."""

    def opened(self, *, owner: bool) -> None:
        if owner:
            # Only now it is known to be ours.
            files.make_private(self._path)
            self._identity = files.identity(self._path)
            self._checkpoint()

    def action(self, cause: str) -> str:
        return action_for(cause)

    def check(self) -> None:
        if self._identity is not None and files.identity(self._path) != self._identity:
            # SQLite would go on writing to a file that the next process does not find.
            raise StoreError(
                f"{self.name}: the state file was removed or replaced; put it back, or restart the exporter"
            )

    def is_outage(self, error: SQLAlchemyError) -> bool:
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        # The upper bytes of an extended result code tell the cases of a primary one apart.
        return code is not None and code & 0xFF in _OUTAGES

    def close(self) -> None:
        self.writing.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _checkpoint(self) -> None:
        """Move what is in the write-ahead log into the file itself, which alone is nothing without it."""
        with self.writing.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def action_for(cause: str) -> str:
    """What to do where writes fail for this cause."""
    return next((action for part, action in _ACTIONS if part in cause), _ACTION)


def _engine(path: Path, *, owner: bool) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=None if owner else NullPool)

    # The driver on its own begins a transaction only at the first write, too late for a read before it.
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        if owner:
            cursor.execute("PRAGMA journal_mode = WAL")
            # A commit that was acknowledged must outlive a power cut as well.
            cursor.execute("PRAGMA synchronous = FULL")
        else:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if owner else "BEGIN")

    return engine


def _untouching(path: Path) -> Engine:
    """Connections to a file that nobody writes. Even one that only reads would otherwise move the write-ahead
    log into the file when it closes, or leave files of its own beside it."""
    # Without a log there is nothing to read but the file.
    pending = any(files.size(Path(f"{path}{suffix}")) for suffix in ("-wal", "-journal"))
    address = f"file:{quote(bytes(path))}?{'mode=ro' if pending else 'immutable=1'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        # Bytes that are no text become lone surrogates, which is for whoever reads them to see.
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)
