"""Addresses to listen on, and an ASGI application served there until it is cancelled."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.errors import ConfigError, ListenError
from exporter.quiet import QuietServer
from exporter.web.conditions import Conditions
from exporter.web.connections import Connections
from exporter.web.limits import Limits, raise_file_limit, usual_limits
from exporter.web.lock.tls import Tls
from exporter.web.protocol import BoundedProtocol

_BACKLOG = 256
"""Connections that wait to be accepted, and that are accepted in one go."""
_RESERVED = ("/metrics", "/-/healthy", "/-/ready")
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of `:9893`, `127.0.0.1:9893` or `[::1]:9893`; an empty host is every interface.
    Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65_535
    if not colon or not is_port or (bracketed and ":" not in name):
        raise ConfigError(f"{address!r} is not an address; expected HOST:PORT or :PORT, such as :9893")
    if ":" in host and not bracketed:
        raise ConfigError(f"{address!r}: put an IPv6 address in brackets, such as [::1]:9893")
    return name, int(port)


def listen(address: str) -> socket.socket:
    """Return a socket bound to `address`. Raises ConfigError for a malformed address, ListenError where it is
    taken or not this machine's."""
    host, port = parse_address(address)
    try:
        if host:
            return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)
        try:
            return _bound(socket.AF_INET6, "::", port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return _bound(socket.AF_INET, "0.0.0.0", port)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{address!r} is not an address: no machine can have that name") from error


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio sends small answers immediately (TCP_NODELAY), not 40 ms later.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # On every interface, one socket serves both families.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        listener.bind((host, port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


def bound_address(listener: socket.socket) -> str:
    """Return the address at which a browser on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(
    app: ASGIApp,
    listeners: Sequence[socket.socket],
    limits: Limits | None = None,
    *,
    tls: Tls | None = None,
    prefix: str = "",
) -> None:
    """Serve `app` until cancelled; answers under way then have a few seconds to finish. Clients are bounded
    by `limits`, by default the usual ones, once this process may open as many files as the system allows.
    Paths begin with `prefix`."""
    if limits is None:
        raise_file_limit()
        limits = usual_limits()
    connections, conditions = Connections(limits.connections), Conditions()
    protocol = partial(
        BoundedProtocol,
        limits=limits,
        connections=connections,
        conditions=conditions,
        admits=None if tls is None else tls.admits,
    )
    server = QuietServer(
        uvicorn.Config(
            _Reserve(app, connections, limits.busy, conditions, prefix),
            http=cast(type[asyncio.Protocol], protocol),
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=limits.grace,
            ssl_context_factory=None if tls is None else lambda *_: tls.context,
        )
    )
    with _accept_errors_noted(conditions):
        serving = asyncio.create_task(server.serve(sockets=list(listeners)))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.stop()
            await serving
            raise
        finally:
            conditions.close()


class _Reserve:
    """An application of which /metrics and the probes answer however busy the rest is, and that says so where
    the server stops before an answer is there."""

    def __init__(
        self, app: ASGIApp, connections: Connections, busy: int, conditions: Conditions, prefix: str
    ) -> None:
        self._app = app
        self._connections = connections
        self._busy = busy
        self._reserved = [f"{prefix}{path}" for path in _RESERVED]
        self._conditions = conditions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._connections.busy > self._busy and scope["path"] not in self._reserved:
            self._conditions.full.note(requests=self._connections.busy)
            await _later("Too many requests; try again.")(scope, receive, send)
            return
        began = False

        async def note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:
            if began:
                raise
            # uvicorn has waited for as long as it may; nothing says whether what was asked is done.
            await _later("The exporter stops; try again.")(scope, receive, send)


def _later(why: str) -> PlainTextResponse:
    return PlainTextResponse(f"{why}\n", 503, {"Retry-After": "1"})


@contextlib.contextmanager
def _accept_errors_noted(conditions: Conditions) -> Iterator[None]:
    """Note connections that asyncio cannot accept, of which it reports thousands a second."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NO_RESOURCES and "socket" in context:
            conditions.no_files.note(error=error.strerror)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
