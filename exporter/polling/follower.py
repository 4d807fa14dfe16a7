"""The generations of one account that are followed: what is known of each, and when to poll it next.

Polls and webhooks both end here as observations. Memory is changed after the commit, from what was committed.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from exporter.clock import MICROS, Clock
from exporter.domain import transition
from exporter.domain.traceid import trace_id
from exporter.domain.values import (
    AccountName,
    Drop,
    DropReason,
    Ended,
    Generation,
    GenerationId,
    Observation,
    Transition,
)
from exporter.errors import ApiError
from exporter.polling.cadence import Cadence
from exporter.polling.detection import Detection, DetectionMeter
from exporter.polling.followed import Followed, begin, resume
from exporter.polling.in_flight import InFlight
from exporter.polling.relisting import Listed, Relisted, Relisting, relisting
from exporter.polling.schedule import Schedule
from exporter.polling.webhook_trust import WebhookTrust
from exporter.store import Store, Transaction
from exporter.store.reading import LoggedObservation
from exporter.store.transaction import Entered

RECENT = 2_000
"""Ended generations of an account from which the cadence learns at start."""
ASK_AGAIN = 1.0
"""Seconds after which an id that got no usable answer is polled again; doubled each time."""
NOTICEABLE = 1.25
"""Factor by which the net's first age for a model changes before those that wait are scheduled anew."""

_log = structlog.get_logger("exporter.polling.follower")


class FollowerMeter(DetectionMeter, Protocol):
    """Counts answers that the API's documentation does not allow for, too."""

    def api_error(self, account: AccountName, label: str) -> None: ...


class Follower:
    """One account's followed generations, and their schedule."""

    def __init__(
        self,
        account: AccountName,
        store: Store,
        cadence: Cadence,
        clock: Clock,
        meter: FollowerMeter,
        webhook_trust: WebhookTrust,
    ) -> None:
        self.account = account
        self.schedule = Schedule()
        self.cadence = cadence
        self._store = store
        self._clock = clock
        self._meter = meter
        self.webhook_trust = webhook_trust
        self._detection = Detection(account, cadence, webhook_trust, meter)
        self._net_ages: dict[str | None, float] = {}
        self._followed: dict[GenerationId, Followed] = {}
        self.in_flight = InFlight()
        self._listed: set[GenerationId] = set()
        self.listing = asyncio.Lock()
        """Held by whoever changes what is listed, from the question until memory follows the store."""
        self._order = 0
        self._strange: set[str] = set()

    @property
    def unseen(self) -> int:
        """How many generations the API has not answered for yet."""
        return len(self._followed) - len(self.in_flight)

    def find(self, id: GenerationId) -> Generation | None:
        """Return what is known of a followed generation."""
        followed = self._followed.get(id)
        return followed.generation if followed else None

    def unanswered(self, id: GenerationId) -> list[LoggedObservation]:
        """Return the lines, one at most, about polls without a usable answer that the history lacks yet."""
        followed = self._followed.get(id)
        return [followed.unanswered.line()] if followed and followed.unanswered else []

    def not_answered(self, id: GenerationId, error: ApiError) -> None:
        """Note a poll without a usable answer, for the history."""
        if (followed := self._followed.get(id)) is not None:
            followed.not_answered(str(error), self._clock.now_us())

    def age(self, id: GenerationId) -> float:
        """Return the age of a followed generation in seconds; see `Followed.age`."""
        return self._followed[id].age(self._clock.monotonic())

    def age_to_give_up(self, id: GenerationId) -> float:
        """Return the seconds that count towards giving it up: its age, or those since it was reopened."""
        return self._followed[id].age_to_give_up(self._clock.monotonic())

    async def load(self) -> None:
        """Resume what the store holds for the account. Raises StoreError."""
        account = self.account
        recent = await self._store.read(lambda reading: reading.recent_durations(account, RECENT))
        for model, duration_us in recent:
            self.cadence.learn(model, duration_us / MICROS)
        self._listed = await self._store.read(lambda reading: reading.listed(account))
        for generation in await self._store.read(lambda reading: reading.followed(account)):
            self._resume(generation)

    async def list(self, wanted: Mapping[GenerationId, Listed], *, whole: bool) -> None:
        """Follow the `wanted` ids. Where these are the `whole` list, stop following what is no longer listed,
        unless it was registered; it stays counted. Raises StoreError, after which part of it may have been
        done; doing it again does the rest."""
        async with self.listing:
            for part in self.relisting(wanted, whole=whole).parts():
                at_us = self._clock.now_us()
                self.relisted(part, await self._store.write(partial(part.write, at_us=at_us), self.account))

    def relisting(self, wanted: Mapping[GenerationId, Listed], *, whole: bool) -> Relisting:
        """What `list` would have to write. `listing` must be held from now until `relisted`."""
        return relisting(self.account, self._listed, wanted, whole=whole)

    def relisted(self, changes: Relisting, stored: Relisted) -> None:
        """Follow and stop following, now that this is stored."""
        for entered in stored.entered:
            self.take(entered)
        self._listed.update(*changes.new.values())
        self._listed -= changes.gone
        for id in changes.gone - stored.kept:
            self._forget(id)

    def take(self, entered: Entered) -> None:
        """Follow what has just been entered into the store."""
        now = self._clock.monotonic()
        for generation in entered.new:
            self._follow(begin(generation, self._next_order(), now))
        for generation in entered.open:
            self._resume(generation)
            followed = self._followed[generation.id]
            followed.generation = replace(followed.generation, traceparent=generation.traceparent)

    async def deliver(
        self,
        id: GenerationId,
        observation: Observation,
        retention_us: int,
        also: Callable[[Transaction], None] = lambda _: None,
    ) -> Transition | None:
        """Store an end that a webhook reported, and do something `also` in that transaction; see
        `Transaction.deliver`. Raises StoreError, after which nothing has changed."""
        account, oldest_us = self.account, observation.at_us - retention_us
        now, followed = self._clock.monotonic(), self._followed.get(id)
        known, unanswered = followed.generation if followed else None, self.unanswered(id)

        def deliver(tx: Transaction) -> Transition | None:
            also(tx)
            tx.log(account, id, unanswered)
            return tx.deliver(account, id, observation, known, oldest_us)

        after = await self._store.write(deliver, account)
        if after is not None:
            self.webhook_trust.delivered()
            self._forget(id)
            self._settle(after, followed, now)
        return after

    async def observe(self, id: GenerationId, observation: Observation, stretch: float) -> Transition:
        """Apply the answer to a poll. Raises StoreError, after which nothing that is counted has changed."""
        followed, now = self._followed[id], self._clock.monotonic()
        before = followed.generation
        after = transition.observe(before, observation)
        if transition.is_material(before, after.generation):
            account, unanswered = self.account, self.unanswered(id)
            followed.mark_asked(observation)

            def observe(tx: Transaction) -> Transition:
                after = tx.observe(account, id, observation, before)
                tx.log(account, id, unanswered)
                return after

            try:
                after = await self._store.write(observe, account)
                followed.unanswered = None
            except KeyError:
                _log.error("a generation is gone from the state; it is not followed", account=account, id=id)
                self._forget(id)
                return Transition(before)
        if observation.status is None:
            self._meter.api_error(self.account, "unknown_status")
            self._warn_of_status(before, observation.status_text)
        self.in_flight.remove(followed)
        followed.answered(observation, now)
        followed.generation = transition.with_polls_of(after.generation, followed.generation)
        if before.status is None:
            self.schedule.net.earn()
        if not after.generation.followed:
            if followed.in_net:
                self.schedule.net.refund()
            self._forget(id)
            self._settle(after, followed, now)
        elif self._followed.get(id) is followed:
            self.in_flight.add(followed)
            self._schedule(followed, stretch)
        return after

    async def drop(self, id: GenerationId, reason: DropReason, said: str) -> None:
        """Stop following, and count that. Raises StoreError, after which nothing has changed."""
        followed, at_us = self._followed[id], self._clock.now_us()
        generation, unanswered = followed.generation, self.unanswered(id)

        def drop(tx: Transaction) -> Transition:
            tx.log(self.account, id, unanswered)
            return tx.drop(generation, reason, at_us, said)

        after = await self._store.write(drop, self.account)
        if after.generation.drop == Drop(reason, at_us):
            _log.warning(
                "generation dropped",
                account=self.account,
                id=id,
                trace_id=trace_id(id, after.generation.traceparent),
                reason=reason.value,
                said=said,
            )
        self._forget(id)

    def missing(self, id: GenerationId) -> int:
        """Note that the API does not know this id. Returns for how many microseconds that has been so; see
        `Followed.missing_for`."""
        return round(self._followed[id].missing_for(self._clock.monotonic()) * MICROS)

    def poll_soon(self, id: GenerationId) -> None:
        """Poll as soon as the budget allows, because the last poll could not be made or means nothing."""
        followed = self._followed.get(id)
        if followed is None:
            return
        followed.in_net = False
        if followed.generation.status is None:
            self.schedule.add_unseen(id, followed.order)
        else:
            self.schedule.set_due(id, self._clock.monotonic(), 0.0)

    def ask_again(
        self, id: GenerationId, *, at_least: float = 0.0, at_most: float | None = None, own: bool = True
    ) -> None:
        """Poll `id` later, behind all others: each time later where the trouble is its `own`, and after
        `at_least`, but within `at_most` seconds."""
        followed = self._followed.get(id)
        if followed is None:
            return
        pause = ASK_AGAIN
        if own:
            pause = min(self.cadence.max_interval, max(at_least, ASK_AGAIN * 2.0 ** min(followed.misses, 20)))
            followed.misses += 1
        if at_most is not None:
            pause = min(pause, max(ASK_AGAIN, at_most))
        self.schedule.set_aside(id, self._clock.monotonic() + pause)

    def _follow(self, followed: Followed) -> None:
        id = followed.generation.id
        if id not in self._followed:
            self._followed[id] = followed
            self.in_flight.add(followed)
            self.poll_soon(id)

    def _resume(self, generation: Generation) -> None:
        now, now_us = self._clock.monotonic(), self._clock.now_us()
        self._follow(resume(generation, self._next_order(), now, now_us))

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _forget(self, id: GenerationId) -> None:
        followed = self._followed.pop(id, None)
        if followed is not None:
            self.in_flight.remove(followed)
        self.schedule.remove(id)

    def _settle(self, after: Transition, followed: Followed | None, now: float) -> None:
        """Let everybody know what was committed. What a webhook brought was not followed before."""
        for fact in after.facts:
            if isinstance(fact, Ended):
                relied_on = self.webhook_trust.relied_on
                self._detection.ended(
                    after.generation, fact, followed.lag(fact.end, now) if followed else None
                )
                self._renew_net(after.generation.model)
                if relied_on and not self.webhook_trust.relied_on:
                    self.poll_all()

    def _schedule(self, followed: Followed, stretch: float) -> None:
        if self.webhook_trust.relied_on:
            self._cast_net(followed)
            return
        id, model = followed.generation.id, followed.generation.model
        interval = self.cadence.interval(model, self.age(id))
        followed.in_net = False
        self.schedule.set_due(id, self._clock.monotonic() + interval * stretch, 1 / interval)

    def _cast_net(self, followed: Followed) -> None:
        """Leave a generation to webhooks, and to the safety net where they fail."""
        now, generation = self._clock.monotonic(), followed.generation
        pause = self.cadence.net_age(generation.model, followed.polled_age) - followed.age(now)
        followed.in_net = True
        self.schedule.set_net(generation.id, now + max(0.0, pause))

    def _renew_net(self, model: str | None) -> None:
        """Schedule the net's polls of a model anew where its usual duration turns out to be another."""
        age, former = self.cadence.net_age(model, 0.0), self._net_ages.get(model, 0.0)
        if former < age * NOTICEABLE and age < former * NOTICEABLE:
            return
        self._net_ages[model] = age
        for id, followed in self._followed.items():
            if followed.in_net and followed.generation.model == model and self.schedule.is_waiting(id):
                self._cast_net(followed)

    def poll_all(self) -> None:
        """Poll everything once, as soon as the budget allows, because the schedule no longer holds."""
        for id in self._followed:
            self.poll_soon(id)

    def _warn_of_status(self, generation: Generation, status: str) -> None:
        if status in self._strange or len(self._strange) >= 100:
            return
        self._strange.add(status)
        _log.warning(
            "the API named a status that its documentation does not list; the generation is kept in flight",
            account=self.account,
            id=generation.id,
            trace_id=trace_id(generation.id, generation.traceparent),
            status=status,
        )
