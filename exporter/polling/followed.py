"""One followed generation in memory: what is known of it, its age, and for how long the API has not known it.

Ages are measured with the monotonic clock, from the API's `elapsed_ms` wherever it was reported. Wall time,
which can be set, counts only for what was before this process followed the generation. Times without a suffix
are seconds of the monotonic clock.
"""

from dataclasses import dataclass, replace

from exporter.clock import MICROS, iso8601
from exporter.domain.values import End, Generation, Observation, Status, Via
from exporter.store.reading import LoggedObservation


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Polls without a usable answer that the history does not name yet: how many, between which times, and
    what the last one said."""

    number: int
    first_us: int
    last_us: int
    said: str

    def line(self) -> LoggedObservation:
        """Return the line of the history that names them."""
        polls = "a poll" if self.number == 1 else f"{self.number} polls until {iso8601(self.last_us)}"
        return LoggedObservation(
            self.first_us, Via.POLL.value, f"no usable answer to {polls}: {self.said}", ""
        )


@dataclass(slots=True)
class Followed:
    """`order` is the place among the followed generations, `since` the time of registration, `born` that of
    creation, which is `exact` once the API has reported an age."""

    generation: Generation
    order: int
    since: float
    born: float
    exact: bool = False
    polled_age: float = 0.0
    """Seconds: its age at the last answer."""
    in_net: bool = False
    """Whether the next poll is one of the safety net behind webhooks."""
    misses: int = 0
    """Polls in a row without a usable answer."""
    missing_since: float | None = None
    unanswered: Unanswered | None = None
    counted_as: tuple[str, Status] | None = None
    """Model and status with which `polling.in_flight` counts it."""

    def age(self, now: float) -> float:
        """Return the seconds since its creation, or since its registration where only that is known."""
        return max(0.0, now - self.born)

    def age_to_give_up(self, now: float) -> float:
        """Return the seconds that count towards giving it up: its age, or those since it was reopened."""
        return self.age(now) if self.generation.reopened_us is None else max(0.0, now - self.since)

    def missing_for(self, now: float) -> float:
        """Note that the API does not know it. Returns for how many seconds that has been so: since it was
        registered if it was never known, since the first such answer otherwise."""
        if self.missing_since is None:
            self.missing_since = self.since if self.generation.status is None else now
        return now - self.missing_since

    def not_answered(self, said: str, at_us: int) -> None:
        """Note a poll without a usable answer, and what was said instead."""
        before = self.unanswered or Unanswered(0, at_us, at_us, said)
        self.unanswered = replace(before, number=before.number + 1, last_us=at_us, said=said)

    def mark_asked(self, observation: Observation) -> None:
        """Note that an answer is being applied: one to an earlier poll that arrives meanwhile is stale."""
        asked_at = max(self.generation.asked_at, observation.asked_at)
        self.generation = replace(self.generation, asked_at=asked_at)

    def answered(self, observation: Observation, now: float) -> None:
        """Note an answer that arrived at `now`, and the age that it reports."""
        self.misses, self.missing_since = 0, None
        if observation.elapsed_us is not None:
            self.born, self.exact = now - observation.elapsed_us / MICROS, True
        elif self.generation.created_us is None and observation.created_us is not None:
            self.born = now - seconds_between(observation.created_us, observation.at_us)
        self.polled_age = self.age(now)

    def lag(self, end: End, now: float) -> float | None:
        """Return the seconds from `end`, reported at `now`, to its detection; None where the generation was
        registered after its end."""
        if self.exact and end.duration_us is not None:
            return max(0.0, self.age(now) - end.duration_us / MICROS)
        # It was not seen in flight, so that only wall times are left to compare.
        lag = (end.recorded_us - end.at_us) / MICROS
        return max(0.0, lag) if lag < now - self.since else None


def begin(generation: Generation, order: int, now: float) -> Followed:
    """Return a generation that has just been registered."""
    return Followed(generation, order, now, now)


def resume(generation: Generation, order: int, now: float, now_us: int) -> Followed:
    """Return a generation that was registered earlier, perhaps with another process."""
    since = now - seconds_between(generation.followed_since_us, now_us)
    created_us = generation.created_us
    return Followed(
        generation, order, since, since if created_us is None else now - seconds_between(created_us, now_us)
    )


def seconds_between(earlier_us: int, later_us: int) -> float:
    """Return the seconds between two wall times, none where the clock was set back between them."""
    return max(0, later_us - earlier_us) / MICROS
