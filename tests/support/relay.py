"""A stretch of network between a client and a server, which can stop passing anything."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from typing import Self

from support.lifeline import steady_port

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER by which a closed connection is reset."""


class Relay:
    """Passes on what comes to a port of loopback to another one, in a thread of its own, until the context is
    left."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = steady_port()
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._listener: asyncio.Task[None] | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._refuse)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Pass nothing from now on, in neither direction, nor the end of a connection. Connections stay open,
        and new ones are accepted. What comes meanwhile is passed on after `mend`, as a network would."""
        self._call(self._cut)

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones, as where nobody listens."""
        self._call(self._refuse)

    def mend(self) -> None:
        """End what `cut` or `refuse` began."""
        self._call(self._mend)

    def _call(self, act: Callable[[], Awaitable[None]]) -> None:
        async def acted() -> None:
            await act()

        asyncio.run_coroutine_threadsafe(acted(), self._loop).result()

    async def _cut(self) -> None:
        self._passing.clear()

    async def _mend(self) -> None:
        self._passing.set()
        if self._listener is None:
            await self._listen()

    async def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        listener.setblocking(False)
        self._listener = asyncio.create_task(self._accept(listener))

    async def _refuse(self) -> None:
        ending = [*self._open] if self._listener is None else [self._listener, *self._open]
        self._listener = None
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                client, _ = await self._loop.sock_accept(listener)
                task = asyncio.create_task(self._pass_on(client))
                self._open.add(task)
                task.add_done_callback(self._open.discard)

    async def _pass_on(self, client: socket.socket) -> None:
        server = socket.socket()
        with client, server:
            for end in (client, server):
                end.setblocking(False)
            try:
                await self._passing.wait()
                await self._loop.sock_connect(server, ("127.0.0.1", self._target))
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._stream(client, server))
                    both.create_task(self._stream(server, client))
            except* OSError:
                _reset(client, server)
            except* asyncio.CancelledError:
                _reset(client, server)
                raise

    async def _stream(self, source: socket.socket, sink: socket.socket) -> None:
        while chunk := await self._loop.sock_recv(source, _CHUNK):
            await self._passing.wait()
            await self._loop.sock_sendall(sink, chunk)
        await self._passing.wait()
        sink.shutdown(socket.SHUT_WR)


def _reset(*ends: socket.socket) -> None:
    """Have the other sides see a reset, not an end, once these are closed."""
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
