"""Work on threads that the process does not wait for at its end: a disk or a collector may never answer."""

import asyncio
import contextlib
import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_M_ARENA_MAX = -8
"""Of malloc.h; mallopt(3)."""


def share_one_arena() -> None:
    """Let all threads allocate from one arena, where the C library is glibc. Threads that come and go fill
    one arena each otherwise, none of which returns what was freed in it: a process grows for days. The
    interpreter's lock lets one thread allocate at a time anyway."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


async def on_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` on a thread of its own, called `name`, and return its result. Where the caller is cancelled,
    the thread runs on, and its result is lost."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits for the result
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
