"""What befalls the exporter, hour by hour of simulated time, besides the faults that are always on."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import httpx

from exporter.clock import Clock
from exporter.simulator import answers
from exporter.simulator.api import SimulatedApi
from exporter.simulator.webhooks import Endpoint
from soak.installation import Installation, text_of
from soak.records import Records
from soak.supervised import Supervised
from soak.telling import Expected, Telling

MINUTE, HOUR = 60.0, 3600.0
STANDING, RECENT_MOST = 40, 120
"""Ids in the file that stays, and those of ended generations beyond which the other file is shortened."""
QUIET = (13.0, 21.0)
"""Hours between which the exporter is not killed, so that a leak has time to show."""
RELOAD_PATIENCE_S = 10.0
"""Seconds, of the machine, after which a reload counts as unanswered."""


@dataclass
class Trouble:
    """Everything that is done to the exporter; `complaints` is how it failed to take it, by kind."""

    api: SimulatedApi
    clock: Clock
    installation: Installation
    exporter: Supervised
    telling: Telling
    records: Records
    rng: Random
    hours: float
    without: frozenset[str] = frozenset()
    """Names of entries of the timetable that are left out."""
    complaints: dict[str, list[str]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    standing: dict[str, list[tuple[str, str | None]]] = field(default_factory=dict)
    began: float = 0.0

    @property
    def names(self) -> list[str]:
        """The accounts, present or not."""
        return list(self.installation.present)

    def timetable(self) -> list[tuple[float, Callable[[int], Awaitable[None]]]]:
        """Minute of the hour and what happens then, given the number of the hour."""
        every: list[tuple[float, Callable[[int], Awaitable[None]]]] = [
            (1, self.kill),
            (4, self.rotate_key),
            (8, self.rotate_webhook_secret),
            (11, self.rotate_token),
            (14, self.return_files),
            (15, self.shorten_files),
            (18, self.break_a_file),
            (21, self.list_and_reload),
            (24, self.refuse_a_reload),
            (27, self.remove_and_add_account),
            (38, self.fill_the_disk),
            (44, self.break_credits),
            (47, self.register_nonsense),
            (50, self.lose_files),
        ]
        return [(minute, act) for minute, act in every if act.__name__ not in self.without]

    async def run(self) -> None:
        """Let everything happen at its time until the hours are over."""
        self.began = self.clock.monotonic()
        table = self.timetable()
        for hour in range(int(self.hours) + 1):
            for minute, act in table:
                at_s = hour * HOUR + minute * MINUTE
                if at_s >= self.hours * HOUR:
                    return
                await self.clock.sleep(max(0.0, self.began + at_s - self.clock.monotonic()))
                await self._when_up()
                await act(hour)

    async def kill(self, hour: int) -> None:
        """kill -9, every two hours outside the quiet ones."""
        if hour % 2 == 0 or QUIET[0] < hour < QUIET[1]:
            return
        await self.exporter.kill()
        self.api.shown.new_reader()
        self.done["kill -9"] += 1

    async def rotate_key(self, hour: int) -> None:
        """Replace an account's key; the old one stays valid for a while, or is revoked too early."""
        account, key = self._account(hour), f"vvx_live_{self.rng.getrandbits(128):032x}"
        if hour % 2:
            self.api.world.rotate_key(account, key)
            await self.clock.sleep(1.5 * MINUTE)
            self.installation.write_key(account, key)
        else:
            old = self.api.world.keys.of_account(account)
            self.api.world.keys.add(account, key)
            self.installation.write_key(account, key)
            await self.clock.sleep(1.5 * MINUTE)
            for one in old:
                self.api.world.keys.revoke(one)
        self.done["key rotated"] += 1

    async def rotate_webhook_secret(self, hour: int) -> None:
        """Replace the secret of an account's webhooks; both are valid for a while, or the new one is late."""
        names = [name for name in self.names if self.installation.with_webhooks[name]]
        account = names[hour % len(names)]
        (endpoint,) = self.api.endpoints.of(account)
        fresh = f"whsec_{self.rng.getrandbits(128):032x}"
        if hour % 2:
            self.api.endpoints.set(account, [Endpoint(endpoint.url, fresh)])
            await self.clock.sleep(MINUTE)
        else:
            self.installation.write_webhook_secrets(account, fresh, endpoint.secret)
            await self.clock.sleep(MINUTE)
            self.api.endpoints.set(account, [Endpoint(endpoint.url, fresh)])
        self.installation.write_webhook_secrets(account, fresh)
        self.done["webhook secret rotated"] += 1

    async def rotate_token(self, hour: int) -> None:
        """Replace the registration token; whoever registers has the new one first in odd hours."""
        token = f"token-{self.rng.getrandbits(64):016x}"
        if hour % 2:
            self.telling.token = token
            await self.clock.sleep(MINUTE)
        self.installation.write_token(token)
        self.telling.token = token
        self.done["token rotated"] += 1

    async def shorten_files(self, hour: int) -> None:
        """Let go of the ids of ended generations, and rewrite the file in place, which shows half of it."""
        for account in self.names:
            recent = self.telling.recent.get(account, [])
            if account not in self.standing and len(recent) >= STANDING:
                self.standing[account] = recent[:STANDING]
                self.installation.write_ids(account, "standing.json", self.standing[account])
                del recent[:STANDING]
            excess = max(0, len(recent) - RECENT_MOST)
            gone = [one for one in recent if self._has_ended(account, one[0])][:excess]
            recent[:] = [one for one in recent if one not in gone]
            text = text_of("recent.json", recent)
            path = self.installation.ids_file(account, "recent.json")
            if hour % 2 and path.exists():
                with path.open("w") as file:
                    file.write(text[: len(text) // 2])
                    file.flush()
                    await asyncio.sleep(0.2)
                    file.write(text[len(text) // 2 :])
            else:
                self.installation.write_ids(account, "recent.json", recent)
        self.done["files replaced"] += 1

    async def break_a_file(self, hour: int) -> None:
        """Let a file of ids make no sense for a minute."""
        account = self._account(hour)
        self.installation.ids_file(account, "recent.json").parent.mkdir(parents=True, exist_ok=True)
        self.installation.ids_file(account, "recent.json").write_text('["not an end')
        await self.clock.sleep(MINUTE)
        self.installation.write_ids(account, "recent.json", self.telling.recent.get(account, []))
        self.done["file broken"] += 1

    async def lose_files(self, _hour: int) -> None:
        """Take the file away whose ids have long ended; it stays away across the hour."""
        for account, ids in self.standing.items():
            if all(self._has_ended(account, id) for id, _ in ids):
                self.installation.ids_file(account, "standing.json").unlink(missing_ok=True)
                self.done["file taken away"] += 1

    async def return_files(self, _hour: int) -> None:
        """Put it back."""
        for account, ids in self.standing.items():
            self.installation.write_ids(account, "standing.json", ids)

    async def list_and_reload(self, _hour: int) -> None:
        """List what waits for that in the configuration, no longer what has ended, and reload."""
        self._list()
        await self.reload(expect_refusal=False)

    def _list(self) -> None:
        for account, waiting in self.telling.waiting_for_reload.items():
            listed = self.installation.listed[account]
            listed[:] = [id for id in listed if not self._has_ended(account, id)] + waiting
            waiting.clear()
        self.installation.write_config()

    async def refuse_a_reload(self, hour: int) -> None:
        """Reload a broken configuration, which must change nothing."""
        text = self.installation.write_broken_config(hour)
        await self.reload(expect_refusal=True, what=text.strip())
        self.installation.write_config()

    async def remove_and_add_account(self, hour: int) -> None:
        """Remove an account, and add it again some minutes later."""
        account = self._account(hour)
        self.installation.present[account] = False
        self.installation.write_config()
        await self.reload(expect_refusal=False)
        await self.clock.sleep(8 * MINUTE)
        self.installation.present[account] = True
        self.installation.write_config()
        await self._when_up()
        await self.reload(expect_refusal=False)
        self.done["account removed and added"] += 1

    async def fill_the_disk(self, hour: int) -> None:
        """Let every write fail for minutes; in every third hour a reload comes in the midst of it."""
        self.api.shown.forgetting(True)
        self.exporter.let_write(False)
        await self.clock.sleep(2 * MINUTE)
        if hour % 3 == 1:
            self._list()
            await self.reload(expect_refusal=None, what="while the disk is full")
        await self.clock.sleep(2 * MINUTE)
        self.exporter.let_write(True)
        await self.clock.sleep(MINUTE)
        self.api.shown.forgetting(False)
        self.done["disk full"] += 1

    async def break_credits(self, hour: int) -> None:
        """Let /credits answer 404 while a key is refused for a moment."""
        account, keys = self._account(hour), self.api.world.keys
        self.api.refused["credits"] = answers.NO_SUCH_PAGE
        valid = keys.of_account(account)
        for key in valid:
            keys.revoke(key)
        await self.clock.sleep(10)
        for key in valid:
            keys.add(account, key)
        await self.clock.sleep(MINUTE)
        del self.api.refused["credits"]
        self.done["credits broken"] += 1

    async def register_nonsense(self, hour: int) -> None:
        """Register ids that are unknown, another account's, malformed, or not known yet."""
        for account in self.names:
            telling, refused = self.telling, self.api.refused
            telling.add_nonsense(account, self._uuid(), Expected.NOT_FOUND)
            telling.add_nonsense(account, f"abc-{hour}/%2F?ü#", Expected.NOT_FOUND)
            other = self._account(self.names.index(account) + 1)
            of_other = [one for one in self.api.world.in_flight(self.clock.now_us(), other)]
            if of_other:
                telling.add_nonsense(account, of_other[0].id, Expected.NOT_YOURS)
            for problem in (answers.MALFORMED_ID, answers.MALFORMED_ID, answers.UNPROCESSABLE_ID):
                id = self._uuid()
                refused[f"generations/{id}"] = problem
                telling.add_nonsense(account, id, Expected.REFUSED)
            telling.add_ghost(account, self._uuid(), 15 * MINUTE)
        self.done["nonsense registered"] += 1

    async def reload(self, *, expect_refusal: bool | None, what: str = "") -> None:
        """Ask for a reload; note where it is not answered as it should be. None expects either answer."""
        answer: httpx.Response | None = None
        try:
            async with httpx.AsyncClient(timeout=RELOAD_PATIENCE_S) as http:
                answer = await http.post(f"{self.exporter.url}/-/reload")
        except httpx.HTTPError as error:
            self.complain("reload not answered", f"{type(error).__name__} {what}")
            return
        self.done["reload"] += 1
        if expect_refusal is not None and (answer.status_code != 200) != expect_refusal:
            self.complain(
                "reload answered wrongly", f"{answer.status_code} {answer.text.strip()[:150]} {what}"
            )
        elif answer.status_code == 200:
            self.telling.listed_in_configuration()

    def complain(self, kind: str, text: str) -> None:
        """Note one failure."""
        at = (self.clock.monotonic() - self.began) / HOUR
        self.complaints.setdefault(kind, []).append(f"hour {at:.2f}: {text}")

    async def _when_up(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await self.exporter.up.wait()

    def _account(self, number: int) -> str:
        return self.names[number % len(self.names)]

    def _has_ended(self, account: str, id: str) -> bool:
        record = self.records.last.get((account, id))
        return record is not None and record.end is not None

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
