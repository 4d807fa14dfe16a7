"""What tells one kind of database from another: how it is opened, and whose trouble an error is."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError


class StateEngine(Protocol):
    """One kind of database. Its methods raise SQLAlchemyError, OSError, and StateUnusableError with a text
    that says how to put right what makes the state unusable."""

    @property
    def name(self) -> str:
        """The state as messages name it, without anything secret."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes may write the state at the same time."""
        ...

    @property
    def advice(self) -> str:
        """What to do where the state is that of something else."""
        ...

    @property
    def writing(self) -> Engine:
        """Connections for transactions that write."""
        ...

    @property
    def reading(self) -> Engine:
        """Connections for transactions that only read, beside one that writes."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keep other processes from changing the schema until the transaction ends."""
        ...

    def creating(self, connection: Connection) -> AbstractContextManager[None]:
        """Have patience around a change of the tables in a transaction, and explain why they cannot be
        changed."""
        ...

    def check_rights(self, *, empty: bool) -> None:
        """Raise StateUnusableError where an owner could not write the tables, or create them in a state that
        is empty."""
        ...

    def opened(self, *, owner: bool) -> None:
        """Finish opening, now that the tables are known to be ours."""
        ...

    def action(self, cause: str) -> str:
        """What to do where writes fail for this cause."""
        ...

    def check(self) -> None:
        """Raise StoreError where nothing may be written although that would succeed."""
        ...

    def is_outage(self, error: SQLAlchemyError) -> bool:
        """Whether an error says something of the database rather than of the statement."""
        ...

    def close(self) -> None:
        """Close all connections, so that others may own the state."""
        ...


def cause(error: SQLAlchemyError) -> str:
    """Return the driver's message in one line, without the statement and its values."""
    original = getattr(error, "orig", None) or error
    return next(iter(str(original).splitlines()), "") or type(original).__name__
