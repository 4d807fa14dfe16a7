"""Which accounts this replica follows, where several share a state: its fair share, and whatever was left.

Every second a replica renews its life, sees how things stand, and may do one thing more: take leases that
nobody alive holds, up to its share; or give one up while another replica has two fewer.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from random import Random
from typing import Protocol, TypeVar

import structlog

from exporter.clock import MICROS, AgreedClock, SystemClock, elapsed
from exporter.domain.values import AccountName
from exporter.errors import StoreError
from exporter.heartbeat import Heartbeat
from exporter.store import Store
from exporter.store.holdings import Holdings
from exporter.store.leases import LIFE, NOBODY, SPARE, Held, Lease, Leases, Standing
from exporter.store.scope import scope_of

T = TypeVar("T")

EVERY, SOON = 1.0, 0.3
"""Seconds between two renewals, and where a lease that nobody alive holds was left for the next one."""
OUT_OF_TURN = 3
"""Rounds after which a spare lease is taken by a replica that is not the next in turn."""
UNCLAIMED, SPARE_FOR = 3, 6
"""Rounds after which whoever sees a lease takes it, beyond the share too (the next in turn may have died as
well): one whose holder has died or left, and a spare one."""
TELL_EVERY = 5.0
"""Seconds between two messages to the others about the accounts that are owned, as far as they changed."""
DRAIN_WITHIN, LEAVE_WITHIN = 0.5, 2.0
"""Seconds that a stop waits for what is under way, which the fence refuses later; and for the leases to be
given up."""

_LOOP = "ownership"
_log = structlog.get_logger("exporter.ownership")


@dataclass(frozen=True, slots=True)
class Division:
    """What a replica does about its share: leases to take, in this order, and one to give up."""

    take: Sequence[AccountName] = ()
    give_up: AccountName | None = None


def divide(
    me: str,
    standing: Standing,
    configured: Sequence[AccountName],
    free_for: Mapping[AccountName, int],
    unwanted: Collection[AccountName] = (),
) -> Division:
    """What the replica `me` does for a fair division. `free_for` is how many rounds a lease has been free;
    `unwanted` are accounts that it gave up and nobody else took."""
    mine = [account for account, held in standing.leases.items() if held.holder == me]
    counts = Counter({replica: 0 for replica in standing.alive | {me}})
    counts.update(held.holder for held in standing.leases.values() if held.holder in counts)
    share, fewest = ceil(len(configured) / len(counts)), min(counts.values())
    take: list[AccountName] = []
    for account in configured:
        held = standing.leases.get(account)
        if held is None or held.holder in counts:
            continue
        spare, have, rounds = held.holder == SPARE, len(mine) + len(take), free_for[account]
        # Who has died or left is replaced at once; what is spare is for whoever has the fewest.
        in_turn = not spare or have <= fewest or rounds >= OUT_OF_TURN
        if (in_turn and have < share) or rounds >= (SPARE_FOR if spare else UNCLAIMED):
            take.append(account)
    most = max(counts, key=lambda replica: (counts[replica], replica))
    surplus = most == me and counts[me] >= fewest + 2 and not take
    spare_ones = sorted(set(mine) - set(unwanted)) if surplus else []
    return Division(take, spare_ones[0] if spare_ones else None)


class Following(Protocol):
    """Whoever follows the accounts that are owned."""

    def own(self, account: AccountName) -> None:
        """Begin to follow an account, if that is not begun yet."""
        ...

    def disown(self, account: AccountName) -> "asyncio.Task[None] | None":
        """Stop following an account; what is returned, if anything, ends once nothing is under way."""
        ...

    def owned(self) -> set[AccountName]:
        """The accounts that are followed, or about to be."""
        ...

    def tell(self) -> str:
        """Return how the accounts that are followed stand at present, for other replicas to show."""
        ...

    def resume(self) -> None:
        """Call again at once for the accounts that are followed."""
        ...

    def collect(self, account: AccountName) -> None:
        """Apply what waits in the inbox of an account, if that is followed already."""
        ...


class OwnershipMeter(Protocol):
    """Counts what was taken over from replicas that have died."""

    def taken_over(self) -> None: ...


class Ownership:
    """Keeps this replica alive and its share of the accounts followed."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        holdings: Holdings,
        following: Following,
        configured: Callable[[], Sequence[AccountName]],
        meter: OwnershipMeter,
        heartbeat: Heartbeat,
        random: Random,
        agreed: AgreedClock,
    ) -> None:
        """`configured` are the accounts there are; `agreed` is to have the database's time."""
        self._agreed = agreed
        self._store = store
        self._leases = leases
        self._holdings = holdings
        self._following = following
        self._configured = configured
        self._meter = meter
        self._heartbeat = heartbeat
        self._random = random
        # The life of a replica is real time, also where simulated time runs faster.
        self._clock = SystemClock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_LOOP)
        self._seen_at = float("-inf")
        self._seeing_since = float("-inf")
        self._alive = 0
        self._unrenewed = 0
        self._told: str | None = None
        self._tell_at = float("-inf")
        self._some_left = False
        self._free_for: Counter[AccountName] = Counter()
        self._giving: dict[AccountName, asyncio.Task[None]] = {}
        self._given: set[AccountName] = set()
        self._unwanted: dict[AccountName, frozenset[str]] = {}
        """Accounts that were given up, that none of these replicas took, and that are followed here again."""

    @property
    def replicas(self) -> int:
        """How many replicas are alive, as this one sees them; none where it sees nothing."""
        return self._alive if elapsed() - self._seen_at < LIFE else 0

    async def begin(self) -> None:
        """The first round. Raises StoreError."""
        await self._round(first=True)

    async def run(self) -> None:
        """Go on until cancelled, then give up everything once nothing is under way for it, or soon."""
        try:
            while True:
                self._heartbeat.beat(_LOOP)
                pause = SOON if self._some_left else EVERY
                await self._clock.sleep(pause * self._random.uniform(0.8, 1.0))
                try:
                    await self._round()
                except StoreError as error:
                    await self._note_unrenewed(error)
        finally:
            self._heartbeat.end(_LOOP)
            await self._leave()

    async def _note_unrenewed(self, error: StoreError) -> None:
        if not self._unrenewed:
            _log.warning("this replica cannot renew its leases", error=str(error))
        self._unrenewed += 1
        # Where it is the database, the store says so and tells everybody.
        await self._store.prove_writable()

    async def _round(self, *, first: bool = False) -> None:
        sent_at, seen_at = elapsed(), self._seen_at
        configured = self._configured()
        if sent_at - seen_at > LIFE:
            self._told = None  # it may have been buried
        told = self._following.tell() if sent_at >= self._tell_at else self._told
        news = told if told != self._told else None
        standing = await self._in_thread(lambda: self._leases.renew(configured, news))
        self._seen_at = elapsed()
        if news is not None:
            self._told, self._tell_at = news, self._seen_at + TELL_EVERY
        self._holdings.renewed(sent_at)
        took_us = round((self._seen_at - sent_at) * MICROS)
        self._agreed.agree(standing.now_us - (self._clock.now_us() - took_us // 2))
        self._alive = len(standing.alive)
        if self._unrenewed:
            _log.info("this replica renews its leases again", attempts_failed=self._unrenewed)
            self._unrenewed = 0
        me = self._leases.me
        self._settle(standing.held_by(me), configured)
        self._store.scope = scope_of(me, standing.alive, configured, list(self._holdings.held))
        self._note_free(standing, configured)
        self._some_left = False
        if sent_at - seen_at > LIFE:
            self._seeing_since = float("-inf") if first else sent_at
            self._following.resume()
        # Who has not seen the others for as long as they live cannot tell yet who of them is dead.
        if sent_at - self._seeing_since >= LIFE:
            await self._divide(standing, configured)
        for account in standing.inbox & self._following.owned():
            self._following.collect(account)

    async def _divide(self, standing: Standing, configured: Sequence[AccountName]) -> None:
        unwanted = {account for account, alive in self._unwanted.items() if alive == standing.alive}
        division = divide(self._leases.me, standing, configured, self._free_for, unwanted)
        self._some_left = any(
            self._free_for[account] and standing.leases[account].holder != SPARE
            for account in set(configured) - set(division.take)
        )
        await self._take(division.take, standing)
        if division.give_up is not None and not self._giving:
            self._given.add(division.give_up)
            self._give_up(division.give_up)

    def _settle(self, mine: Mapping[AccountName, Lease], configured: Sequence[AccountName]) -> None:
        """Follow what the leases say, and nothing else."""
        for account, lease in list(self._holdings.held.items()):
            if account not in mine or mine[account].epoch != lease.epoch:
                self._holdings.remove(account)
                _log.warning("account lost to another replica", account=account, epoch=lease.epoch)
        for account in self._following.owned() - self._holdings.held.keys():
            self._following.disown(account)
        for account in mine.keys() - self._giving.keys():
            if account not in configured:
                self._give_up(account)
                continue
            if account not in self._holdings.held:
                # Known anew from the state, because what was known of it did not hold.
                self._holdings.add(account, mine[account])
            self._following.own(account)

    def _note_free(self, standing: Standing, configured: Sequence[AccountName]) -> None:
        for account in configured:
            held = standing.leases.get(account)
            is_free = held is not None and held.holder not in standing.alive
            self._free_for[account] = self._free_for[account] + 1 if is_free else 0

    async def _take(self, accounts: Sequence[AccountName], standing: Standing) -> None:
        until = self._seen_at + EVERY
        for account in accounts:
            if elapsed() > until:
                return  # rather than not renew in time; the others are for the next round
            seen = standing.leases[account]
            lease = await self._try_to_take(account, seen)
            if lease is None:
                continue
            self._holdings.add(account, lease)
            if seen.holder == SPARE and account in self._given:
                self._unwanted[account] = standing.alive
            if seen.holder in (NOBODY, SPARE):
                _log.info("account owned", account=account, epoch=lease.epoch)
            else:
                self._meter.taken_over()
                _log.warning(
                    "account taken over from a replica that is no longer alive",
                    account=account,
                    epoch=lease.epoch,
                    replica=seen.holder,
                )
            self._following.own(account)

    async def _try_to_take(self, account: AccountName, seen: Held) -> Lease | None:
        """Take a lease, if nobody was faster. One that is held up must not hold up the others."""
        try:
            return await self._in_thread(partial(self._leases.take, account, seen))
        except StoreError as error:
            _log.warning("an account cannot be taken yet", account=account, error=str(error))
        with suppress(StoreError):
            if ended := await self._in_thread(self._leases.evict):
                _log.warning("sessions that had held up leases for too long were ended", sessions=ended)
        return None

    def _give_up(self, account: AccountName) -> None:
        """Stop following, let what is under way end, then let another replica have the account."""

        async def give_up(draining: "asyncio.Task[None] | None") -> None:
            if draining is not None:
                await asyncio.wait({draining})
            self._holdings.remove(account)
            # Where this fails, the next round finds the lease and begins again.
            with suppress(StoreError):
                await self._in_thread(lambda: self._leases.give_up(account))
                _log.info("account given up for another replica", account=account)

        task = asyncio.ensure_future(give_up(self._following.disown(account)))
        self._giving[account] = task
        task.add_done_callback(lambda _: self._giving.pop(account))

    async def _leave(self) -> None:
        """Give up everything, if the state can be reached."""
        for task in self._giving.values():
            task.cancel()
        draining = [self._following.disown(account) for account in self._following.owned()]
        under_way = {task for task in draining if task is not None}
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_WITHIN)
        for account in list(self._holdings.held):
            self._holdings.remove(account)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN):
                await self._in_thread(self._leases.leave)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
