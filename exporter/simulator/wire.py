"""Answers that fail on the wire: connections reset, cut short or left hanging.

`server` offers the transport of each connection to the application as an ASGI extension.
"""

import asyncio
import socket
import struct

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

EXTENSION = "simulator.transport"
"""Key of the ASGI extension that holds the transport of the connection."""


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the connection of a request. Raises RuntimeError under any other server."""
    extension = scope.get("extensions", {}).get(EXTENSION)
    if extension is None:
        raise RuntimeError("faults on the wire need exporter.simulator.server.serve")
    transport: asyncio.Transport = extension["transport"]
    return transport


def gone(scope: Scope) -> bool:
    """Return whether the client is known to have disconnected."""
    extension = scope.get("extensions", {}).get(EXTENSION)
    return extension is not None and extension["transport"].is_closing()


async def until_gone(receive: Receive) -> None:
    """Return once the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def delay(receive: Receive, real_seconds: float) -> bool:
    """Wait for a time or until the client disconnects. Returns whether it disconnected."""
    try:
        async with asyncio.timeout(real_seconds):
            await until_gone(receive)
    except TimeoutError:
        return False
    return True


class Hang(Response):
    """No answer until the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_gone(receive)


class Reset(Response):
    """A TCP reset instead of an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = transport_of(scope)
        connection = transport.get_extra_info("socket")
        # Lingering for zero seconds makes close() send RST; an ordinary close would send FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await until_gone(receive)


class Truncated(Response):
    """All headers, half of the body, then the end of the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        transport_of(scope).close()
        await until_gone(receive)
