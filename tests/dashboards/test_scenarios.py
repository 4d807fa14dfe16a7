"""Each alert is driven to fire and to resolve: simulated trouble, real exporter, Prometheus, Alertmanager.

All scenarios are played at once, each by an account of its own, and each goes on when Alertmanager tells it.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.clock import MICROS, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.faults import Fault
from exporter.simulator.models import MODELS, SimulatedModel
from exporter.simulator.webhooks import Endpoint
from mixin import limits
from mixin.alerts import ALERTS
from mixin.records import increased
from mixin.rules import hurried
from support.boards import panels
from support.grafana import expanded
from support.prometheus import has_data, query
from support.stage import FACTOR, PATIENCE, TICK, TOKEN, Command, Feed, Stage, collector, stage

IMAGE = MODELS[0]
SECRET = "whsec_of_the_stage"
DURATIONS = {"$__rate_interval": "2m", "$__range": "3m", "$__interval": "1s"}
NOWHERE = "http://127.0.0.1:9/webhooks"

ACCOUNTS: dict[str, dict[str, object]] = {
    "well": {},
    "failing": {},
    "hopeless": {},
    "mistaken": {},
    "shared": {},
    "lopsided": {},
    "slow": {},
    "stuck": {},
    "stalled": {},
    "poor": {},
    "locked": {},
    "unreachable": {},
    "crowded": {},
    "behind": {"calls_per_minute": 6},
    "unpushed": {"webhook_secret_file": "webhook.secret"},
}
"""The exporter's accounts by what they go through, with what is particular about their configuration."""


def tier(name: str) -> SimulatedAccount:
    granted = 20_000 if name == "poor" else 10**12
    return SimulatedAccount(
        name, f"vvx_live_{name:0<32}", "pro" if name == "crowded" else "ultimate", granted
    )


def lasting(seconds: float) -> SimulatedModel:
    """The image model, were it to render for so long."""
    return replace(IMAGE, median_s=seconds, sigma=0.0, shortest_s=seconds, longest_s=seconds)


def because_of(reason: str) -> SimulatedModel:
    """The image model, were this the only reason to fail."""
    return replace(IMAGE, failure_weights=((reason, 1.0),))


FAILURES = ("VivixFailureRatioHigh", "VivixFailureRatioRaised", "VivixFailuresTrickle")


async def failing(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE, failing=0.0)
    await on.has_submitted(me, 10)
    on.feeds[me] = Feed(IMAGE, failing=0.9, count=2)
    await on.firing(me, *FAILURES)
    on.feeds[me] = Feed(IMAGE, failing=0.0, count=2)
    await on.resolved(me, *FAILURES)


async def hopeless(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(because_of("PROVIDER_ERROR"), failing=1.0)
    await on.firing(me, "VivixEverythingFails")
    on.feeds[me] = Feed(IMAGE, failing=0.0)
    await on.resolved(me, "VivixEverythingFails")


async def mistaken(on: Stage, me: str) -> None:
    # What an account had dropped before Prometheus knew it for a window is not news.
    on.feeds[me] = Feed(IMAGE)
    await on.has_submitted(me, 60)
    await on.register(me, *(f"an-id-that-nobody-knows-{n}" for n in range(limits.LEAST_DROPPED)))
    await on.firing(me, "VivixGenerationsDropped")
    await on.resolved(me, "VivixGenerationsDropped")


async def shared(on: Stage, me: str) -> None:
    """Somebody else submits with the same key and registers nothing."""
    on.feeds[me] = Feed(IMAGE)
    strangers = asyncio.create_task(_submit_unregistered(on, me))
    await on.firing(me, "VivixKeyUsedElsewhere")
    strangers.cancel()
    await on.resolved(me, "VivixKeyUsedElsewhere")


async def _submit_unregistered(on: Stage, me: str) -> None:
    while True:
        on.api.world.submit(me, IMAGE, 1, on.clock.now_us())
        await asyncio.sleep(TICK)


async def lopsided(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(because_of("CONTENT_POLICY"), failing=1.0, count=3)
    await on.has_submitted(me, 150)
    on.feeds[me] = Feed(because_of("PROVIDER_ERROR"), failing=1.0)
    await on.firing(me, "VivixFailureReasonDominant")
    on.feeds[me] = Feed(because_of("CONTENT_POLICY"), failing=1.0, count=3)
    await on.resolved(me, "VivixFailureReasonDominant")


async def slow(on: Stage, me: str) -> None:
    firing = asyncio.create_task(on.firing(me, "VivixGenerationsSlow"))
    # While an account is younger than the week that it is compared with, what is usual begins anew now and
    # then: then the quick ones are told again.
    while not firing.done():
        while not await usual(on, me, "< 20"):
            await _tell(on, me, took=5, count=10)
        while not (firing.done() or await usual(on, me, "> 35")):
            await _tell(on, me, took=60, count=2)
    await firing
    resolving = asyncio.create_task(on.resolved(me, "VivixGenerationsSlow"))
    while not resolving.done():
        await _tell(on, me, took=5, count=2)
    await resolving


async def _tell(on: Stage, me: str, *, took: float, count: int) -> None:
    """Let some have ended after so many seconds, without a queue, which is longer on a slow machine."""
    await on.register(me, *on.ended(me, IMAGE, count, took))
    await asyncio.sleep(TICK)


async def usual(on: Stage, me: str, seconds: str) -> bool:
    """Whether so many have ended that one can tell how long they take, and that is so many seconds."""
    total, count = (
        f'sum({increased(f"vivix_generation_duration_seconds_{part}", "7d")}{{account="{me}"}})'
        for part in ("sum", "count")
    )
    return bool(await query(on.http, on.server, f"({total} / {count} {seconds}) and {count} >= 200"))


async def stuck(on: Stage, me: str) -> None:
    await on.submit(me, Feed(lasting(2700)))
    await on.firing(me, "VivixGenerationStuck")
    for panel in panels():
        for expr in panel.queries:
            if "ALERTS{" in expr:
                assert await shows(on, expr), panel.id
    await on.resolved(me, "VivixGenerationStuck")


async def stalled(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE)
    await on.has_submitted(me, 5)
    del on.feeds[me]
    await on.nothing_in_flight(me)
    await on.submit(me, Feed(lasting(1500), count=limits.LEAST_IN_FLIGHT))
    await on.firing(me, "VivixNothingFinishes")
    await on.resolved(me, "VivixNothingFinishes")


async def poor(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE, count=4)
    alerts = ("VivixCreditsLow", "VivixCreditsRunOutBeforeReset", "VivixCreditsRunOutSoon")
    # Its pace is told once it has been known for hours, through which somebody puts in a little now and then.
    firing = asyncio.create_task(on.firing(me, *alerts))
    while not firing.done():
        wallet = on.api.world.wallet(me, on.clock.now_us())
        if wallet.balance < 1_000:
            wallet.top_up(500, on.clock.now_us())
        await asyncio.sleep(TICK)
    await firing
    await on.firing(me, "VivixWalletEmpty")
    del on.feeds[me]
    now_us = on.clock.now_us()
    on.api.world.wallet(me, now_us).top_up(10**12, now_us)
    await on.resolved(me, *alerts, "VivixWalletEmpty")


async def locked(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE)
    key = tier(me).key
    on.api.world.rotate_key(me, key[::-1])
    await on.firing(me, "VivixKeyInvalid")
    on.api.world.keys.add(me, key)
    await on.resolved(me, "VivixKeyInvalid")


async def unreachable(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE)
    now_us = on.clock.now_us()
    on.api.faults.schedule(Fault.RESET, now_us, now_us + 86_400 * MICROS, me)
    await on.firing(me, "VivixAccountDown")
    on.api.faults.clear()
    await on.resolved(me, "VivixAccountDown")


async def crowded(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE)
    spending = asyncio.create_task(_spend_calls(on, me))
    await on.firing(me, "VivixRateLimitNear")
    spending.cancel()
    await on.resolved(me, "VivixRateLimitNear")


async def _spend_calls(on: Stage, me: str) -> None:
    """An application that leaves few of the plan's calls, minute after minute."""
    account = tier(me)
    while True:
        at_us = int(on.clock.monotonic() * MICROS)
        while on.api.limit.admit(account.key, account.plan.calls_per_minute, at_us).remaining > 18:
            pass
        await asyncio.sleep(TICK / 6)


async def behind(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE, count=2)
    await on.firing(me, "VivixPollingBehind")
    del on.feeds[me]
    await on.resolved(me, "VivixPollingBehind")


async def unpushed(on: Stage, me: str) -> None:
    on.api.endpoints.set(me, [Endpoint(NOWHERE, SECRET)])
    on.feeds[me] = Feed(IMAGE)
    await on.firing(me, "VivixWebhooksMissed")
    on.api.endpoints.set(me, [Endpoint(f"{on.exporter}/webhooks/{me}", SECRET)])
    await on.resolved(me, "VivixWebhooksMissed")


async def well(on: Stage, me: str) -> None:
    on.feeds[me] = Feed(IMAGE, took=IMAGE.median_s)
    await on.register(me, "an-id-that-nobody-knows")


OF_MANY = ("VivixExporterRestarting", "VivixApiErrors", "VivixCallsRefused")
"""Alerts that count many starts or calls, which a slow machine does not make within a few seconds: a play of
their own has windows that are longer."""

SCENARIOS: dict[str, Callable[[Stage, str], Coroutine[None, None, None]]] = {
    scenario.__name__: scenario
    for scenario in (
        well,
        failing,
        hopeless,
        mistaken,
        shared,
        lopsided,
        slow,
        stuck,
        stalled,
        poor,
        locked,
        unreachable,
        crowded,
        behind,
        unpushed,
    )
}


async def office(on: Stage, command: Command) -> None:
    """What an exporter itself goes through, one after the other."""
    command.write_ids(
        "ended.json", json.dumps(on.ended("office", IMAGE, limits.PENDING_SPANS + 30, 10, failed=13))
    )
    await on.firing(command.target, "VivixSpansPilingUp")
    async with collector(command.collector):
        await on.resolved(command.target, "VivixSpansPilingUp")
    await assert_exemplars_lead_to_traces(on)

    command.write_ids("a.json", "[")
    await on.firing("office", "VivixFilesBroken")
    command.write_ids("a.json", json.dumps(["one-id"]))
    await on.resolved("office", "VivixFilesBroken")

    command.reload(command.good.replace("accounts:", "acounts:"))
    await on.firing(command.target, "VivixReloadFailed")
    command.reload(command.good)
    await on.resolved(command.target, "VivixReloadFailed")

    command.rename_table("generations", "mislaid")
    registering = asyncio.create_task(_register(on, command))
    await on.firing(command.target, "VivixStoreFailing")
    command.rename_table("mislaid", "generations")
    await on.resolved(command.target, "VivixStoreFailing")
    registering.cancel()

    command.kill()
    await on.firing(command.target, "VivixInstanceDown")
    command.start()
    await on.resolved(command.target, "VivixInstanceDown")


async def _register(on: Stage, command: Command) -> None:
    while True:
        body = {"generations": [{"id": "another-id", "account": "office"}]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        await on.http.post(f"http://{command.target}/api/v1/generations", json=body, headers=headers)
        await asyncio.sleep(TICK / 3)


async def assert_exemplars_lead_to_traces(on: Stage) -> None:
    """Each panel with exemplars finds some: of the traces that have just arrived."""
    asked = [
        expanded(target["expr"], DURATIONS)
        for panel in panels()
        for target in panel.json["targets"]
        if target.get("exemplar")
    ]
    assert len(asked) == 2
    for expr in asked:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while not found:
                now = SystemClock().now_us() / MICROS
                answer = await on.http.get(
                    f"{on.server}/api/v1/query_exemplars",
                    # Their times are the vendor's, whose clock runs ahead.
                    params={"query": expr, "start": str(now - 600), "end": str(now + 86_400 * 30)},
                )
                found = answer.json()["data"]
                await asyncio.sleep(TICK)
        for series in found:
            for exemplar in series["exemplars"]:
                assert re.fullmatch(r"[0-9a-f]{32}", exemplar["labels"]["trace_id"])


async def all_down(on: Stage, command: Command) -> None:
    """Both exporters, and one that comes back."""
    command.kill()
    await on.process.kill()
    await on.firing("vivix", "VivixExporterDown")
    command.start()
    await on.resolved("vivix", "VivixExporterDown")


async def comes_to_show(on: Stage, expr: str) -> bool:
    """Whether a panel shows something as soon as something ends within its window, a few seconds here."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not await shows(on, expr):
                await asyncio.sleep(TICK)
            return True
    return False


async def shows(on: Stage, expr: str) -> bool:
    return await has_data(on.http, on.server, expanded(hurried(expr, FACTOR), DURATIONS))


@pytest.mark.long(400)
async def test_each_alert_fires_and_resolves_and_no_panel_stays_empty_when_all_is_not_well(
    tmp_path: Path,
) -> None:
    (tmp_path / "webhook.secret").write_text(SECRET)

    def command(url: str) -> Command:
        return Command(tmp_path / "office", url, tier("office").key)

    assert set(SCENARIOS) == set(ACCOUNTS)
    async with stage(tmp_path, ACCOUNTS, tier, command) as (on, second):
        async with on.feeding():
            async with asyncio.TaskGroup() as playing:
                for me, play in SCENARIOS.items():
                    playing.create_task(play(on, me), name=me)
                playing.create_task(office(on, second), name="office")
            for panel in panels():
                for expr in panel.queries:
                    assert "ALERTS{" in expr or await comes_to_show(on, expr), f"{panel.id}: {expr}"
        await all_down(on, second)
    fired = {name for name, _ in on.received.statuses}
    assert fired == {alert.name for alert in ALERTS} - set(OF_MANY)
    assert not {name for name, who in on.received.statuses if who == "well"}
    for name, texts in on.received.texts.items():
        assert not any(sign in text for text in texts.values() for sign in ("<no value>", "<error", "NaN")), (
            name
        )


LONGER_FACTOR, FASTER = 30, 60.0


async def in_trouble(on: Stage) -> None:
    """The API fails on every third call of anybody, and again and again takes none of one account."""
    on.api.faults.set_rates({Fault.SERVER_ERROR: 0.3})
    refusing = asyncio.create_task(_refuse(on, "refused"))
    await on.firing("unlucky", "VivixApiErrors")
    await on.firing("refused", "VivixCallsRefused")
    refusing.cancel()
    on.api.faults.clear()
    await on.resolved("unlucky", "VivixApiErrors")
    await on.resolved("refused", "VivixCallsRefused")


async def _refuse(on: Stage, account: str) -> None:
    while True:
        now_us = on.clock.now_us()
        on.api.faults.schedule(Fault.TOO_MANY_REQUESTS, now_us, now_us + 10 * MICROS, account)
        await asyncio.sleep(TICK)


async def restarting(on: Stage, command: Command) -> None:
    """Somebody kills it, and it is started again."""
    firing = asyncio.create_task(on.firing(command.target, "VivixExporterRestarting"))
    began = await started(on, command)
    while not firing.done():
        command.kill()
        command.start()
        while (seen := await started(on, command)) in ([], began) and not firing.done():
            await asyncio.sleep(TICK)
        began = seen
    await firing
    await on.resolved(command.target, "VivixExporterRestarting")


async def started(on: Stage, command: Command) -> list[float]:
    """When Prometheus last saw it start; nothing while it has not answered since."""
    shown = await query(on.http, on.server, f'process_start_time_seconds{{instance="{command.target}"}}')
    return list(shown.values())


@pytest.mark.long(130)
async def test_alerts_that_count_many_starts_or_calls_fire_and_resolve(tmp_path: Path) -> None:
    def command(url: str) -> Command:
        return Command(tmp_path / "office", url, tier("office").key)

    accounts: dict[str, dict[str, object]] = {"unlucky": {}, "refused": {}}
    async with stage(tmp_path, accounts, tier, command, LONGER_FACTOR, FASTER) as (on, second), on.feeding():
        on.feeds = {name: Feed(IMAGE) for name in accounts}
        async with asyncio.TaskGroup() as playing:
            playing.create_task(in_trouble(on))
            playing.create_task(restarting(on, second))
    assert {name for name, _ in on.received.statuses} >= set(OF_MANY)
