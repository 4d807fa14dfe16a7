"""The loop that calls the API for one account: when it may, what it asks, and what follows from an error.

Whose trouble an error is, `witnesses` decides, from its kind and from what else was answered.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

from exporter.clock import MICROS, Clock
from exporter.domain.values import DropReason, GenerationId
from exporter.errors import ApiError, ApiErrorKind, NotOwnerError, StoreError, UnstorableError
from exporter.heartbeat import BEAT, Heartbeat
from exporter.polling.account_info import AccountInfo, Due
from exporter.polling.account_key import AccountKey
from exporter.polling.backoff import Backoff
from exporter.polling.budget import Budget, Slot
from exporter.polling.call_log import CallLog
from exporter.polling.follower import Follower
from exporter.polling.reservation import Reservation
from exporter.polling.schedule import stretch
from exporter.polling.terms import Terms
from exporter.polling.wallet_reads import WalletReads
from exporter.polling.witnesses import MODELS, PLAN, Owner, Witness, Witnesses
from exporter.store import Store
from exporter.vivix.client import Client, Endpoint, Reply

CALLS_AT_ONCE = 20
"""Calls under way for one account; a hanging API must not pile up more."""
ASSUMED_CALLS_PER_MINUTE = 240
"""The smallest plan's, where the API has never reported this one's."""


class Poller:
    """Follows one account's generations by polling, until cancelled or drained."""

    def __init__(
        self,
        *,
        follower: Follower,
        store: Store,
        client: Client,
        budget: Budget,
        backoff: Backoff,
        account_info: AccountInfo,
        clock: Clock,
        heartbeat: Heartbeat,
        terms: Terms,
    ) -> None:
        """Own `client` from now on, and close it."""
        self.account = follower.account
        self.follower = follower
        self.budget = budget
        self.backoff = backoff
        self.account_info = account_info
        self._store = store
        self._client = client
        self._clock = clock
        self._heartbeat = heartbeat
        self._terms = terms
        self._draining = False
        self._key = AccountKey(self.account)
        self._witnesses = Witnesses(follower.schedule)
        self._log = CallLog(self.account)
        self._out = 0
        self._wallet = WalletReads(self.account, store)
        self._reservation = Reservation(self.account, store, clock)
        self._wake = asyncio.Event()
        self._apply_plan()

    def wake(self) -> None:
        """Continue at once: there is something new to poll."""
        self._wake.set()

    def change(self, terms: Terms, client: Client, key: str, *, other_api: bool) -> Client:
        """Call by these terms, with this client and key from now on; calls under way end as they began. With
        `other_api`, nothing that the API has reported of the account so far holds. Returns the former client,
        to be retired."""
        former, self._terms, self._client = self._client, terms, client
        if other_api:
            self.account_info = AccountInfo()
            self._reservation.plan = None
            self._wallet = WalletReads(self.account, self._store, anew=True)
            self._witnesses = Witnesses(self.follower.schedule)
        if other_api or key != self._key.value:
            self.backoff.new_key(self._clock.monotonic())
        self._key.replace(key)
        client.use_key(key)
        self._apply_plan()
        self.wake()
        return former

    def share_budget(self, other: "Poller") -> None:
        """Continue with the budget of another poller, which calls with the same key."""
        self.budget = other.budget
        self._apply_plan()

    def drain(self) -> None:
        """Make no further call; `run` returns once those under way have ended."""
        self._draining = True
        self.wake()

    async def retire(self) -> None:
        """Close the client of a poller that has never run."""
        await self._client.retire()

    def stretch(self) -> float:
        """Return the factor by which intervals are longer than wished, so that the polls fit the budget."""
        now = self._clock.monotonic()
        schedule = self.follower.schedule
        return stretch(schedule.demand, self.budget.rate(now) / 60, unseen=schedule.unseen_waiting)

    async def load(self) -> None:
        """Count the calls that an earlier process may have made in the last minute. Raises StoreError."""
        await self._reservation.load(self.budget, self._terms.request_timeout_us)
        self._apply_plan()

    async def run(self) -> None:
        """Call when something is due and may be asked, until drained."""
        loop = f"poller of {self.account}"
        try:
            async with asyncio.TaskGroup() as calls:
                while not self._draining:
                    self._heartbeat.beat(loop)
                    if not self._store.may_act_for(self.account):
                        # What a call finds out now could not be kept.
                        await self._until_writable()
                        continue
                    self._wake.clear()
                    now = self._clock.monotonic()
                    if self._key.renew(self._terms.read_key, now):
                        self._client.use_key(self._key.value)
                        self.backoff.new_key(now)
                    wanted = self._wanted(now)
                    if wanted is not None and not self._reservation.left:
                        await self._reserve()
                    elif wanted is not None and (slot := self.budget.try_take(now)) is not None:
                        self._reservation.left -= 1
                        self._out += 1
                        calls.create_task(self._under_way(slot, self._call(wanted, now)))
                    else:
                        await self._clock.wait(self._wake, max(0.001, self._next_turn(now) - now))
        finally:
            self._heartbeat.end(loop)
            await self._client.retire()
            await self._reservation.give_back()

    async def _until_writable(self) -> None:
        """Wait for the state, or for a moment where that can be written and the account is another's."""
        if self._store.writable.is_set():
            self._wake.clear()
            await self._clock.wait(self._wake, BEAT)
        else:
            await self._clock.wait(self._store.writable, BEAT)

    def _wanted(self, now: float) -> Due | Literal["poll"] | None:
        """Return what to call for now, were there a slot in the budget."""
        if self._is_busy() or now < self.backoff.paused_until:
            return None
        due = self.follower.schedule.next_due()
        return self.account_info.due(now) or ("poll" if due is not None and due <= now else None)

    def _call(self, wanted: Due | Literal["poll"], now: float) -> Coroutine[Any, Any, None]:
        if wanted != "poll":
            self.account_info.asked(wanted, now)
            return self._refresh(wanted)
        id = self.follower.schedule.pick(now, probe=self.backoff.troubled)
        assert id is not None, "something was due"
        return self._poll(id)

    async def _reserve(self) -> None:
        try:
            await self._reservation.renew(self.budget, self._terms.request_timeout_us)
        except UnstorableError:
            await self._clock.sleep(BEAT)
        except StoreError:
            pass  # `run` waits until the store can write

    def _next_turn(self, now: float) -> float:
        """Return when to continue, unless woken before."""
        heartbeat = now + BEAT
        if self._is_busy():
            return heartbeat
        wanted, due = self.account_info.next_due(), self.follower.schedule.next_due()
        if due is not None:
            wanted = min(wanted, due)
        return min(heartbeat, max(wanted, self.backoff.paused_until, self.budget.next_possible(now)))

    def _is_busy(self) -> bool:
        """Whether as many calls are under way as may be at once."""
        return self._out >= (1 if self.backoff.troubled else CALLS_AT_ONCE)

    async def _under_way(self, slot: Slot, call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        finally:
            slot.release(self._clock.monotonic())
            self._out -= 1
            self._wake.set()

    async def _refresh(self, what: Due) -> None:
        started, witness = self._clock.monotonic(), PLAN if what is Due.PLAN else MODELS
        try:
            self._check_owned()
            if what is Due.PLAN:
                wallet = self._wallet
                plan = await self._client.plan()
                answered_us, took = self._clock.now_us(), self._clock.monotonic() - started
                self._answered(witness, plan)
                self.account_info.set_plan(plan.value, self._clock.monotonic())
                self._apply_plan()
                if plan.value.calls_per_minute is not None:
                    await self._reservation.note_plan(plan.value.calls_per_minute)
                # The wall clock may have been set meanwhile.
                await wallet.note(plan.value, answered_us - round(took * MICROS), answered_us)
            else:
                models = await self._client.models()
                self._answered(witness, models)
                self.account_info.set_models(models.value, self._clock.monotonic())
                for model in models.value:
                    self.follower.cadence.set_category(model.slug, model.category)
        except ApiError as error:
            self._failed(witness, error, started, certain=True)
        except StoreError:
            pass  # of the wallet's reads the next one says the same

    def _check_owned(self) -> None:
        """Raise NotOwnerError where the process was frozen for so long, just before a call, that the account
        may be another replica's."""
        if not self._store.surely_owns(self.account):
            raise NotOwnerError

    async def _poll(self, id: GenerationId) -> None:
        started = self._clock.monotonic()
        try:
            self._check_owned()
            try:
                reply = await self._client.generation(id)
            except ApiError as error:
                await self._poll_failed(id, error, started)
            else:
                self._answered(Witness(Endpoint.GENERATION, id), reply)
                self._log.polled(id, reply.value.status_text)
                if self.follower.find(id) is None:
                    return  # a webhook, or a reload, was faster
                await self.follower.observe(id, reply.value, self.stretch())
                # While that was stored, a webhook or a reload may have ended the following.
                if self.follower.find(id) is not None and self._is_too_old(id):
                    await self.follower.drop(id, DropReason.GAVE_UP, f"still {reply.value.status_text}")
        except UnstorableError:
            self.follower.ask_again(id)
        except StoreError:
            self.follower.poll_soon(id)

    async def _poll_failed(self, id: GenerationId, error: ApiError, started: float) -> None:
        generation = self.follower.find(id)
        if generation is None:
            return
        if not error.kind.answers:
            self.follower.not_answered(id, error)
        witness = Witness(Endpoint.GENERATION, id)
        match self._failed(witness, error, started, certain=generation.status is not None):
            case Owner.KEY | Owner.BUDGET | Owner.API:
                # Behind the others: were this id the only one so answered, they would never be asked.
                self.follower.ask_again(id, own=False)
            case Owner.WITNESS:
                await self._wait_or_drop(id, witness, error)

    async def _wait_or_drop(self, id: GenerationId, witness: Witness, error: ApiError) -> None:
        """Poll an id with trouble of its own later, or stop following it."""
        follower, now = self.follower, self._clock.monotonic()
        grace = self._terms.not_found_grace_us / MICROS
        match error.kind:
            case ApiErrorKind.NOT_YOURS:
                await follower.drop(id, DropReason.NOT_YOURS, str(error))
                return
            case ApiErrorKind.NOT_FOUND:
                left, reason = grace - follower.missing(id) / MICROS, DropReason.NOT_FOUND
            case ApiErrorKind.REFUSED | ApiErrorKind.UNEXPLAINED:
                left, reason = grace - self._witnesses.refused(witness, error.kind, now), DropReason.REFUSED
            case _:
                give_up_after = self._terms.give_up_after_us / MICROS
                left, reason = give_up_after - self._witnesses.own_trouble(witness, now), DropReason.GAVE_UP
        if left > 0:
            follower.ask_again(id, at_least=error.retry_after or 0.0, at_most=left)
        else:
            await follower.drop(id, reason, str(error))

    def _is_too_old(self, id: GenerationId) -> bool:
        return self.follower.age_to_give_up(id) * MICROS >= self._terms.give_up_after_us

    def _answered(self, witness: Witness, reply: Reply[Any]) -> None:
        now = self._clock.monotonic()
        self._log.answered(witness, self._witnesses.answered(witness, now))
        self._recovered()
        if reply.calls_remaining is not None:
            self.budget.observe_remaining(reply.calls_remaining, now)
        self.account_info.answered(reply.calls_remaining, reply.credits_balance, now)

    def _recovered(self) -> None:
        self.backoff.answered()
        self._log.recovered()

    def _failed(self, witness: Witness, error: ApiError, started: float, *, certain: bool) -> Owner:
        """Take the consequences for the account, and return whose trouble it is. `certain` is false for an id
        that the API has never answered for: it may be a bad one."""
        now = self._clock.monotonic()
        owner = self._witnesses.failed(witness, error.kind, now)
        if witness.id and error.kind.answers:
            self._recovered()
        elif witness.id and error.status is not None and owner is not Owner.KEY:
            self.backoff.unlocked()
        pause = 0.0
        if owner is not Owner.WITNESS:
            unreachable = error.kind is ApiErrorKind.UNREACHABLE
            certain = certain or unreachable or self._witnesses.nothing_answers
            pause = self.backoff.failed(owner, started, now, error.retry_after, certain=certain)
        self._log.failed(witness, owner, error, pause, self._witnesses.times(witness), up=self.backoff.up)
        return owner

    def _apply_plan(self) -> None:
        plan = self.account_info.plan(self._clock.monotonic())
        reported = plan.calls_per_minute if plan else None
        calls = self._terms.calls_per_minute or reported or self._reservation.plan or ASSUMED_CALLS_PER_MINUTE
        self.budget.set_plan(calls, self._terms.rate_limit_share, reported)
