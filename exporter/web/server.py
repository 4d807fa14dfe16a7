"""Listening on addresses and serving an ASGI application there until told to stop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from exporter.errors import ConfigError, ListenError

_GRACE = 3
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def parse_address(address: str) -> tuple[str, int]:
    """`:9893`, `127.0.0.1:9893` or `[::1]:9893` to host and port; an empty host is every interface.
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
    """A socket bound to `address`. Raises ConfigError for a malformed address, ListenError where it is
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
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY) rather than 40 ms later.
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
    """Where a browser on this machine finds the socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: who runs the loop decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, listeners: Sequence[socket.socket]) -> None:
    """Serve `app` until cancelled; answers under way then have a few seconds to finish."""
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=list(listeners)))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
