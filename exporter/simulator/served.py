"""Log of what readers were shown of each generation: the truth expects no more than that."""

from dataclasses import dataclass, replace

from exporter.domain.values import Status
from exporter.simulator.answers import Body


@dataclass(frozen=True, slots=True)
class Shown:
    """What undamaged answers that reached their reader showed of one generation.

    `processing_elapsed_ms` is the `elapsed_ms` of the first answer with status processing. `doubtful` is true
    where a damaged answer was sent before it, which a lenient reader may have understood. `ended_us` is when
    the end was first shown, in Unix microseconds. `named_to` is the last reader to which an answer named the
    model; `surely_named` is true once that reader has polled again, hence had received that answer.
    """

    pending: bool = False
    processing_elapsed_ms: int | None = None
    doubtful: bool = False
    model: bool = False
    ended_us: int | None = None
    answers: int = 0
    named_to: int | None = None
    surely_named: bool = False


_NOTHING = Shown()


class ShownLog:
    """What was shown, by generation id. Readers are numbered: one that was killed may not have read its last
    answers."""

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}
        self._reader = 0
        self._forgetful = False

    def new_reader(self) -> None:
        """Start a new reader; the one before was killed."""
        self._reader += 1

    def forgetting(self, forgetful: bool) -> None:
        """Start a new reader; a `forgetful` one may fail to store what it is shown, say for a full disk."""
        self._forgetful = forgetful
        self._reader += 1

    def ask(self, generation_id: str) -> int:
        """Note that the present reader polls a generation. Returns the number of the reader."""
        shown = self.of(generation_id)
        if shown.named_to == self._reader and not shown.surely_named and not self._forgetful:
            self._shown[generation_id] = replace(shown, surely_named=True)
        return self._reader

    def of(self, generation_id: str) -> Shown:
        """Return what was shown of a generation so far."""
        return self._shown.get(generation_id, _NOTHING)

    def note(self, body: Body, now_us: int, reader: int) -> None:
        """Note that an undamaged answer was sent to a reader that was still connected."""
        generation_id = str(body["generation_id"])
        shown = self.of(generation_id)
        named = "model" in body and not shown.surely_named
        status, elapsed_ms = Status(str(body["status"])), body.get("elapsed_ms")
        first_processing = status is Status.PROCESSING and shown.processing_elapsed_ms is None
        self._shown[generation_id] = Shown(
            pending=shown.pending or status is Status.PENDING,
            processing_elapsed_ms=(
                elapsed_ms
                if first_processing and isinstance(elapsed_ms, int)
                else shown.processing_elapsed_ms
            ),
            doubtful=shown.doubtful,
            model=shown.model or "model" in body,
            ended_us=now_us if status.ended and shown.ended_us is None else shown.ended_us,
            answers=shown.answers + 1,
            named_to=reader if named and not self._forgetful else shown.named_to,
            surely_named=shown.surely_named,
        )

    def note_damaged(self, generation_id: str) -> None:
        """Note that a damaged answer about a generation in flight was sent."""
        shown = self.of(generation_id)
        if shown.processing_elapsed_ms is None:
            self._shown[generation_id] = replace(shown, doubtful=True)
