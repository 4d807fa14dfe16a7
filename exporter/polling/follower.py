"""The generations of one account that are followed: what is known of each, and when to look at it next.

Polls and webhooks both end here as observations. Memory is changed after the commit, from what was committed.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
    Source,
    Transition,
    Via,
)
from exporter.polling.cadence import Cadence
from exporter.polling.relisting import Listed, Relisted, Relisting, relisting
from exporter.polling.schedule import Schedule
from exporter.polling.webhook_trust import PATIENCE_US, WebhookTrust
from exporter.store import Store
from exporter.store.transaction import Entered

RECENT = 2_000
"""Ended generations of an account from which the cadence learns at start."""
ASK_AGAIN = 1.0
"""Seconds after which an id that got no usable answer is looked at again; doubled each time."""

_log = structlog.get_logger("exporter.polling.follower")


class FollowerMeter(Protocol):
    """Hears how late ends were seen, and what the API said that it should not say."""

    def detected(self, account: AccountName, via: Via, lag_seconds: float) -> None: ...
    def api_error(self, account: AccountName, label: str) -> None: ...
    def webhook_missed(self, account: AccountName) -> None: ...


@dataclass(slots=True)
class _Followed:
    """`born` is when it was created by our monotonic clock, as far as the API has told."""

    generation: Generation
    order: int
    born: float | None = None
    misses: int = 0
    missing_since_us: int | None = None


class Follower:
    """One account's followed generations, its schedule and what it has learnt about durations."""

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
        self._followed: dict[GenerationId, _Followed] = {}
        self._listed: set[GenerationId] = set()
        self.listing = asyncio.Lock()
        """Held by whoever changes what is listed, from the question until memory follows the store."""
        self._order = 0
        self._strange: set[str] = set()
        self._refund_logged = False

    @property
    def generations(self) -> Iterable[Generation]:
        """Every generation that is followed."""
        return (followed.generation for followed in self._followed.values())

    def find(self, id: GenerationId) -> Generation | None:
        """What is known of a followed generation."""
        followed = self._followed.get(id)
        return followed.generation if followed else None

    def age(self, id: GenerationId) -> float:
        """Seconds since its creation by the API's word, or since it was handed over."""
        followed = self._followed[id]
        if followed.born is not None:
            return max(0.0, self._clock.monotonic() - followed.born)
        since_us = followed.generation.created_us or followed.generation.discovered_us
        return max(0.0, (self._clock.now_us() - since_us) / MICROS)

    def age_to_give_up(self, id: GenerationId) -> float:
        """Return the seconds that count towards giving it up: its age, or those since it was reopened."""
        reopened_us = self._followed[id].generation.reopened_us
        if reopened_us is None:
            return self.age(id)
        return max(0.0, (self._clock.now_us() - reopened_us) / MICROS)

    async def load(self) -> None:
        """Take up what the store holds for the account. Raises StoreError."""
        account = self.account
        recent = await self._store.read(lambda reading: reading.recent_durations(account, RECENT))
        for model, duration_us in recent:
            self.cadence.learn(model, duration_us / MICROS)
        self._listed = await self._store.read(lambda reading: reading.listed(account))
        for generation in await self._store.read(lambda reading: reading.followed(account)):
            self._follow(generation)

    async def list(self, wanted: Mapping[GenerationId, Listed], *, whole: bool) -> None:
        """Follow the `wanted` ids. Where these are the `whole` list, stop following what is no longer listed,
        unless it was registered; it stays counted. Raises StoreError, after which part of it may have been
        done; doing it again does the rest."""
        async with self.listing:
            for part in self.relisting(wanted, whole=whole).parts():
                at_us = self._clock.now_us()
                self.relisted(part, await self._store.write(partial(part.write, at_us=at_us)))

    def relisting(self, wanted: Mapping[GenerationId, Listed], *, whole: bool) -> Relisting:
        """What `list` would have to write. `listing` must be held from now until `relisted`."""
        return relisting(self.account, self._listed, wanted, whole=whole)

    def relisted(self, changes: Relisting, stored: Relisted) -> None:
        """Follow and stop following, now that this is stored."""
        for entered in stored.entered:
            self.take(entered)
        self._listed.update(item.id for new in changes.new.values() for item in new)
        self._listed -= changes.gone
        for id in changes.gone - stored.kept:
            self._forget(id)

    def take(self, entered: Entered) -> None:
        """Follow what has just been entered into the store."""
        for generation in entered.new:
            self._follow(generation)
        for generation in entered.open:
            self._follow(generation)
            followed = self._followed[generation.id]
            followed.generation = replace(followed.generation, traceparent=generation.traceparent)

    async def deliver(
        self, id: GenerationId, observation: Observation, retention_us: int
    ) -> Transition | None:
        """Take in an end that was pushed; see `Transaction.deliver`. Stored once this returns. Raises
        StoreError, after which nothing has changed."""
        account, oldest_us = self.account, observation.at_us - retention_us
        followed = self._followed.get(id)
        known = followed.generation if followed else None
        after = await self._store.write(lambda tx: tx.deliver(account, id, observation, known, oldest_us))
        if after is not None:
            self.webhook_trust.delivered()
            self._forget(id)
            self._tell(after)
        return after

    async def observe(self, id: GenerationId, observation: Observation, stretch: float) -> Transition:
        """Take in what a look said. Raises StoreError, after which nothing has changed."""
        followed = self._followed[id]
        before = followed.generation
        after = transition.observe(before, observation)
        if transition.is_material(before, after.generation):
            account = self.account
            after = await self._store.write(lambda tx: tx.observe(account, id, observation, before))
        if observation.status is None:
            self._meter.api_error(self.account, "unknown_status")
            self._warn_of_status(before, observation.status_text)
        self._settle(followed, after, observation)
        if id in self._followed:
            self._schedule(followed, stretch)
        return after

    async def drop(self, id: GenerationId, reason: DropReason, said: str) -> None:
        """Stop following, and count that. Raises StoreError, after which nothing has changed."""
        generation, at_us = self._followed[id].generation, self._clock.now_us()
        after = await self._store.write(lambda tx: tx.drop(generation, reason, at_us, said))
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
        """The API does not know this id. Returns for how long that has been so, in microseconds: since it
        was handed over if it was never known, since the first such answer otherwise."""
        followed, now_us = self._followed[id], self._clock.now_us()
        if followed.missing_since_us is None:
            seen = followed.generation.status is not None
            followed.missing_since_us = now_us if seen else followed.generation.followed_since_us
        return now_us - followed.missing_since_us

    def poll_soon(self, id: GenerationId) -> None:
        """The last look could not be taken; it is still due."""
        followed = self._followed.get(id)
        if followed is None:
            return
        if followed.generation.status is None:
            self.schedule.add_unseen(id, followed.order)
        else:
            self.schedule.set_due(id, self._clock.monotonic(), 0.0)

    def ask_again(self, id: GenerationId, at_most: float | None = None) -> None:
        """Look again later, each time later than the last, but within `at_most` seconds."""
        followed = self._followed.get(id)
        if followed is None:
            return
        pause = min(self.cadence.max_interval, ASK_AGAIN * 2.0 ** min(followed.misses, 20))
        followed.misses += 1
        if at_most is not None:
            pause = min(pause, max(ASK_AGAIN, at_most))
        self.schedule.set_due(id, self._clock.monotonic() + pause, 1 / pause)

    def _follow(self, generation: Generation) -> None:
        if generation.id in self._followed:
            return
        self._order += 1
        self._followed[generation.id] = _Followed(generation, self._order)
        self.poll_soon(generation.id)

    def _forget(self, id: GenerationId) -> None:
        self._followed.pop(id, None)
        self.schedule.remove(id)

    def _settle(self, followed: _Followed, after: Transition, observation: Observation) -> None:
        generation = after.generation
        followed.generation = generation
        followed.misses, followed.missing_since_us = 0, None
        if observation.elapsed_us is not None:
            followed.born = self._clock.monotonic() - observation.elapsed_us / MICROS
        if not generation.followed:
            self._forget(generation.id)
            self._tell(after)

    def _tell(self, after: Transition) -> None:
        for fact in after.facts:
            if isinstance(fact, Ended):
                self._ended(after.generation, fact)

    def _ended(self, generation: Generation, fact: Ended) -> None:
        end = fact.end
        if end.duration_us is not None:
            self.cadence.learn(generation.model, end.duration_us / MICROS)
        # What a webhook brought was not followed before, whatever two clocks make of its times.
        if generation.source is not Source.WEBHOOK and generation.followed_since_us < end.at_us:
            lag_us = max(0, end.recorded_us - end.at_us)
            self._meter.detected(self.account, end.via, lag_us / MICROS)
            if self.webhook_trust.configured and end.via is Via.POLL and lag_us > PATIENCE_US:
                self._missed()
        _log.info(
            "generation ended",
            account=self.account,
            id=generation.id,
            trace_id=trace_id(generation.id, generation.traceparent),
            model=fact.model,
            status=end.status.value,
            **({"reason": end.reason} if end.reason else {}),
            duration=None if end.duration_us is None else end.duration_us / MICROS,
            credits=end.credits_used_micro / MICROS,
        )

        if fact.refunded_micro and not self._refund_logged:
            self._refund_logged = True
            _log.warning(
                "the API charged credits for a failed generation; failures are refunded and count none "
                "(logged once for this account)",
                account=self.account,
                id=generation.id,
                trace_id=trace_id(generation.id, generation.traceparent),
                charged=fact.refunded_micro / MICROS,
            )

    def _schedule(self, followed: _Followed, stretch: float) -> None:
        id, model = followed.generation.id, followed.generation.model
        if self.webhook_trust.relied_on:
            pause = self.cadence.net(model, self.age(id))
            self.schedule.set_due(id, self._clock.monotonic() + pause, 1 / pause)
            return
        interval = self.cadence.interval(model, self.age(id))
        self.schedule.set_due(id, self._clock.monotonic() + interval * stretch, 1 / interval)

    def _missed(self) -> None:
        """Only a look found an end that should have been pushed."""
        self._meter.webhook_missed(self.account)
        was_relied_on = self.webhook_trust.relied_on
        self.webhook_trust.missed()
        if was_relied_on and not self.webhook_trust.relied_on:
            _log.warning(
                "webhooks do not arrive; polling as if there were none until one does", account=self.account
            )
            self.poll_all()

    def poll_all(self) -> None:
        """The schedule no longer holds: look at everything once, as soon as the budget allows."""
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
