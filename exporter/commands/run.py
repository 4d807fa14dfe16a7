"""`run`: the exporter in the foreground, until a signal asks it to stop."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from socket import socket

import click
import structlog

from exporter import logs
from exporter.app import App
from exporter.commands.serving import listen_on, until_signalled
from exporter.config import Config, load_config
from exporter.errors import ExporterError
from exporter.signals import EarlySignals
from exporter.store import Database, open_database

_log = structlog.get_logger("exporter")


def command(
    config_file: Path,
    web_listen_address: tuple[str, ...],
    web_enable_lifecycle: bool,
    log_level: str,
    log_format: str,
) -> None:
    """Run the exporter; see `usage`."""
    signals: EarlySignals = click.get_current_context().obj
    logs.set_up(log_level, log_format)
    config = load_config(config_file)
    _log.info("configuration loaded", config=config_file, accounts=len(config.accounts))
    database = open_database(config.state_at, owner=True)
    try:
        listeners = listen_on(web_listen_address)
    except ExporterError:
        database.close()
        raise
    for listener in listeners:
        _log.info("listening", address=_address(listener))

    async def run(stop: asyncio.Event) -> None:
        await _run(config, database, config_file, listeners, web_enable_lifecycle, signals, stop)

    until_signalled(run)


async def _run(
    config: Config,
    database: Database,
    config_file: Path,
    listeners: Sequence[socket],
    lifecycle: bool,
    signals: EarlySignals,
    stop: asyncio.Event,
) -> None:
    app = App(config, database, load=lambda: load_config(config_file), lifecycle=lifecycle)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.ask_to_reload)
    if signals.reload_asked:
        app.ask_to_reload()
    await app.run(listeners, stop)


def _address(listener: socket) -> str:
    """Return where a socket listens, all interfaces included."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
