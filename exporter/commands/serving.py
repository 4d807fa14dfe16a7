"""Listening on the addresses of the command line, and running until a signal asks to stop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from socket import socket
from typing import Any

from exporter.commands.options import variable
from exporter.errors import ExporterError, ListenError
from exporter.signals import ENDING, ignore
from exporter.web.server import listen


def listen_on(addresses: Mapping[str, Iterable[str]]) -> list[socket]:
    """Return a socket for each address, which are given by the option that names them. Raises ConfigError and
    ListenError; then none stays open."""
    listeners: list[socket] = []
    try:
        for option, named in addresses.items():
            for address in named:
                listeners.append(_listen(address, option))
    except ExporterError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(address: str, option: str) -> socket:
    try:
        return listen(address)
    except ListenError as error:
        raise ListenError(f"{error}; choose another with {option} or {variable(option)}") from error


def until_signalled(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run `work` with an event that SIGTERM and SIGINT set, on a loop of the usual kind or what `loop`
    makes."""

    async def signalled() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, stop.set)
        await work(stop)

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(signalled())
    finally:
        ignore()
