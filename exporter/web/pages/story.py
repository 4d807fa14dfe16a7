"""One generation told to a stranger: what became of it in a sentence, and its life as a picture.

Pure: takes values, and the time as a parameter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.domain.values import DropReason, End, Generation, Phase, Status
from exporter.web.pages.words import credits, duration

WIDTH = 1_000
"""Units of the picture from its left to its right edge."""

_DROPPED = {
    DropReason.NOT_FOUND: "the Vivix API does not know this id",
    DropReason.NOT_YOURS: "the Vivix API says that it belongs to another account",
    DropReason.REFUSED: "the Vivix API kept refusing to answer for it",
    DropReason.GAVE_UP: "it was in flight for longer than polling.give_up_after",
}


def sentence(generation: Generation, now_us: int) -> str:
    """Return what became of a generation, in words that need no knowledge of the exporter."""
    if generation.end is not None:
        return _ended(generation, generation.end)
    if generation.drop is not None:
        after = duration(generation.drop.at_us - generation.followed_since_us)
        why = _DROPPED[generation.drop.reason]
        return f"No longer followed after {after}: {why}. It is not known to have ended."
    since_us = generation.created_us or generation.discovered_us
    match generation.phase:
        case Phase.PENDING:
            return f"Waiting in the queue, for {duration(now_us - since_us)} so far."
        case Phase.PROCESSING:
            return f"Being rendered; submitted {duration(now_us - since_us)} ago."
        case _:
            known = duration(now_us - generation.discovered_us)
            return f"Registered {known} ago; the Vivix API has not answered for it yet."


def _ended(generation: Generation, end: End) -> str:
    took = lasted_us(generation)
    after = "" if took is None else f" after {duration(took)}"
    if end.status is Status.FAILED:
        why = ", ".join(filter(None, (end.reason, end.message))).rstrip(".")
        return f"Failed{after}: {why}. Nothing was charged."
    outputs = f"{end.outputs} output" + ("" if end.outputs == 1 else "s")
    return f"Completed{after}: {outputs}, for {credits(end.credits_used_micro)} credits."


def lasted_us(generation: Generation) -> int | None:
    """Return how long a generation took from submission to its end; None where that is not known."""
    if generation.end is None:
        return None
    if generation.end.duration_us is not None:
        return generation.end.duration_us
    return None if generation.created_us is None else generation.end.at_us - generation.created_us


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a life: its name, when it was, and where it lies in the picture."""

    name: str
    kind: str
    from_us: int
    to_us: int
    x: float
    width: float


def life(generation: Generation, now_us: int) -> list[Stretch]:
    """Return the parts of a generation's life, in the order of time; none while nothing is known of it."""
    if generation.created_us is None:
        return []
    parts = [part for part in _parts(generation, generation.created_us, now_us) if part[3] > part[2]]
    if not parts:
        return []
    start_us, end_us = parts[0][2], max(part[3] for part in parts)
    scale = WIDTH / (end_us - start_us)
    return [
        Stretch(
            name, kind, at_us, to_us, round((at_us - start_us) * scale, 1), round((to_us - at_us) * scale, 1)
        )
        for name, kind, at_us, to_us in parts
    ]


def _parts(generation: Generation, created_us: int, now_us: int) -> Iterator[tuple[str, str, int, int]]:
    ended_us = generation.ended_us
    until_us = now_us if ended_us is None else ended_us
    rendering_us = generation.processing_us
    if rendering_us is not None:
        rendering_us = min(max(rendering_us, created_us), until_us)
        unsure_us = max(created_us, rendering_us - (generation.processing_uncertainty_us or 0))
        yield "queued", "queued", created_us, unsure_us
        yield "queued or rendering, not observed", "unsure", unsure_us, rendering_us
        yield "rendering", "rendering", rendering_us, until_us
    elif generation.status is Status.PENDING and generation.drop is None:
        yield "queued", "queued", created_us, until_us
    else:
        yield "queued and rendering, not observed apart", "unsure", created_us, until_us
    if generation.end is not None:
        yield "ended, not noticed yet", "unnoticed", until_us, generation.end.recorded_us
