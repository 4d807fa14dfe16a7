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
from exporter.config import load_config
from exporter.errors import ExporterError
from exporter.lasting import pass_over_what_is_here
from exporter.signals import EarlySignals
from exporter.store import open_database
from exporter.web.lock.tls import checked
from exporter.web.serving import serving

_log = structlog.get_logger("exporter")


def command(
    config_file: Path,
    web_listen_address: tuple[str, ...],
    web_webhook_listen_address: tuple[str, ...],
    web_config_file: Path | None,
    web_external_url: str,
    web_route_prefix: str | None,
    web_enable_lifecycle: bool,
    log_level: str,
    log_format: str,
) -> None:
    """Run the exporter; see `usage`."""
    signals: EarlySignals = click.get_current_context().obj
    logs.set_up(log_level, log_format)
    config = load_config(config_file)
    where = serving(web_external_url, web_route_prefix, checked(web_config_file))
    _log.info("configuration loaded", config=config_file, accounts=len(config.accounts))
    database = open_database(config.state_at, owner=True)
    try:
        every = listen_on(
            {
                "--web.listen-address": web_listen_address,
                "--web.webhook-listen-address": web_webhook_listen_address,
            }
        )
    except ExporterError:
        database.close()
        raise
    listeners, webhook_listeners = every[: len(web_listen_address)], every[len(web_listen_address) :]
    for listener in every:
        _log.info("listening", address=_address(listener))

    async def run(stop: asyncio.Event) -> None:
        app = App(
            config,
            database,
            load=lambda: load_config(config_file),
            lifecycle=web_enable_lifecycle,
            serving=where,
        )
        await _run(app, listeners, webhook_listeners, signals, stop)

    until_signalled(run)


async def _once_ready(app: App) -> None:
    await app.ready.wait()
    pass_over_what_is_here()


async def _run(
    app: App,
    listeners: Sequence[socket],
    webhook_listeners: Sequence[socket],
    signals: EarlySignals,
    stop: asyncio.Event,
) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.ask_to_reload)
    if signals.reload_asked:
        app.ask_to_reload()
    sparing = asyncio.create_task(_once_ready(app))
    await app.run(listeners, stop, webhook_listeners)
    sparing.cancel()


def _address(listener: socket) -> str:
    """Return where a socket listens, all interfaces included."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
