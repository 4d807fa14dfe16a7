"""How the exporter learns of each generation: registration, a file, the configuration, a webhook alone."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import httpx

from exporter.clock import MICROS, Clock
from exporter.simulator.answers import INTERNAL_ERROR, NOT_FOUND
from exporter.simulator.api import SimulatedApi
from exporter.simulator.models import Category
from soak.installation import Installation

Key = tuple[str, str]
"""Account and id, a UUID in lower case."""

WITHOUT_WEBHOOKS = {"registered": 0.55, "file": 0.3, "config": 0.15}
WITH_WEBHOOKS = {"registered": 0.4, "file": 0.2, "config": 0.1, "webhook": 0.3}
UPPER, TRACED, REPEATED = 0.1, 0.3, 0.05
"""Shares of the registrations in upper case, with a traceparent, and registered again some minutes later."""
REPEAT_AFTER_S = 300.0
POISONED, HIDDEN = 0.01, 0.01
"""Shares of the generations whose polls are answered 500 for minutes, and 404 for longer than the grace."""
POISON_S, HIDE_S = 300.0, 600.0
FLUSH_EVERY_S = 3.0
FILE_EVERY_S = 60.0


class Way(StrEnum):
    """How the exporter is first meant to learn of a generation."""

    REGISTERED = "registered"
    FILE = "file"
    CONFIG = "config"
    WEBHOOK = "webhook"


class Expected(StrEnum):
    """What must become of an id."""

    COUNTED = "counted"
    NOT_FOUND = "not_found"
    NOT_YOURS = "not_yours"
    REFUSED = "refused"


@dataclass(slots=True)
class Told:
    """One generation as the exporter learnt of it. `may_drop` says that a drop before its end is right;
    `told` that the exporter has acknowledged or must have read it."""

    way: Way
    expected: Expected = Expected.COUNTED
    traceparent: str | None = None
    may_drop: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Registration:
    key: Key
    id: str
    traceparent: str | None


@dataclass
class Telling:
    """Decides and does it. `generations` holds everything that exists for the exporter, by account and id."""

    api: SimulatedApi
    clock: Clock
    installation: Installation
    url: str
    rng: Random
    token: str = ""
    generations: dict[Key, Told] = field(default_factory=dict)
    registrations: list[_Registration] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    recent: dict[str, list[tuple[str, str | None]]] = field(default_factory=dict)
    """What each account's file of recent ids holds."""
    waiting_for_reload: dict[str, list[str]] = field(default_factory=dict)
    _later: set[asyncio.Task[None]] = field(default_factory=set)
    _unwritten: set[str] = field(default_factory=set)

    async def submitted(self, account: str, id: str) -> None:
        """Choose how the exporter learns of a generation that was just accepted."""
        webhooks = self.installation.with_webhooks[account]
        weights = WITH_WEBHOOKS if webhooks else WITHOUT_WEBHOOKS
        way = Way(self.rng.choices(list(weights), list(weights.values()))[0])
        parent = self._traceparent() if self.rng.random() < TRACED else None
        told = self.generations[account, id] = Told(way, traceparent=parent)
        match way:
            case Way.REGISTERED:
                self.register((account, id), parent, upper=self.rng.random() < UPPER)
                if self.rng.random() < REPEATED:
                    self._after(REPEAT_AFTER_S, lambda: self.register((account, id), None, upper=True))
                self._spoil((account, id), told)
            case Way.FILE:
                self.recent.setdefault(account, []).append((id, parent))
                self._unwritten.add(account)
                told.told = True
            case Way.CONFIG:
                self.waiting_for_reload.setdefault(account, []).append(id)
                told.traceparent = None
            case Way.WEBHOOK:
                told.traceparent = None

    def register(self, key: Key, traceparent: str | None = None, *, upper: bool = False) -> None:
        """Register an id soon, and again until that is acknowledged."""
        written = key[1].upper() if upper else key[1]
        self.registrations.append(_Registration(key, written, traceparent))

    def add_nonsense(self, account: str, id: str, expected: Expected) -> None:
        """Register an id that can never end."""
        self.generations[account, id] = Told(Way.REGISTERED, expected, may_drop=True)
        self.register((account, id))

    def listed_in_configuration(self) -> None:
        """Note that the exporter has applied a configuration with everything that waited for it."""
        for account, ids in self.installation.listed.items():
            for id in ids:
                if (told := self.generations.get((account, id))) is not None:
                    told.told = True

    def complete(self) -> None:
        """Add what was accepted while nobody waited for the answer: a webhook may have reported it."""
        for one in self.api.world:
            self.generations.setdefault((one.account, one.id), Told(Way.WEBHOOK))

    async def run(self) -> None:
        """Register and write files until cancelled."""
        async with httpx.AsyncClient(timeout=20) as http, asyncio.TaskGroup() as loops:
            loops.create_task(self._register_all(http))
            loops.create_task(self._write_all())

    async def _register_all(self, http: httpx.AsyncClient) -> None:
        while True:
            await self.clock.sleep(FLUSH_EVERY_S)
            present = self.installation.present
            batch = [one for one in self.registrations if present[one.key[0]]][:500]
            if not batch:
                continue
            items = [
                {"id": one.id, "account": one.key[0]}
                | ({} if one.traceparent is None else {"traceparent": one.traceparent})
                for one in batch
            ]
            try:
                answer = await http.post(
                    f"{self.url}/api/v1/generations",
                    json={"generations": items},
                    headers={"Authorization": f"Bearer {self.token}"},
                )
                self.answers[answer.status_code] += 1
            except httpx.HTTPError:
                self.answers[0] += 1
                continue
            if answer.status_code == 202:
                done = set(map(id, batch))
                self.registrations = [one for one in self.registrations if id(one) not in done]
                for one in batch:
                    self.generations[one.key].told = True

    async def _write_all(self) -> None:
        while True:
            await self.clock.sleep(FILE_EVERY_S)
            for account in list(self._unwritten):
                self.installation.write_ids(account, "recent.json", self.recent[account])
            self._unwritten.clear()

    def _spoil(self, key: Key, told: Told) -> None:
        """Let the API be at a loss about some, for a while."""
        chance, path = self.rng.random(), f"generations/{key[1]}"
        generation = self.api.world.find(key[1], self.clock.now_us())
        is_video = generation is not None and generation.model.category is Category.VIDEO
        if chance < POISONED:
            self.api.refused[path] = INTERNAL_ERROR
            self._after(POISON_S, lambda: self.api.refused.pop(path, None))
        elif chance < POISONED + HIDDEN and is_video:
            told.may_drop = True
            self.api.refused[path] = NOT_FOUND

            def show_again() -> None:
                self.api.refused.pop(path, None)
                self.register(key, None)

            self._after(HIDE_S, show_again)

    def come_back(self, account: str, id: str) -> None:
        """Let an id that the API did not know turn up as one that has ended, and register it again."""
        world, now_us = self.api.world, self.clock.now_us()
        model = self.rng.choice([one.model for one in world.in_flight(now_us)] or [next(iter(world)).model])
        world.add_ended(
            account, model, id, now_us - 60 * MICROS, 45 * MICROS, now_us, credits_used=model.credits_min
        )
        told = self.generations[account, id]
        told.expected = Expected.COUNTED
        self.register((account, id))

    def add_ghost(self, account: str, id: str, after_s: float) -> None:
        """Register an id that the API learns of only later."""
        self.add_nonsense(account, id, Expected.NOT_FOUND)
        self._after(after_s, lambda: self.come_back(account, id))

    def _after(self, seconds: float, act: Callable[[], object]) -> None:
        async def later() -> None:
            await self.clock.sleep(seconds)
            act()

        task = asyncio.create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    @property
    def outstanding(self) -> int:
        """What is still to be done later or to be written."""
        return len(self._later) + len(self._unwritten)

    def _traceparent(self) -> str:
        return f"00-{self.rng.getrandbits(128):032x}-{self.rng.getrandbits(64):016x}-01"
