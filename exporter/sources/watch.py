"""Notification of changes in folders, not including the folders in them."""

import asyncio
import threading
from collections.abc import Callable, Collection

from watchfiles import Change, watch

_STEP = 100
"""Milliseconds without a change after which the changes before are reported."""
_DEBOUNCE = 1_000
"""Milliseconds after which they are reported in any case."""
_UNDER_WAY = 500
"""Milliseconds after which the first report comes if nothing changes."""


class FolderWatch:
    """Watches from its creation until `aclose`, or until it ends by itself: because watching fails, or
    because a folder is gone.

    It has a thread of its own: the library's asynchronous form would occupy a thread of the pool that
    everything else shares.
    """

    def __init__(
        self, folders: Collection[str], matters: Callable[[str], bool], wake: Callable[[], None]
    ) -> None:
        """`wake` is called on the event loop once the watch is under way, when something appears in or
        disappears from one of the folders, when a file changes that `matters`, and when the watch ends
        without a problem."""
        self.problem: str | None = None
        """Why watching failed."""
        self.ended = False
        """Whether it has stopped watching."""
        self._folders = frozenset(folders)
        self._matters = matters
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder watch", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Stop watching, and return once it has stopped."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._watch()
        except FileNotFoundError:
            # A folder disappeared before it could be watched: a change like others, reported without haste.
            self._stop.wait(_UNDER_WAY / 1_000)
        except (OSError, ValueError, RuntimeError) as error:
            self.problem = str(error)
        self.ended = True
        if self.problem is None:
            self._notify()

    def _watch(self) -> None:
        under_way = False
        for changes in watch(
            *self._folders,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=self._stop,
            rust_timeout=_UNDER_WAY,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=True,
        ):
            if not under_way or any(kind != Change.modified or self._matters(path) for kind, path in changes):
                self._notify()
            under_way = True
            if any(kind == Change.deleted and path in self._folders for kind, path in changes):
                return

    def _notify(self) -> None:
        if self._stop.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            self._stop.set()  # The loop is closed.
