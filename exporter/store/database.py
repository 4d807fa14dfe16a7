"""One SQLite database: opened, and upgraded to the schema of this version."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, delete, event, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from exporter.clock import Clock, SystemClock
from exporter.domain.ledger import HISTOGRAMS
from exporter.errors import StateUnusableError, StoreError, UnstorableError
from exporter.store import files, migrations, schema

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

_log = structlog.get_logger("exporter.store.database")


class Database:
    """A SQLite file in WAL mode. Its one `owner` writes it; without that the file is only read, also while
    its owner runs.

    Raises StateUnusableError where the file cannot be used, with a text that says how to fix it.
    """

    def __init__(self, path: Path, *, owner: bool, clock: Clock | None = None) -> None:
        self.path = path = files.resolve(path)
        self._clock = clock or SystemClock()
        self._lock: IO[str] | None = None
        self._identity: tuple[int, int] | None = None
        try:
            if owner:
                self._lock = files.claim(path)
            elif not path.exists():
                raise StateUnusableError(f"{path}: no such state file; has the exporter run with it yet?")
            self.engine = _engine(path, owner=owner)
            self._reading = _engine(path, owner=False)
            self._prepare(owner=owner)
            if owner:
                # Only now it is known to be ours.
                files.make_private(path)
                self._identity = files.identity(path)
                self._checkpoint()
        except OSError as error:
            self.close()
            raise StateUnusableError(f"{path}: cannot open the state file: {error.strerror}") from error
        except SQLAlchemyError as error:
            self.close()
            raise StateUnusableError(f"{path}: cannot open the state file: {_cause(error)}") from error
        except StateUnusableError:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction: committed on leaving, rolled back on an exception. Raises StoreError, and its
        subclass UnstorableError where the fault lies in what was to be done rather than in the file."""
        if self._identity is not None and files.identity(self.path) != self._identity:
            # SQLite would go on writing to a file that the next process does not find.
            raise StoreError(
                f"{self.path}: the state file was removed or replaced; put it back, or restart the exporter"
            )
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            kind = StoreError if _is_outage(error) else UnstorableError
            raise kind(f"{self.path}: {_cause(error)}") from error
        except (OverflowError, UnicodeError) as error:  # the driver's, for a value that it cannot pass on
            raise UnstorableError(f"{self.path}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction that only reads, beside one that writes. Raises StoreError."""
        try:
            with self._reading.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"{self.path}: {_cause(error)}") from error

    def _checkpoint(self) -> None:
        """Move what is in the write-ahead log into the file itself, which alone is nothing without it."""
        with self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def restart_histograms(self, bounds_us: tuple[int, ...]) -> bool:
        """Forget the histograms if they were made with other buckets. Returns whether it did."""
        wanted = json.dumps(bounds_us)
        with self.begin() as connection:
            kept = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "bounds_us"))
            if kept == wanted:
                return False
            if kept is None:
                connection.execute(insert(schema.meta).values(key="bounds_us", value=wanted))
                return False
            families = [family.value for family in HISTOGRAMS]
            connection.execute(delete(schema.totals).where(schema.totals.c.family.in_(families)))
            connection.execute(
                update(schema.meta).where(schema.meta.c.key == "bounds_us").values(value=wanted)
            )
        return True

    def close(self) -> None:
        """Close the file and release its lock."""
        if hasattr(self, "engine"):
            self.engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _prepare(self, *, owner: bool) -> None:
        """Bring the tables to today's version, where that is this process's to do."""
        with self.engine.begin() as connection:
            names = set(inspect(connection).get_table_names())
            if not names and owner:
                migrations.create(connection)
                return
            version = migrations.version_of(connection) if "meta" in names else None
        if version is None:
            raise StateUnusableError(
                f"{self.path}: this is a database of something else; give state.url another file"
            )
        self._check(version, owner=owner)
        for step in range(version + 1, migrations.VERSION + 1):
            with self.engine.begin() as connection:
                migrations.raise_to(connection, step, self._clock.now_us())
            _log.info("the state file was upgraded", path=str(self.path), version=step)

    def _check(self, version: int, *, owner: bool) -> None:
        found = f"{self.path}: the state file has schema version {version}"
        if version > migrations.VERSION:
            raise StateUnusableError(
                f"{found}, but this version of the exporter knows only up to {migrations.VERSION}; run the "
                "newer exporter that wrote it, or give state.url another file"
            )
        if version < migrations.OLDEST:
            raise StateUnusableError(
                f"{found}, but this version of the exporter can only upgrade from {migrations.OLDEST} on; "
                "restore a backup of it, or give state.url another file"
            )
        if version < migrations.VERSION and not owner:
            raise StateUnusableError(
                f"{found}, of an earlier version of the exporter; `vivix-exporter run` upgrades it to "
                f"{migrations.VERSION} when it starts"
            )


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


def _is_outage(error: SQLAlchemyError) -> bool:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    # The upper bytes of an extended result code tell the cases of a primary one apart.
    return code is not None and code & 0xFF in _OUTAGES


def _cause(error: SQLAlchemyError) -> str:
    """Return the driver's message, without the statement and its values."""
    original = getattr(error, "orig", None)
    return str(original if original is not None else error).splitlines()[0]
