"""uvicorn for a process that does other work too: its owner decides when it stops, and it sleeps while
nothing is asked."""

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn

_TICK_S = 1.0
"""As precise as the header `Date`."""


class QuietServer(uvicorn.Server):
    """Has no signal handlers, and wakes up once a second instead of ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Let `serve` end once the answers under way have ended, or have had their time."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stopping.wait()
