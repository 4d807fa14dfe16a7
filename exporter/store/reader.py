"""Questions about what is committed, each answered on a thread of its own."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from exporter.errors import StoreError
from exporter.store.database import Database
from exporter.store.reading import Reading

T = TypeVar("T")

_log = structlog.get_logger("exporter.store")


class Reader:
    """Reads a database; logs when that begins to fail, and when it succeeds again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._failed = 0

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Return the answer to a question. Raises StoreError."""

        def ask() -> T:
            with self._database.read() as connection:
                return question(Reading(connection))

        try:
            answer = await asyncio.to_thread(ask)
        except StoreError as error:
            if not self._failed:
                _log.error("the state cannot be read", error=str(error))
            self._failed += 1
            raise
        if self._failed:
            _log.info("the state can be read again", reads_failed=self._failed)
            self._failed = 0
        return answer
