"""What readers were really shown of each generation: the truth can only ask for what could be known."""

from dataclasses import dataclass, replace

from exporter.simulator.answers import Body
from exporter.values import Status


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown of one generation by undamaged answers that reached their reader.

    `processing_elapsed_ms` is the `elapsed_ms` of the first answer that said processing. `doubtful` says that
    a damaged answer went out before it, which a lenient reader may have understood. `ended_us` is when the
    end was first shown, in Unix microseconds.
    """

    pending: bool = False
    processing_elapsed_ms: int | None = None
    doubtful: bool = False
    model: bool = False
    ended_us: int | None = None
    answers: int = 0


_NOTHING = Shown()


class ShownLog:
    """What was shown, by generation id."""

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}

    def of(self, generation_id: str) -> Shown:
        """What was shown of this generation so far."""
        return self._shown.get(generation_id, _NOTHING)

    def note(self, body: Body, now_us: int) -> None:
        """An undamaged answer of the status endpoint reached its reader."""
        generation_id = str(body["generation_id"])
        shown = self.of(generation_id)
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
        )

    def note_damaged(self, generation_id: str) -> None:
        """A damaged answer about a generation in flight went out."""
        shown = self.of(generation_id)
        if shown.processing_elapsed_ms is None:
            self._shown[generation_id] = replace(shown, doubtful=True)
