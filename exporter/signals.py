"""Signals that arrive before an event loop handles them, and after it has ended."""

import signal
import sys
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


class EarlySignals:
    """Handlers for the time until an event loop runs, in which imports alone take half a second."""

    def __init__(self) -> None:
        self.reload_asked = False
        """Whether SIGHUP came."""

    def install(self, *, status: int | None, reloadable: bool) -> None:
        """Let SIGTERM and SIGINT end the process with `status`, or as a shell reports a signal where it is
        None; let SIGHUP be remembered where the command is `reloadable`."""

        def end(number: int, _frame: FrameType | None) -> None:
            sys.exit(128 + number if status is None else status)

        for number in ENDING:
            signal.signal(number, end)
        if reloadable:
            signal.signal(signal.SIGHUP, self._remember)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self.reload_asked = True


def ignore() -> None:
    """Let nothing interrupt a process that has finished its work and is about to exit."""
    for number in (*ENDING, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
