"""Whether the loops move: each beats as it goes round, and one that stops is found out."""

from exporter.clock import Clock

BEAT = 5.0
"""Seconds: a loop goes round at least this often, also when there is nothing to do."""
STALLED = 30.0
"""Seconds without a beat after which a loop counts as stalled."""


class Heartbeat:
    """`clock` is the machine's own, also where the exporter lives in simulated time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}

    def beat(self, loop: str) -> None:
        """The loop of this name has gone round."""
        self._beats[loop] = self._clock.monotonic()

    def end(self, loop: str) -> None:
        """The loop of this name has ended, as it should."""
        self._beats.pop(loop, None)

    def stalled(self) -> list[str]:
        """The names of the loops that should have gone round by now and have not."""
        latest = self._clock.monotonic() - STALLED
        return sorted(loop for loop, beat in self._beats.items() if beat < latest)
