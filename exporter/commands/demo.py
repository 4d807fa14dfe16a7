"""`demo` and `simulate`: a simulated Vivix API, an application that uses it, and the exporter in between."""

import asyncio
import random
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from socket import socket

import yaml

from exporter.app import App
from exporter.clock import MICROS, Clock, ScaledClock, SystemClock
from exporter.config import parse_config
from exporter.domain.values import AccountName, GenerationId
from exporter.errors import ConfigError
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import Deliverer, delivering
from exporter.simulator.deliveries import Kind, Mishaps
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.workload import Workload
from exporter.simulator.world import World
from exporter.store import Database
from exporter.web.server import bound_address

ACCOUNTS = (
    SimulatedAccount("studio", "vvx_live_studio00000000000000000000000000", "ultimate", 300_000_000),
    SimulatedAccount("shop", "vvx_live_shop0000000000000000000000000000", "pro", 80_000_000),
    SimulatedAccount("lab", "vvx_live_lab00000000000000000000000000000", "pro", 3_000_000),
)
"""Their grants last for a month of what they submit, but for the lab's: after days it runs out of credits."""
PER_MINUTE = {"studio": 24.0, "shop": 6.0, "lab": 6.0}
"""What the demo's applications submit: somewhat less than the plans render."""
WEBHOOK_SECRET = "whsec_of_the_vivix_exporter_demo"  # noqa: S105
"""Signs the simulated vendor's deliveries where no other secret is given. Public, and so no secret at all."""
WITH_WEBHOOKS = "studio"
"""The account whose ends are also delivered by webhook."""
WEBHOOK_MISHAPS = {Kind.LOST: 0.01, Kind.DOUBLED: 0.02, Kind.FORGED: 0.01}
REGISTRATION_TOKEN = "demo"  # noqa: S105
"""Lets a visitor register ids with the demo."""
_SECRET_FILE, _TOKEN_FILE = "webhook.secret", "registration.token"
BACKLOG = 60
"""Generations of each account that ended before the demo began."""
_BACKLOG_SPAN = 6 * 3600


def clock_of(speed: float) -> Clock:
    """The machine's clock, or one that runs `speed` times as fast from now on."""
    machine = SystemClock()
    return machine if speed == 1 else ScaledClock(speed, machine.now_us())


def simulated_api(seed: int, clock: Clock, faults: Faults) -> SimulatedApi:
    """The API of the demo's accounts."""
    return SimulatedApi(World(seed, ACCOUNTS), clock, faults)


def deliver_to(api: SimulatedApi, urls: Sequence[str], secret: str) -> None:
    """Let webhooks go to `urls`, each written ACCOUNT=URL. Raises ConfigError for any that makes no sense."""
    endpoints: dict[str, list[Endpoint]] = {}
    try:
        for written in urls:
            account, equals, url = written.partition("=")
            if not equals:
                raise ValueError(
                    f"{written!r} is not ACCOUNT=URL, such as {ACCOUNTS[0].name}=http://localhost/"
                )
            endpoints.setdefault(account, []).append(Endpoint(url, secret))
        for account, listed in endpoints.items():
            api.endpoints.set(account, listed)
    except ValueError as error:
        raise ConfigError(f"webhooks: {error}") from error


async def simulate(
    api: SimulatedApi, host: str, port: int, stop: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Serve the simulated API and deliver its webhooks until `stop` is set; `tell` is told where. Raises
    ListenError."""
    async with serve(create_app(api), host, port) as address, delivering(api):
        tell(f"Simulated Vivix API at {address.url}")
        for account in ACCOUNTS:
            tell(f"  account {account.name} ({account.tier}): key {account.key}")
            for endpoint in api.endpoints.of(account.name):
                public = endpoint.secret == WEBHOOK_SECRET
                signed = f"signed with {endpoint.secret}" if public else "signed with the given secret"
                tell(f"    webhooks to {endpoint.url}, {signed}")
        await stop.wait()


async def demo(
    seed: int, speed: float, listeners: Sequence[socket], stop: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Run all three until `stop` is set; `tell` is told what to open. State goes to a temporary folder."""
    clock = clock_of(speed)
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
            app = App(config, Database(config.state_path, owner=True), clock)
            tell(f"Simulated Vivix API at {address.url}")
            for listener in listeners:
                tell(f"Exporter at            http://{bound_address(listener)}/")
                tell(f"Metrics at             http://{bound_address(listener)}/metrics")
            tell(f"Webhooks come in for   {WITH_WEBHOOKS}")
            tell(f"Registration token     {REGISTRATION_TOKEN}")
            tell("Dashboards             in Grafana: Dashboards, New, Import, each file of dashboards/json")
            tell(
                "                       (its Prometheus scrapes the metrics above; see dashboards/README.md)"
            )
            tell("Stop with Ctrl-C.")

            async def register(account: str, id: str) -> None:
                await app.register(AccountName(account), [GenerationId(id)])

            applications = _submit(api, address.url, clock, seed, register)
            await _together(app.run(listeners, stop), app.ready, applications)


async def _together(running: Awaitable[None], ready: asyncio.Event, submitting: Awaitable[None]) -> None:
    """Run the exporter, and the applications from when it is ready until it stops."""

    async def once_ready() -> None:
        await ready.wait()
        await submitting

    applications = asyncio.ensure_future(once_ready())
    exporter = asyncio.ensure_future(running)
    try:
        await asyncio.wait({applications, exporter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (applications, exporter):
            task.cancel()
        results = await asyncio.gather(exporter, applications, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _submit(
    api: SimulatedApi,
    base_url: str,
    clock: Clock,
    seed: int,
    register: Callable[[str, str], Awaitable[None]],
) -> None:
    async with asyncio.TaskGroup() as applications:
        applications.create_task(Deliverer(api).run())
        for account in ACCOUNTS:
            workload = Workload(
                base_url,
                account.name,
                lambda key=account.key: key,  # type: ignore[misc]
                lambda name=account.name: len(api.world.in_flight(clock.now_us(), name)),  # type: ignore[misc]
                clock,
                per_minute=PER_MINUTE[account.name],
                most_in_flight=3 * account.plan.concurrent_jobs,
                seed=seed,
            )
            applications.create_task(workload.run(register))


def _configuration(api: SimulatedApi, base_url: str, now_us: int) -> dict[str, object]:
    """The demo's own, with a backlog of generations that have ended."""
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
    """Add one that has ended, and return its id."""
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
