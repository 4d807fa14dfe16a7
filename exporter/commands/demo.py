"""`demo`: the simulated Vivix API, an application that submits to it, and the exporter in between."""

import asyncio
import random
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

import click
import yaml

from exporter import logs
from exporter.app import App
from exporter.clock import MICROS, Clock
from exporter.commands.history import History, finished
from exporter.commands.serving import listen_on, until_signalled
from exporter.commands.simulate import ACCOUNTS, clock_of, deliver_to, simulated_api
from exporter.commands.skipping import SkippingClock, SkippingLoop
from exporter.commands.usage import WEBHOOK_SECRET
from exporter.config import parse_config
from exporter.domain.values import AccountName, GenerationId
from exporter.errors import ConfigError
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import Deliverer
from exporter.simulator.deliveries import Kind, Mishaps
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.workload import Workload
from exporter.simulator.world import World
from exporter.store import open_database
from exporter.web.server import bound_address

PER_MINUTE = {"studio": 24.0, "shop": 6.0, "lab": 6.0}
"""What the demo's applications submit: somewhat less than the plans render."""
WITH_WEBHOOKS = "studio"
"""The account whose ends are also delivered by webhook."""
WEBHOOK_MISHAPS = {Kind.LOST: 0.01, Kind.DOUBLED: 0.02}
"""What a vendor may do. Forged ones are an attack, of which the exporter would warn."""
REGISTRATION_TOKEN = "demo"  # noqa: S105
"""Lets a visitor register ids with the demo."""
_SECRET_FILE, _TOKEN_FILE = "webhook.secret", "registration.token"
PACE_WITH_HISTORY = 0.25
"""What they submit of it where a day is lived first, which would take minutes longer."""
BACKLOG = 60
"""Generations of each account that ended before the demo began."""
_BACKLOG_SPAN = 6 * 3600


@dataclass(frozen=True, slots=True)
class Setting:
    """When and at which pace a demo is lived: `clock` is its time, `pace` what applications submit of the
    usual."""

    clock: Clock
    pace: float = 1.0
    history: History | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the history is that of the time until now."""


def command(
    web_listen_address: tuple[str, ...],
    speed: float,
    seed: int,
    history_folder: Path | None,
    history_hours: int,
    history_instance: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run the demo; see `usage`."""
    logs.set_up(log_level, log_format)
    if history_folder is not None and speed != 1:
        raise ConfigError("--history.folder lives in real time once it has caught up: leave out --speed")
    listeners = listen_on({"--web.listen-address": web_listen_address})
    if history_folder is None:
        until_signalled(lambda stop: demo(seed, Setting(clock_of(speed)), listeners, stop, click.echo))
        return
    behind = 0.0 if finished(history_folder) else 3600.0 * history_hours
    loop = SkippingLoop(behind)
    clock = SkippingClock(loop)
    history = None
    if behind:
        history = History(history_folder, history_instance or bound_address(listeners[0]), clock.now_us())
        click.echo(f"Living {history_hours} hours first; what they leave is in {history_folder}")
    setting = Setting(clock, PACE_WITH_HISTORY, history, loop.arrived)
    until_signalled(lambda stop: demo(seed, setting, listeners, stop, click.echo), lambda: loop)


async def demo(
    seed: int,
    setting: Setting,
    listeners: Sequence[socket],
    stop: asyncio.Event,
    echo: Callable[[str], None],
) -> None:
    """Run all three until `stop` is set; `echo` takes lines to print. State goes to a temporary folder."""
    clock = setting.clock
    api = simulated_api(seed, clock, Faults.none())
    api.mishaps = Mishaps(seed, WEBHOOK_MISHAPS)
    receiver = f"http://{bound_address(listeners[0])}/webhooks/{WITH_WEBHOOKS}"
    deliver_to(api, [f"{WITH_WEBHOOKS}={receiver}"], WEBHOOK_SECRET)
    with tempfile.TemporaryDirectory(prefix="vivix-exporter-demo-") as folder:
        (Path(folder) / _SECRET_FILE).write_text(WEBHOOK_SECRET)
        (Path(folder) / _TOKEN_FILE).write_text(REGISTRATION_TOKEN)
        async with serve(create_app(api)) as address:
            text = yaml.safe_dump(_configuration(api, address.url, clock.now_us()))
            config = parse_config(text, Path(folder) / "config.yaml")
            app = App(config, open_database(config.state_at, owner=True), clock)
            echo(f"Simulated Vivix API at {address.url}")
            for listener in listeners:
                url = f"http://{bound_address(listener)}"
                echo(f"Look first at          {url}/ (what runs, what failed, and why)")
                echo(f"Metrics at             {url}/metrics")
            echo(f"Webhooks come in for   {WITH_WEBHOOKS}")
            echo(f"Registration token     {REGISTRATION_TOKEN}")
            echo("Dashboards             in Grafana: Dashboards, New, Import, each file of dashboards/json")
            echo(
                "                       (its Prometheus scrapes the metrics above; see dashboards/README.md)"
            )
            echo("Stop with Ctrl-C.")

            async def register(account: str, id: str) -> None:
                await app.register(AccountName(account), [GenerationId(id)])

            submitting = _submit(api, address.url, setting, seed, register)
            metrics = f"http://{bound_address(listeners[0])}/metrics"
            await _together(app.run(listeners, stop), app.ready, submitting, _scrape(setting, metrics, echo))


async def _scrape(setting: Setting, url: str, echo: Callable[[str], None]) -> None:
    """Keep what is shown at `url` until the present, where a history is wanted."""
    if setting.history is not None:
        await setting.history.scrape(url, setting.clock, setting.arrived)
        echo("The past is lived: from here on it is the present.")


async def _together(
    running: Awaitable[None], ready: asyncio.Event, *beside: Coroutine[None, None, None]
) -> None:
    """Run the exporter, and what is `beside` it from when it is ready until it stops."""

    async def once_ready() -> None:
        await ready.wait()
        async with asyncio.TaskGroup() as others:
            for one in beside:
                others.create_task(one)

    applications = asyncio.ensure_future(once_ready())
    exporter = asyncio.ensure_future(running)
    try:
        await asyncio.wait({applications, exporter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (applications, exporter):
            task.cancel()
        results = await asyncio.gather(exporter, applications, return_exceptions=True)
        for one in beside:
            one.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _submit(
    api: SimulatedApi,
    base_url: str,
    setting: Setting,
    seed: int,
    register: Callable[[str, str], Awaitable[None]],
) -> None:
    clock = setting.clock
    async with asyncio.TaskGroup() as applications:
        applications.create_task(Deliverer(api).run())
        for account in ACCOUNTS:
            workload = Workload(
                base_url,
                account.name,
                lambda key=account.key: key,  # type: ignore[misc]
                lambda name=account.name: len(api.world.in_flight(clock.now_us(), name)),  # type: ignore[misc]
                clock,
                per_minute=PER_MINUTE[account.name] * setting.pace,
                most_in_flight=3 * account.plan.concurrent_jobs,
                seed=seed,
            )
            applications.create_task(workload.run(register))


def _configuration(api: SimulatedApi, base_url: str, now_us: int) -> dict[str, object]:
    """Return the demo's configuration, with a backlog of generations that have ended."""
    rng = random.Random(api.world.seed)
    accounts: list[dict[str, object]] = []
    for account in ACCOUNTS:
        ages = sorted((rng.uniform(600, _BACKLOG_SPAN) for _ in range(BACKLOG)), reverse=True)
        ids = [_ended(api.world, account.name, now_us - round(age * MICROS), now_us, rng) for age in ages]
        configured: dict[str, object] = {
            "name": account.name,
            "base_url": base_url,
            "api_key": account.key,
            "generations": ids,
        }
        if account.name == WITH_WEBHOOKS:
            configured["webhook_secret_file"] = _SECRET_FILE
        accounts.append(configured)
    return {"accounts": accounts, "web": {"registration_token_file": _TOKEN_FILE}}


def _ended(world: World, account: str, created_us: int, now_us: int, rng: random.Random) -> str:
    """Add a generation that has ended, and return its id."""
    model = rng.choice(MODELS)
    failed = rng.random() < world.failure_ratio
    generation = world.add_ended(
        account,
        model,
        str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        created_us,
        round(rng.uniform(8, 120) * MICROS),
        now_us,
        reason=rng.choice([reason for reason, _ in model.failure_weights]) if failed else None,
        credits_used=model.credits_min,
    )
    return generation.id
