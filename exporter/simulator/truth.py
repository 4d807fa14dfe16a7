"""Durable sums that an observer must arrive at once it has seen every end, computed from the world alone."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from exporter.clock import MICROS
from exporter.domain.values import UNKNOWN, Status
from exporter.simulator.generation import Generation
from exporter.simulator.served import Shown, ShownLog
from exporter.simulator.world import World

ByModel = tuple[str, str]
"""(account, model)."""
ByStatus = tuple[str, str, str]
"""(account, model, status)."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Sums over the ended generations that could be read when they were added.

    Credits are whole credits. `durations_us` holds each generation's duration, sorted, in microseconds: for
    failures that were polled the difference of the two shown times, for all others `duration_ms`. `queue_us`
    holds the ages in first answers with status processing, sorted, without the `doubtful_queues` generations
    of which a damaged answer was sent before. `in_flight` counts generations that have not ended, `expired`
    those that were beyond the retention from the start, by account.
    """

    ended: dict[ByStatus, int]
    failures: dict[tuple[str, str, str], int]
    credits: dict[ByModel, int]
    outputs: dict[ByModel, int]
    durations_us: dict[ByStatus, tuple[int, ...]]
    queue_us: dict[ByModel, tuple[int, ...]]
    doubtful_queues: int
    in_flight: int
    expired: dict[str, int]


def duration_us(generation: Generation, by_webhook: bool) -> int:
    """Return the duration as reported by a webhook, or else by the status endpoint."""
    if by_webhook or generation.fate.reason is None:
        return generation.duration_ms * 1_000
    return generation.shown_duration_s * MICROS


def truth(
    world: World,
    now_us: int,
    shown: ShownLog | None = None,
    ids: Collection[str] | None = None,
    unnamed: Collection[str] = (),
    by_webhook: Collection[str] = (),
) -> Truth:
    """Return the truth at `now_us`, about the generations `ids` or all.

    The answer about a failure names no model. With `shown`, a failure whose model no answer ever showed
    counts under `unknown`; without, under its real model. `queue_us` is empty without `shown`. `unnamed` are
    failures whose model may not have reached a reader that was killed: they count under `unknown` where
    `shown` leaves that open. The ends of `by_webhook` were first reported by a delivery, which names model
    and duration of failures too.
    """
    world.advance(now_us)
    ended: Counter[ByStatus] = Counter()
    failures: Counter[tuple[str, str, str]] = Counter()
    credits: Counter[ByModel] = Counter()
    outputs: Counter[ByModel] = Counter()
    expired: Counter[str] = Counter()
    durations: dict[ByStatus, list[int]] = {}
    queues: dict[ByModel, list[int]] = {}
    in_flight = doubtful = 0
    for generation in world:
        if ids is not None and generation.id not in ids:
            continue
        account, slug, seen = generation.account, generation.model.slug, None
        if shown is not None:
            seen = shown.of(generation.id)
            doubtful += seen.doubtful
            if seen.processing_elapsed_ms is not None and not seen.doubtful:
                queues.setdefault((account, slug), []).append(seen.processing_elapsed_ms * 1_000)
        if generation.ended_us is None:
            in_flight += 1
            continue
        if world.expired(generation, generation.added_us):
            expired[account] += 1
            continue
        delivered = generation.id in by_webhook
        polled_failure = generation.status is Status.FAILED and not delivered
        if polled_failure and seen is not None and _unnamed(generation, seen, unnamed):
            slug = UNKNOWN
        by_status = (account, slug, generation.status.value)
        ended[by_status] += 1
        durations.setdefault(by_status, []).append(duration_us(generation, delivered))
        if generation.fate.reason is not None:
            failures[account, slug, generation.fate.reason] += 1
        else:
            credits[account, slug] += generation.fate.credits_used
            outputs[account, slug] += generation.outputs
    return Truth(
        ended=dict(ended),
        failures=dict(failures),
        credits=dict(credits),
        outputs=dict(outputs),
        durations_us={key: tuple(sorted(values)) for key, values in durations.items()},
        queue_us={key: tuple(sorted(values)) for key, values in queues.items()},
        doubtful_queues=doubtful,
        in_flight=in_flight,
        expired=dict(expired),
    )


def _unnamed(generation: Generation, seen: Shown, unnamed: Collection[str]) -> bool:
    return not seen.model or (not seen.surely_named and generation.id in unnamed)


def in_flight(generations: Iterable[Generation]) -> dict[ByStatus, int]:
    """Count generations in flight by (account, model, status); see World.in_flight."""
    return dict(Counter((one.account, one.model.slug, one.status.value) for one in generations))


def credits_in_flight(generations: Iterable[Generation]) -> dict[ByModel, int]:
    """Sum the estimated credits of generations in flight by (account, model)."""
    estimates: Counter[ByModel] = Counter()
    for one in generations:
        estimates[one.account, one.model.slug] += one.fate.credits_estimate
    return dict(estimates)
