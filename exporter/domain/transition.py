"""Every rule about statuses: from a generation and an observation to what is then known, and the facts.

Pure: no I/O and no clock. A poll and a webhook go through the same function.
"""

from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from exporter.domain.values import (
    MAX_DURATION_US,
    UNKNOWN,
    Discovered,
    Drop,
    Dropped,
    DropReason,
    End,
    Ended,
    Generation,
    Observation,
    Started,
    Status,
    Transition,
    Via,
)

_OF_POLLS = {"polls", "observed_us", "pending_us"}
_material = attrgetter(*(one.name for one in fields(Generation) if one.compare and one.name not in _OF_POLLS))
BACKFILLED_AFTER_US = 300_000_000
"""An end that lies so long before the id was registered is history: nobody waited for it to be counted."""


def discover(generation: Generation) -> Transition:
    """Enter a new generation."""
    return Transition(generation, (Discovered(generation.source),))


def observe(generation: Generation, observation: Observation) -> Transition:
    """Apply `observation` to `generation`.

    A generation ends once: a repeat of an end, and whatever arrives after it, changes nothing. A drop ends
    the following, not the generation: an end that is reported after it still counts. An answer to a poll
    that was sent before the last one is stale and changes nothing, unless it is an end, which is final.
    """
    if generation.end is not None:
        return Transition(generation)
    if observation.status is not None and observation.status.ended:
        return _end(_observed(generation, observation), observation, observation.status)
    stale = observation.asked_at < generation.asked_at
    if stale or not generation.followed:
        return Transition(generation)
    return _in_flight(generation, observation)


def drop(generation: Generation, reason: DropReason, at_us: int) -> Transition:
    """Stop following `generation`. It is counted as dropped once, however often it is reopened."""
    if not generation.followed:
        return Transition(generation)
    facts = (Dropped(reason),) if generation.reopened_us is None else ()
    return Transition(replace(generation, drop=Drop(reason, at_us)), facts)


def reopen(generation: Generation, at_us: int) -> Transition:
    """Follow `generation` again after a drop. An end is final."""
    if generation.end is not None or generation.drop is None:
        return Transition(generation)
    return Transition(replace(generation, drop=None, reopened_us=at_us))


def is_material(before: Generation, after: Generation) -> bool:
    """Return whether `after` differs in more than that another poll was made, and so is worth a write."""
    return bool(_material(before) != _material(after))


def with_polls_of(generation: Generation, other: Generation) -> Generation:
    """Return `generation` with the polls that `other` remembers, where those are more.

    Polls that changed nothing are not written, so memory knows more of them than the store.
    """
    pending_us = _latest(generation.pending_us, other.pending_us)
    asked_at = max(generation.asked_at, other.asked_at)
    if (
        generation.polls >= other.polls
        and generation.pending_us == pending_us
        and generation.asked_at == asked_at
    ):
        return generation
    later = other if other.polls > generation.polls else generation
    return replace(
        generation,
        polls=later.polls,
        observed_us=later.observed_us,
        pending_us=pending_us,
        asked_at=asked_at,
    )


def _observed(generation: Generation, observation: Observation, **more: Any) -> Generation:
    """Apply what observations of every status have in common, and `more`."""
    return replace(
        generation,
        model=observation.model or generation.model,
        created_us=generation.created_us if generation.created_us is not None else observation.created_us,
        observed_us=observation.at_us,
        polls=generation.polls + (observation.via is Via.POLL),
        asked_at=max(generation.asked_at, observation.asked_at),
        **more,
    )


def _in_flight(generation: Generation, observation: Observation) -> Transition:
    # An undocumented status is in flight, and never an end: what the API reported before it still holds.
    status = observation.status or generation.status or Status.PENDING
    estimate = observation.credits_estimate_micro
    generation = _observed(
        generation,
        observation,
        status=status,
        credits_estimate_micro=generation.credits_estimate_micro if estimate is None else estimate,
    )
    age_us = _age_us(generation, observation)
    if age_us is None:
        return Transition(generation)
    seen_us = observation.at_us if generation.created_us is None else generation.created_us + age_us
    if status is Status.PENDING:
        return Transition(replace(generation, pending_us=_latest(generation.pending_us, seen_us)))
    if generation.processing_us is not None or observation.status is None:
        return Transition(generation)
    earliest_us = max(seen_us - age_us, generation.pending_us or 0)
    started = replace(
        generation, processing_us=seen_us, processing_uncertainty_us=max(0, seen_us - earliest_us)
    )
    return Transition(started, (Started(generation.model or UNKNOWN, age_us),))


def _end(generation: Generation, observation: Observation, status: Status) -> Transition:
    created_us, duration_us = generation.created_us, observation.duration_us
    completed_us = observation.completed_us
    if completed_us is None and created_us is not None and duration_us is not None:
        completed_us = created_us + duration_us
    if completed_us is None:
        completed_us = observation.at_us
    if created_us is None and duration_us is not None:
        # A webhook has no created_at, but its duration is exact.
        created_us = completed_us - duration_us
    failed = status is Status.FAILED
    charged_micro = observation.credits_used_micro or 0
    end = End(
        status=status,
        at_us=completed_us,
        recorded_us=observation.at_us,
        via=observation.via,
        duration_us=_duration_us(observation, created_us),
        # "Failed jobs refund the credit charge automatically" (status endpoint), whatever the answer names.
        credits_used_micro=0 if failed else charged_micro,
        outputs=0 if failed else observation.outputs or 0,
        reason=(observation.reason or UNKNOWN) if failed else None,
        message=observation.message if failed else None,
    )
    ended = replace(generation, status=status, created_us=created_us, end=end)
    ended_us = ended.ended_us
    fact = Ended(
        ended.model or UNKNOWN,
        end,
        refunded_micro=charged_micro if failed else 0,
        estimate_micro=ended.credits_estimate_micro,
        backfilled=ended_us is not None and ended.discovered_us - ended_us > BACKFILLED_AFTER_US,
    )
    return Transition(ended, (fact,))


def _duration_us(observation: Observation, created_us: int | None) -> int | None:
    """Return how long it took, or None where that is not known.

    `duration_ms` is more precise than the whole seconds of the timestamps. The status endpoint gives none for
    a failure, which then lasted from one timestamp to the other.
    """
    if observation.duration_us is not None:
        return observation.duration_us
    if observation.completed_us is None or created_us is None:
        return None
    return _bounded(observation.completed_us - created_us)


def _age_us(generation: Generation, observation: Observation) -> int | None:
    """Return the generation's age at the observation: the API's own first, since clocks may disagree."""
    if observation.elapsed_us is not None:
        return observation.elapsed_us
    if generation.created_us is None:
        return None
    return _bounded(observation.at_us - generation.created_us)


def _bounded(duration_us: int) -> int | None:
    """Return a difference of two times as a duration: clocks that disagree must not make a histogram's sum go
    down, and what exceeds all durations is none."""
    return max(0, duration_us) if duration_us <= MAX_DURATION_US else None


def _latest(first: int | None, second: int | None) -> int | None:
    """Return the later of two times, as far as they are known."""
    return max((time for time in (first, second) if time is not None), default=None)
