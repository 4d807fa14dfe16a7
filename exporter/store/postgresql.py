"""PostgreSQL: a database that any number of replicas share, directly or through a pooler in transaction mode.

Nothing here depends on a session: what is set is set for a transaction, and no statement is prepared.
"""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from exporter.errors import StateUnusableError
from exporter.store import conninfo as conninfos
from exporter.store import deadline, schema
from exporter.store.engine import cause

OLDEST = 13
"""The earliest major version that the statements are written for."""
STATEMENT_SECONDS = 4.0
"""How long the server works on a statement; shorter than its client waits, so that it gives up first."""
IDLE_SECONDS = 3.0
"""How long a transaction may wait for its client, who may be frozen: it holds up a take-over."""
UPGRADE_SECONDS = 3600.0
"""How long a statement may take that changes the schema, and how long others wait for that."""
CONNECT_SECONDS = 3
"""How long a server may take to let somebody in while accounts may be lost meanwhile."""
OPEN_SECONDS = 15
"""The same while a state is opened: a busy server is no reason to give up."""
READERS = 4
"""Connections for transactions that only read."""

_SCHEMA_LOCK = 0x76697669
"""An advisory lock of our own, held for a transaction: which number it is does not matter."""
_LOCK_EVERY = 0.05

_ACTION = "check PostgreSQL and the network to it"
_READ_ONLY = "connect to the primary: name all servers and target_session_attrs=read-write in state.url"

_REFUSED_STATEMENTS = ("0A", "21", "22", "23", "40", "42", "44", "54")
"""Classes of SQLSTATE that speak of a statement, its values or a transaction that was in the way of another,
not of the server: postgresql.org/docs, appendix A."""
_REFUSED_USER = "42501"  # insufficient_privilege, which ends once it is granted
_NO_LONGER_PRIMARY = "25006"  # read_only_sql_transaction

_MAY_CREATE = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"


class Postgresql:
    """A PostgreSQL database. Implements StateEngine."""

    shared = True
    advice = "give state.url another database"

    def __init__(self, conninfo: str, *, owner: bool) -> None:
        """`conninfo` is whatever libpq understands. Raises StateUnusableError."""
        try:
            parts = conninfos.parameters(conninfo)
        except ValueError as error:
            raise StateUnusableError(f"state.url: {error}") from None
        self._name = conninfos.name_of(parts)
        settings: dict[str, Any] = {
            "fallback_application_name": "vivix-exporter",
            "connect_timeout": OPEN_SECONDS,
            "keepalives_idle": 2,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": round(deadline.ANSWER_SECONDS * 1000),
        }
        settings = {key: value for key, value in settings.items() if key not in parts}

        def connect() -> deadline.Connection:
            connection = deadline.Connection.connect(
                conninfo, prepare_threshold=None, cursor_factory=deadline.Cursor, **settings
            )
            # Whatever the server's default is: whoever waits for a lease sees then what has become of it.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            return connection

        def connect_to_read() -> deadline.Connection:
            connection = connect()
            # As on SQLite: all that is read in a transaction is of one moment.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return connection

        self.writing = _engine(connect, 2)
        self.reading = _engine(connect_to_read, READERS)
        try:
            self._check_server(owner=owner)
        except SQLAlchemyError as error:
            self.close()
            raise StateUnusableError(f"{self.name}: cannot open the state: {cause(error)}") from error
        except StateUnusableError:
            self.close()
            raise
        if "connect_timeout" in settings:
            settings["connect_timeout"] = CONNECT_SECONDS

    @property
    def name(self) -> str:
        return self._name

    def lock_schema(self, connection: Connection) -> None:
        # Asked for again and again: a wait in the server would look like one that does not answer.
        until = time.monotonic() + UPGRADE_SECONDS
        while not connection.exec_driver_sql(
            f"SELECT pg_try_advisory_xact_lock({_SCHEMA_LOCK})"
        ).scalar_one():
            if time.monotonic() > until:
                raise StateUnusableError(f"{self.name}: another process is changing the schema for too long")
            time.sleep(_LOCK_EVERY)

    @contextmanager
    def creating(self, connection: Connection) -> Iterator[None]:
        _driver(connection).patience = UPGRADE_SECONDS
        _set_local(connection, statement_timeout=UPGRADE_SECONDS)
        try:
            yield
        except DBAPIError as error:
            if _state(error.orig) != _REFUSED_USER:
                raise
            raise StateUnusableError(
                f"{self.name}: this user may not create or change tables ({cause(error)}); grant that, "
                "or let another user run what `vivix-exporter schema` prints"
            ) from error

    def opened(self, *, owner: bool) -> None:
        if owner:
            self._check_user(empty=False)

    def check_rights(self, *, empty: bool) -> None:
        self._check_server(owner=True)
        self._check_user(empty=empty)

    def _check_user(self, *, empty: bool) -> None:
        with self.writing.begin() as connection:
            if not empty:
                lacking = self._lacking(connection)
            elif connection.exec_driver_sql(_MAY_CREATE).scalar_one():
                return
            else:
                lacking = ["create tables"]
        if lacking:
            more = f" and {len(lacking) - 1} more rights" if len(lacking) > 1 else ""
            raise StateUnusableError(
                f"{self.name}: this user lacks the right to {lacking[0]}{more}; let another one run what "
                "`vivix-exporter schema` prints, with its GRANT"
            )

    def _lacking(self, connection: Connection) -> list[str]:
        names = ", ".join(f"'{table}'" for table in schema.metadata.tables)
        missing = connection.exec_driver_sql(
            f"SELECT privilege || ' on ' || name FROM unnest(ARRAY[{names}]) AS name, "
            "unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege "
            "WHERE NOT has_table_privilege(name, privilege) ORDER BY name, privilege"
        )
        return list(missing.scalars())

    def action(self, cause: str) -> str:
        return _READ_ONLY if "read-only" in cause else _ACTION

    def check(self) -> None:
        """Do nothing: whoever may not write finds out in the transaction."""

    def is_outage(self, error: SQLAlchemyError) -> bool:
        original = getattr(error, "orig", None)
        state = _state(original)
        if state is None:
            unreachable = (psycopg.OperationalError, psycopg.InterfaceError)
            return isinstance(error, PoolTimeoutError) or isinstance(original, unreachable)
        return state == _REFUSED_USER or not state.startswith(_REFUSED_STATEMENTS)

    def close(self) -> None:
        self.writing.dispose()
        self.reading.dispose()

    def _check_server(self, *, owner: bool) -> None:
        """Raise StateUnusableError for a server that cannot hold the state."""
        # Through the engine that writes: its transactions are read-only only where the server wants that.
        with self.writing.connect() as connection:
            row = connection.exec_driver_sql(
                "SELECT current_setting('server_version_num')::int / 10000, "
                "current_setting('server_version'), current_setting('server_encoding'), pg_is_in_recovery(), "
                "current_setting('transaction_read_only')::bool"
            ).one()
        major, version, encoding, standby, read_only = row
        if major < OLDEST:
            raise StateUnusableError(f"{self.name}: PostgreSQL {version} is too old; use {OLDEST} or later")
        if encoding != "UTF8":
            raise StateUnusableError(
                f"{self.name}: the database has the encoding {encoding}; create one with ENCODING 'UTF8'"
            )
        if owner and standby:
            raise StateUnusableError(
                f"{self.name}: this server is a standby, which cannot be written; name the primary, or all "
                "servers and target_session_attrs=read-write"
            )
        if owner and read_only:
            raise StateUnusableError(
                f"{self.name}: transactions are read-only here (default_transaction_read_only); allow this "
                "user to write"
            )


def _engine(connect: Callable[[], deadline.Connection], size: int) -> Engine:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=deadline.ANSWER_SECONDS,
        # Would ask the server, and needs nothing of it here.
        use_native_hstore=False,
    )

    @event.listens_for(engine, "checkout")
    def _check_out(driver: deadline.Connection, record: Any, _proxy: object) -> None:
        # Whatever an idle connection has to say, it is not that all is well: mostly that it has ended.
        if record.info.setdefault("used", False) and _has_something_to_say(driver):
            raise DisconnectionError
        record.info["used"] = True

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        _driver(connection).patience = deadline.ANSWER_SECONDS
        _set_local(
            connection,
            statement_timeout=STATEMENT_SECONDS,
            idle_in_transaction_session_timeout=IDLE_SECONDS,
        )

    @event.listens_for(engine, "handle_error")
    def _handle_error(context: ExceptionContext) -> None:
        # Another connection may lead to the primary.
        if _state(context.original_exception) == _NO_LONGER_PRIMARY:
            context.is_disconnect = True

    return engine


def _set_local(connection: Connection, **seconds: float) -> None:
    """Set timeouts until the transaction ends."""
    settings = (f"set_config('{name}', '{round(value * 1000)}', true)" for name, value in seconds.items())
    connection.exec_driver_sql(f"SELECT {', '.join(settings)}")


def _driver(connection: Connection) -> deadline.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, deadline.Connection)
    return driver


def _has_something_to_say(driver: deadline.Connection) -> bool:
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _state(error: BaseException | None) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state
