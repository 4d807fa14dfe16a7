"""Listening on the addresses of the command line, and running until a signal asks to stop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from socket import socket
from typing import Any

from exporter.errors import ExporterError
from exporter.signals import ENDING, ignore
from exporter.web.server import listen


def listen_on(addresses: Iterable[str]) -> list[socket]:
    """Return a socket for each address. Raises ConfigError and ListenError; then none stays open."""
    listeners: list[socket] = []
    try:
        for address in addresses:
            listeners.append(listen(address))
    except ExporterError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def until_signalled(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `work` with an event that SIGTERM and SIGINT set."""

    async def signalled() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, stop.set)
        await work(stop)

    try:
        asyncio.run(signalled())
    finally:
        ignore()
