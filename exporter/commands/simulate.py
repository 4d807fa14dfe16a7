"""`simulate`: the simulated Vivix API alone, with webhooks and faults on request."""

import asyncio
from collections.abc import Callable, Sequence

import click

from exporter import logs
from exporter.clock import Clock, ScaledClock, SystemClock
from exporter.commands.serving import until_signalled
from exporter.commands.usage import WEBHOOK_SECRET
from exporter.errors import ConfigError
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliverer import delivering
from exporter.simulator.deliveries import Mishaps
from exporter.simulator.faults import Faults
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.world import World
from exporter.web.server import parse_address

ACCOUNTS = (
    SimulatedAccount("studio", "vvx_live_studio00000000000000000000000000", "ultimate", 300_000_000),
    SimulatedAccount("shop", "vvx_live_shop0000000000000000000000000000", "pro", 80_000_000),
    SimulatedAccount("lab", "vvx_live_lab00000000000000000000000000000", "pro", 3_000_000),
)
"""Their grants last for a month of what the demo submits, except the lab's, which runs out of credits after
days."""


def command(
    listen: str, faults: str, webhook_url: tuple[str, ...], webhook_secret: str, speed: float, seed: int
) -> None:
    """Run the simulated API; see `usage`."""
    logs.set_up("info", "logfmt")
    host, port = parse_address(listen)
    api = simulated_api(seed, clock_of(speed), Faults.none())
    if faults == "everything":
        api.faults, api.mishaps = Faults.everything(seed), Mishaps.everything(seed)
    deliver_to(api, webhook_url, webhook_secret)
    until_signalled(lambda stop: simulate(api, host or "0.0.0.0", port, stop, click.echo))


def clock_of(speed: float) -> Clock:
    """Return the machine's clock, or one that runs `speed` times as fast from now on."""
    machine = SystemClock()
    return machine if speed == 1 else ScaledClock(speed, machine.now_us())


def simulated_api(seed: int, clock: Clock, faults: Faults) -> SimulatedApi:
    """Return a simulated API with the accounts above."""
    return SimulatedApi(World(seed, ACCOUNTS), clock, faults)


def deliver_to(api: SimulatedApi, urls: Sequence[str], secret: str) -> None:
    """Deliver webhooks to `urls`, each written ACCOUNT=URL. Raises ConfigError for any that is invalid."""
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
    api: SimulatedApi, host: str, port: int, stop: asyncio.Event, echo: Callable[[str], None]
) -> None:
    """Serve the simulated API and deliver its webhooks until `stop` is set; `echo` takes the lines to print.
    Raises ListenError."""
    async with serve(create_app(api), host, port) as address, delivering(api):
        echo(f"Simulated Vivix API at {address.url}")
        for account in ACCOUNTS:
            echo(f"  account {account.name} ({account.tier}): key {account.key}")
            for endpoint in api.endpoints.of(account.name):
                public = endpoint.secret == WEBHOOK_SECRET
                signed = f"signed with {endpoint.secret}" if public else "signed with the given secret"
                echo(f"    webhooks to {endpoint.url}, {signed}")
        await stop.wait()
