"""HTTP server of the simulator: uvicorn inside this process and event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporter.errors import ListenError
from exporter.quiet import QuietServer
from exporter.simulator.wire import EXTENSION

_IDLE_S = 75
"""How long a connection stays open that nothing comes in on, as with most servers: a client that pauses for
some seconds finds it still there."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class _Protocol(H11Protocol):
    """uvicorn's protocol, which passes its transport to the application."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self.app = self._with_transport(self.app)

    def _with_transport(self, app: ASGIApp) -> ASGIApp:
        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {EXTENSION: {"transport": self.transport}}
            await app(scope, receive, send)

        return with_transport


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY. socket.create_server does not name it; every answer
    # would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error}") from error
    return listener


@asynccontextmanager
async def serve(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Address]:
    """Serve `app` while the context lasts; port 0 takes a free one. Raises ListenError.

    Signal handlers and logging are left alone. Connections still open at the end are aborted.
    """
    listener = _listen(host, port)
    bound = listener.getsockname()
    config = Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
    )
    config.load()
    server = QuietServer(config)
    server.lifespan = config.lifespan_class(config)
    # Not Server.serve: it would install signal handlers.
    await server.startup(sockets=[listener])
    ticks = asyncio.create_task(server.main_loop(), name="simulator-server")
    try:
        yield Address(bound[0], bound[1])
    finally:
        ticks.cancel()
        with suppress(asyncio.CancelledError):
            await ticks
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await server.shutdown(sockets=[listener])
