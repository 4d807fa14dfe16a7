"""Liveness of background loops: one that misses its deadline is reported as stalled."""

from exporter.clock import Clock

BEAT = 5.0
"""Seconds within which a loop beats, also when there is nothing to do."""
STALLED = 30.0
"""Seconds without a beat after which a loop is stalled."""


class Heartbeat:
    """The last beat of each loop. `clock` is the machine's own, also where the exporter runs in simulated
    time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}

    def beat(self, loop: str) -> None:
        """Note that the loop of this name is alive."""
        self._beats[loop] = self._clock.monotonic()

    def end(self, loop: str) -> None:
        """Expect no further beat of the loop of this name."""
        self._beats.pop(loop, None)

    def stalled(self) -> list[str]:
        """Return the names of the loops that have missed their deadline."""
        latest = self._clock.monotonic() - STALLED
        return sorted(loop for loop, beat in self._beats.items() if beat < latest)
