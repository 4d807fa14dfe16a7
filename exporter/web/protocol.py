"""uvicorn's HTTP protocol with deadlines and bounds, so that no client holds the server up."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from exporter.web.conditions import Conditions
from exporter.web.connections import Connections
from exporter.web.limits import Limits


class _Turn(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    NEXT = auto()
    """A further request, of which nothing has come yet."""
    ANSWER = auto()
    """Nothing: it is this side's turn."""


class _RefusedError(Exception):
    """A request that is valid HTTP and too much of it."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `connections` and `conditions` are shared by all of a server's."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        connections: Connections,
        conditions: Conditions,
        admits: Callable[[Any], bool] | None = None,
        **kwargs: Any,
    ) -> None:
        """`admits` decides by a TLS connection whether its client may ask for anything."""
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._all = connections
        self._admits = admits
        self._conditions = conditions
        self._reading = _Turn.HEAD
        self._turn = _Turn.ANSWER
        self._seconds = {_Turn.HEAD: limits.head, _Turn.BODY: limits.body, _Turn.NEXT: limits.idle}
        self._asked = False
        """Whether there has been a request."""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._received = 0
        """Bytes of the part of a request that is being read, at least."""
        self._begun = False
        """Whether some of a request has come that is not complete."""
        self._head = 0
        """Bytes of its request line and headers, without what stands between them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._admits is not None and not self._admits(transport.get_extra_info("ssl_object")):
            transport.abort()
            return
        # Whatever the system does not take at once counts as unread. Not 0, at which TLS waits with nothing.
        transport.set_write_buffer_limits(high=1)
        full = self._all.is_full
        if full:
            self._conditions.full.note(connections=len(self._all))
        if self._all.admit(self):
            self._take_turns()
        else:
            self._answer_and_close(HTTPStatus.SERVICE_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def evict(self) -> None:
        """Close the connection at once, in favour of another."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection once its answer is sent; at once where a request is not complete."""
        if self._turn is _Turn.ANSWER:
            super().shutdown()
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as if no upgrade had been asked for; the parser takes nothing more after it.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _RefusedError):
                self._refuse(cause.status, str(cause))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._bound()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._all.mark_unread(self, unread=True)
        self._unread = self.loop.call_later(self._limits.response, self._cut_unread)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all.mark_unread(self, unread=False)
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._begun = 0, True
        self._reading = _Turn.HEAD
        self._take_turns()

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is _Turn.HEAD:  # and not a trailer, which would come after who reads it
            self._head += len(name) + len(value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head > self._limits.head_bytes:
            raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "its headers are too large")
        if len(self.pipeline) >= self._limits.pipelined:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "too many requests at a time")
        super().on_headers_complete()
        self._asked = True
        self._read(_Turn.BODY)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._begun = False
        self._read(_Turn.NEXT)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self._take_turns()

    def _read(self, what: _Turn) -> None:
        self._reading, self._received = what, 0
        self._take_turns()

    def _take_turns(self) -> None:
        """Set the deadline of what is now waited for."""
        turn = self._reading
        if turn is not _Turn.BODY and self._is_answering():
            turn = _Turn.ANSWER
        if turn is self._turn:
            return
        self._turn = turn
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if turn is _Turn.ANSWER:
            self._all.mark_busy(self)
            return
        self._all.mark_waiting(self)
        self._deadline = self.loop.call_later(self._seconds[turn], self._cut_off)

    def _is_answering(self) -> bool:
        return self._asked and not self.cycle.response_complete

    def _bound(self) -> None:
        if self._reading is _Turn.HEAD and self._received > self._limits.head_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "its headers are too large")
        elif self._reading is _Turn.BODY and self._received > self._limits.body_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "its body is too large")

    def _cut_off(self) -> None:
        """Close a connection on which something was due by now."""
        if self._turn is _Turn.BODY and self.flow.read_paused:
            # The client may have sent it all: what it sent has not been read.
            self._deadline = self.loop.call_later(self._limits.body, self._cut_off)
            return
        if not self._begun:
            self.transport.abort()
            return
        self._conditions.slow.note(client=self._host())
        self._answer_and_close(HTTPStatus.REQUEST_TIMEOUT)

    def _cut_unread(self) -> None:
        self._conditions.slow.note(client=self._host())
        self.transport.abort()

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer what cannot be understood, or is too much, after what could."""
        self._conditions.invalid.note(client=self._host(), reason=reason)
        if self._turn is _Turn.ANSWER:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
        else:
            self._answer_and_close(status)

    def _answer_and_close(self, status: HTTPStatus) -> None:
        """Answer without the application, which finds the client gone."""
        if self._is_answering() and (self.cycle.response_started or self.pipeline):
            self.transport.abort()
            return
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = f"{status.phrase}.\n".encode()
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _host(self) -> str:
        return self.client[0] if self.client else ""
