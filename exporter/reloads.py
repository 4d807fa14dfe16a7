"""Requests to apply the configuration anew. Each is answered, whatever happens."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

from exporter.errors import ConfigError

Refused = ConfigError | None
"""Why a configuration was refused; None where it was applied."""

_log = structlog.get_logger("exporter")


class Reloads:
    """One reload at a time; requests that arrive during one share the next."""

    def __init__(self, apply: Callable[[], Awaitable[None]], refused: Callable[[], None]) -> None:
        """`apply` reads the configuration and applies all of it, or nothing where it raises; `refused` counts
        that."""
        self._apply = apply
        self._refused = refused
        self._waiting: list[asyncio.Future[Refused]] = []
        self._under_way: list[asyncio.Future[Refused]] = []
        self._asked = asyncio.Event()
        self._stopped = False

    def ask(self) -> "asyncio.Future[Refused]":
        """Reload soon. The result is why the configuration was refused, or None."""
        asked: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
        self._waiting.append(asked)
        self._asked.set()
        if self._stopped:
            self._answer_all(_stopping())
        return asked

    async def run(self) -> None:
        """Reload when asked, until cancelled."""
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                # What is read from now on is what all of them ask for.
                self._under_way, self._waiting = self._waiting, []
                refused = await self._attempt()
                _answer(self._under_way, refused)
        finally:
            self._stopped = True
            self._answer_all(_stopping())

    async def _attempt(self) -> Refused:
        try:
            await self._apply()
        except ConfigError as error:
            _log.error("the configuration is refused, the one before stays", error=str(error))
            self._refused()
            return error
        except Exception as error:  # noqa: BLE001 - an exporter that runs must not end for a configuration
            # Without the text, which may hold what the configuration holds.
            said = f"{type(error).__name__} in {_place(error)}"
            _log.error(
                "the configuration is refused because of an unexpected error, please report it", error=said
            )
            self._refused()
            return ConfigError(f"an unexpected error, please report it: {said}")
        return None

    def _answer_all(self, refused: Refused) -> None:
        _answer([*self._under_way, *self._waiting], refused)
        self._waiting = []


def _answer(asked: Iterable["asyncio.Future[Refused]"], refused: Refused) -> None:
    for one in asked:
        if not one.done():
            one.set_result(refused)


def _stopping() -> ConfigError:
    return ConfigError("the exporter is stopping")


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
