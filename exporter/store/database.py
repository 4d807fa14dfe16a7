"""One database: opened, and upgraded to the schema of this version."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, delete, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from exporter.clock import Clock, SystemClock
from exporter.domain.ledger import HISTOGRAMS
from exporter.errors import StateUnusableError, StoreError, UnstorableError
from exporter.store import migrations, schema
from exporter.store.engine import StateEngine, cause
from exporter.store.upsert import insert

UNFINISHED = "unfinished_migration"
"""The key in `meta` of the mark that a migration into this state leaves until it has finished."""

BUCKETS = "bounds_us"
"""The key in `meta` of the buckets that the histograms were made with, in microseconds."""

_log = structlog.get_logger("exporter.store.database")


def unfinished_migration(connection: Connection) -> str | None:
    """Return the mark of a migration that has not finished; None where there is none."""
    return connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == UNFINISHED))


def changed_settings(connection: Connection, wanted: Mapping[str, str]) -> list[str]:
    """Return the keys of settings of which the state keeps another value."""
    kept = _kept(connection, wanted)
    return [key for key, value in wanted.items() if kept.get(key, value) != value]


def keep_settings(connection: Connection, wanted: Mapping[str, str]) -> bool:
    """Let the state have these settings. Returns whether its histograms begin anew for that, because they
    were made with other buckets."""
    if _kept(connection, wanted) == wanted:
        return False
    restarted = BUCKETS in changed_settings(connection, wanted)
    if restarted:
        families = [family.value for family in HISTOGRAMS]
        connection.execute(delete(schema.totals).where(schema.totals.c.family.in_(families)))
    row = insert(connection, schema.meta)
    connection.execute(
        row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value}),
        [{"key": key, "value": value} for key, value in wanted.items()],
    )
    return restarted


def _kept(connection: Connection, keys: Iterable[str]) -> dict[str, str]:
    found = connection.execute(select(schema.meta).where(schema.meta.c.key.in_(list(keys))))
    return {row.key: row.value for row in found}


class Database:
    """The database of a state. An `owner` writes it; without that it is only read, also while its owners run.

    Raises StateUnusableError where it cannot be used, with a text that says how to fix it.
    """

    def __init__(
        self,
        engine: StateEngine,
        *,
        owner: bool,
        clock: Clock | None = None,
        may_be_empty: bool = False,
        may_be_unfinished: bool = False,
    ) -> None:
        """Own `engine` from now on, and close it. `may_be_empty` is whether a state without tables may be
        opened to be read, `may_be_unfinished` whether one may be opened that a migration has not filled."""
        self._engine = engine
        self._may_be_empty = may_be_empty
        self._may_be_unfinished = may_be_unfinished
        self._clock = clock or SystemClock()
        try:
            self._prepare(owner=owner)
            engine.opened(owner=owner)
        except (OSError, SQLAlchemyError) as error:
            self.close()
            said = error.strerror if isinstance(error, OSError) else cause(error)
            raise StateUnusableError(f"{self.name}: cannot open the state: {said}") from error
        except StateUnusableError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The state as messages name it, without anything secret."""
        return self._engine.name

    @property
    def shared(self) -> bool:
        """Whether other processes may write the state at the same time."""
        return self._engine.shared

    def action(self, cause: str) -> str:
        """What to do where writes fail for this cause."""
        return self._engine.action(cause)

    def lock_schema(self, connection: Connection) -> None:
        """Keep others from changing the schema, or from joining, until the transaction ends."""
        self._engine.lock_schema(connection)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction: committed on leaving, rolled back on an exception. Raises StoreError, and its
        subclass UnstorableError where the fault lies in what was to be done rather than in the database."""
        self._engine.check()
        try:
            with self._engine.writing.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            kind = StoreError if self._engine.is_outage(error) else UnstorableError
            raise kind(f"{self.name}: {cause(error)}") from error
        except (OverflowError, UnicodeError) as error:  # the driver's, for a value that it cannot pass on
            raise UnstorableError(f"{self.name}: {error}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction that only reads, beside one that writes. Raises StoreError."""
        try:
            with self._engine.reading.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"{self.name}: {cause(error)}") from error

    def restart_histograms(self, bounds_us: tuple[int, ...]) -> bool:
        """Forget the histograms if they were made with other buckets. Returns whether it did."""
        with self.begin() as connection:
            return keep_settings(connection, {BUCKETS: json.dumps(bounds_us)})

    def check_rights(self) -> None:
        """Raise StateUnusableError where an owner could not use this state, which is open to be read."""
        try:
            with self._engine.reading.begin() as connection:
                empty = self._version(connection) is None
            self._engine.check_rights(empty=empty)
        except SQLAlchemyError as error:
            raise StateUnusableError(f"{self.name}: {cause(error)}") from error

    def close(self) -> None:
        """Close the database, so that others may own it."""
        self._engine.close()

    def _prepare(self, *, owner: bool) -> None:
        """Bring the tables to today's version, where that is this process's to do."""
        if not owner:
            with self._engine.reading.begin() as connection:
                version = self._version(connection)
            if version is not None:
                self._check(version, owner=False)
            elif not self._may_be_empty:
                raise StateUnusableError(f"{self.name}: no state yet; has the exporter run with it?")
            return
        with self._engine.writing.begin() as connection:
            self._engine.lock_schema(connection)
            version = self._version(connection)
            if version is None:
                with self._engine.creating(connection):
                    migrations.create(connection)
                return
        self._check(version, owner=True)
        for step in range(version + 1, migrations.VERSION + 1):
            with self._engine.writing.begin() as connection:
                self._engine.lock_schema(connection)
                if self._version(connection) != step - 1:
                    continue  # another process was faster
                with self._engine.creating(connection):
                    migrations.raise_to(connection, step, self._clock.now_us())
            _log.info("the state was upgraded", state=self.name, version=step)

    def _version(self, connection: Connection) -> int | None:
        """The version of the schema, None where there are no tables. Raises StateUnusableError."""
        names = set(inspect(connection).get_table_names())
        if not names:
            return None
        version = migrations.version_of(connection) if "meta" in names else None
        if version is None:
            raise StateUnusableError(
                f"{self.name}: this is a database of something else; {self._engine.advice}"
            )
        self.check_finished(connection)
        return version

    def check_finished(self, connection: Connection) -> None:
        """Raise StateUnusableError where a migration has not filled the state yet, unless it may be so."""
        if not self._may_be_unfinished and unfinished_migration(connection) is not None:
            raise StateUnusableError(
                f"{self.name}: a migration into this state has not finished; run `vivix-exporter "
                f"migrate-state` again as it was run before, or {self._engine.advice}"
            )

    def _check(self, version: int, *, owner: bool) -> None:
        found = f"{self.name}: the state has schema version {version}"
        if version > migrations.VERSION:
            raise StateUnusableError(
                f"{found}, but this version of the exporter knows only up to {migrations.VERSION}; run the "
                f"newer exporter that wrote it, or {self._engine.advice}"
            )
        if version < migrations.OLDEST:
            raise StateUnusableError(
                f"{found}, but this version of the exporter can only upgrade from {migrations.OLDEST} on; "
                f"restore a backup of it, or {self._engine.advice}"
            )
        if version < migrations.VERSION and not owner:
            raise StateUnusableError(
                f"{found}, of an earlier version of the exporter; `vivix-exporter run` upgrades it to "
                f"{migrations.VERSION} when it starts"
            )
