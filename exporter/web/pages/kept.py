"""Answers shared by all who ask at about the same time, so that many watchers cost as little as one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 200
"""Answers that are kept at the same time."""


class Kept(Generic[T]):
    """Answers by key, each kept for `seconds` from when it was first asked for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answers: dict[object, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, key: object, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer for a key: the one that is kept, or else that of `make`. What that raises,
        all raise who wait for it."""
        now = asyncio.get_running_loop().time()
        until, answer = self._answers.get(key, (now, None))
        if answer is None or (answer.done() and (until <= now or answer.exception() is not None)):
            self._forget(now)
            answer = asyncio.ensure_future(make())
            self._answers[key] = now + self._seconds, answer
        return await asyncio.shield(answer)

    def _forget(self, now: float) -> None:
        self._answers = {
            key: kept for key, kept in self._answers.items() if kept[0] > now or not kept[1].done()
        }
        if len(self._answers) >= _MOST:
            self._answers.pop(next(iter(self._answers)))
