"""The command line: options in, exit status out."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

import click
import structlog

from exporter import logs
from exporter.app import VERSION, App
from exporter.commands.check import check_files, check_online
from exporter.commands.demo import WEBHOOK_SECRET, clock_of, deliver_to, simulated_api
from exporter.commands.demo import demo as run_demo
from exporter.commands.demo import simulate as run_simulator
from exporter.commands.explain import explain as explain_generation
from exporter.config import Config, load_config
from exporter.domain.values import GenerationId
from exporter.errors import ConfigError, ExporterError, StateUnusableError
from exporter.simulator.deliveries import Mishaps
from exporter.simulator.faults import Faults
from exporter.store import Database
from exporter.tracing import choose
from exporter.web.server import bound_address, parse_address
from exporter.web.server import listen as listen_on

F = TypeVar("F", bound=Callable[..., Any])

FAILED, WRONG = 1, 2
"""Exit statuses: failed while running; wrong usage or configuration. 0 is done."""

DEFAULT_ADDRESS = ":9893"

_log = structlog.get_logger("exporter")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `vivix-exporter`. Shows no traceback for anything that a user can cause."""
    try:
        commands(arguments, prog_name="vivix-exporter")
    except (ConfigError, StateUnusableError) as error:
        _fail(error, WRONG)
    except ExporterError as error:
        _fail(error, FAILED)
    except ExceptionGroup as group:
        ours, others = group.split(ExporterError)
        if ours is None or others is not None:
            raise
        _fail(_first(ours), FAILED)


def _first(group: ExceptionGroup[ExporterError]) -> ExporterError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _fail(error: ExporterError, status: int) -> None:
    click.echo(f"vivix-exporter: {error}", err=True)
    sys.exit(status)


def _option(flag: str, **settings: Any) -> Callable[[F], F]:
    """An option that is also read from the environment: --web.listen-address as
    VIVIX_EXPORTER_WEB_LISTEN_ADDRESS."""
    plain = flag.lstrip("-").replace(".", "_").replace("-", "_")
    variable = f"VIVIX_EXPORTER_{plain.upper()}"
    return click.option(flag, plain, envvar=variable, show_envvar=True, show_default=True, **settings)


_config_file = _option(
    "--config.file",
    type=click.Path(path_type=Path),
    default=Path("config.yaml"),
    help="The configuration, a YAML file.",
)
_listen_address = _option(
    "--web.listen-address",
    multiple=True,
    default=[DEFAULT_ADDRESS],
    metavar="HOST:PORT",
    help="Where to serve; may be given several times.",
)
_enable_lifecycle = _option(
    "--web.enable-lifecycle", is_flag=True, help="Let POST /-/reload reload the configuration."
)
_log_level = _option("--log.level", type=click.Choice(logs.LEVELS), default="info", help="The least to log.")
_log_format = _option("--log.format", type=click.Choice(logs.FORMATS), default="logfmt", help="Its form.")
_speed = click.option(
    "--speed",
    type=click.FloatRange(min=0.01, max=1000),
    default=1.0,
    show_default=True,
    help="How fast simulated time runs.",
)
_seed = click.option("--seed", type=int, default=1, show_default=True, help="Of everything that is random.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, message="vivix-exporter %(version)s")
def commands() -> None:
    """Prometheus metrics about image and video generations submitted to the Vivix API."""


@commands.command()
@_config_file
@_listen_address
@_enable_lifecycle
@_log_level
@_log_format
def run(
    config_file: Path,
    web_listen_address: tuple[str, ...],
    web_enable_lifecycle: bool,
    log_level: str,
    log_format: str,
) -> None:
    """Run the exporter in the foreground, until SIGTERM or SIGINT."""
    logs.set_up(log_level, log_format)
    config = load_config(config_file)
    database = Database(config.state_path, owner=True)
    try:
        listeners = _listen(web_listen_address)
    except ExporterError:
        database.close()
        raise
    for listener in listeners:
        _log.info("listening", address=bound_address(listener))
    _until_signalled(lambda stop: _run(config, database, config_file, listeners, web_enable_lifecycle, stop))


async def _run(
    config: Config,
    database: Database,
    config_file: Path,
    listeners: Sequence[socket],
    lifecycle: bool,
    stop: asyncio.Event,
) -> None:
    app = App(config, database, load=lambda: load_config(config_file), lifecycle=lifecycle)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.ask_to_reload)
    await app.run(listeners, stop)


@commands.command()
@_config_file
@click.option("--online", is_flag=True, help="Also ask the API about each account, with its key.")
def check(config_file: Path, online: bool) -> None:
    """Validate the configuration, and say what is wrong with it."""
    logs.set_up("warn", "logfmt")
    config = load_config(config_file)
    choose(config.tracing, os.environ)
    ids = sum(len(account.generations) for account in config.accounts)
    names = ", ".join(account.name for account in config.accounts)
    in_files = asyncio.run(check_files(config))
    click.echo(f"{config_file}: valid; accounts: {names}; generations listed: {ids}, in files: {in_files}")
    if online:
        for line in asyncio.run(check_online(config)):
            click.echo(line)


@commands.command()
@_config_file
@click.argument("id")
def explain(id: str, config_file: Path) -> None:
    """Show everything that is known about one generation."""
    config = load_config(config_file)
    database = Database(config.state_path, owner=False)
    try:
        lines = explain_generation(database, GenerationId(id))
    finally:
        database.close()
    if not lines:
        raise ExporterError(f"no generation {id!r} in {config.state_path}; was it ever handed over?")
    for line in lines:
        click.echo(line)


@commands.command()
@_listen_address
@_speed
@_seed
@_log_level
@_log_format
def demo(
    web_listen_address: tuple[str, ...], speed: float, seed: int, log_level: str, log_format: str
) -> None:
    """Run a simulated API, an application that submits to it, and the exporter."""
    logs.set_up(log_level, log_format)
    listeners = _listen(web_listen_address)
    _until_signalled(lambda stop: run_demo(seed, speed, listeners, stop, click.echo))


@commands.command()
@_option("--listen", default="127.0.0.1:9894", metavar="HOST:PORT", help="Where to serve.")
@_option("--faults", type=click.Choice(["none", "everything"]), default="none", help="What goes wrong.")
@_option("--webhook.url", multiple=True, metavar="ACCOUNT=URL", help="Where its webhooks go; repeatable.")
@_option("--webhook.secret", default=WEBHOOK_SECRET, help="What they are signed with.")
@_speed
@_seed
def simulate(
    listen: str, faults: str, webhook_url: tuple[str, ...], webhook_secret: str, speed: float, seed: int
) -> None:
    """Run the simulated API alone, with faults on request."""
    logs.set_up("info", "logfmt")
    host, port = parse_address(listen)
    api = simulated_api(seed, clock_of(speed), Faults.none())
    if faults == "everything":
        api.faults, api.mishaps = Faults.everything(seed), Mishaps.everything(seed)
    deliver_to(api, webhook_url, webhook_secret)
    _until_signalled(lambda stop: run_simulator(api, host or "0.0.0.0", port, stop, click.echo))


def _listen(addresses: Iterable[str]) -> list[socket]:
    listeners: list[socket] = []
    try:
        for address in addresses:
            listeners.append(listen_on(address))
    except ExporterError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _until_signalled(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `work` with an event that SIGTERM and SIGINT set."""

    async def signalled() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await work(stop)

    asyncio.run(signalled())
