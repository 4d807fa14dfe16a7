"""What readers were really shown of each generation: the truth can only ask for what could be known."""

from dataclasses import dataclass, replace

from exporter.domain.values import Status
from exporter.simulator.answers import Body


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown of one generation by undamaged answers that reached their reader.

    `processing_elapsed_ms` is the `elapsed_ms` of the first answer that said processing. `doubtful` says that
    a damaged answer went out before it, which a lenient reader may have understood. `ended_us` is when the
    end was first shown, in Unix microseconds. `named_to` is the reader to whom an answer last named the
    model, and `surely_named` that this reader then asked again, so that it did get that answer.
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
    """What was shown, by generation id. Readers are numbered: an answer that left here may never have been
    read by one that was killed."""

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}
        self._reader = 0
        self._forgetful = False

    def new_reader(self) -> None:
        """Start a new reader; the one before was killed."""
        self._reader += 1

    def forgetting(self, forgetful: bool) -> None:
        """Note whether readers may fail to keep what they are shown from now on, say because a disk is full."""
        self._forgetful = forgetful
        self._reader += 1

    def ask(self, generation_id: str) -> int:
        """The present reader, whose number this returns, asks about a generation."""
        shown = self.of(generation_id)
        if shown.named_to == self._reader and not shown.surely_named and not self._forgetful:
            self._shown[generation_id] = replace(shown, surely_named=True)
        return self._reader

    def of(self, generation_id: str) -> Shown:
        """What was shown of this generation so far."""
        return self._shown.get(generation_id, _NOTHING)

    def note(self, body: Body, now_us: int, reader: int) -> None:
        """An undamaged answer of the status endpoint reached its reader, as far as can be seen from here."""
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
        """A damaged answer about a generation in flight went out."""
        shown = self.of(generation_id)
        if shown.processing_elapsed_ms is None:
            self._shown[generation_id] = replace(shown, doubtful=True)
