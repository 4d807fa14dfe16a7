"""A connection to PostgreSQL that does not wait for ever."""

import time
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import Params

T = TypeVar("T")

ANSWER_SECONDS = 5.0
"""How long the server may show no sign of life: a network that passes nothing looks like a slow one."""


class Cursor(psycopg.Cursor[Any]):
    """A cursor that ends each of many statements by itself, without waiting for its answer."""

    def executemany(self, query: Any, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        # psycopg would send all of them as one: a server that misses the end of that waits for it without any
        # limit, its locks held, whereas it ends a transaction that is idle between two statements.
        with self.connection.pipeline() as pipeline:
            for params in params_seq:
                self.execute(query, params)
                pipeline.sync()


class Connection(psycopg.Connection[Any]):
    """A connection that is closed, with an OperationalError, where the server stays silent."""

    # psycopg before 3.2.11 resumes its generators only once there is something to read, not now and then.

    patience = ANSWER_SECONDS

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        try:
            return super().wait(_within(gen, self.patience), *args, **kwargs)
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {self.patience:g} s") from None


def _within(work: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """As `work`, which waits for a server, but raise TimeoutError where it waits for so long in one go."""
    until = time.monotonic() + seconds
    try:
        waits_for = next(work)
        while True:
            ready = yield waits_for
            if ready:
                until = time.monotonic() + seconds
            elif time.monotonic() > until:
                raise TimeoutError
            waits_for = work.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
