"""Clients that are slow, silent, many or malformed, over real sockets: /metrics answers whatever they do."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.web.bodies import UnreadableBodyError, read_body
from exporter.web.limits import Limits
from exporter.web.server import listen, serve
from support.running import until

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = Limits(head=0.2, body=0.4, idle=0.3, response=0.5)
"""Deadlines that a test can wait for."""
NEVER = 3_600.0
PATIENT = Limits(head=NEVER, body=NEVER, idle=NEVER, response=NEVER)
BIG = b"x" * (32 << 20)
"""More than the system takes off a server that nobody reads from."""


@dataclass
class Client:
    """One connection, as bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send, whether or not the other side is still there."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def read_to_end(self) -> bytes:
        """What came until the server closed the connection."""
        received = b""
        with suppress(ConnectionError):
            while chunk := await self.reader.read(1 << 16):
                received += chunk
        return received

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of one answer with a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head, await self.reader.readexactly(int(lengths[0].partition(b":")[2]))


class Server:
    """Serves /metrics, an echo of what is posted to /echo, /big, and /held until `release` is set."""

    def __init__(self) -> None:
        self.address = ("", 0)
        self.release = asyncio.Event()
        self.bodies: list[bytes | None] = []
        self.headers: list[dict[str, str]] = []
        self.held = 0
        self.app = Starlette(
            routes=[
                Route("/metrics", self._metrics),
                Route("/echo", self._echo, methods=["POST"]),
                Route("/big", self._big),
                Route("/held", self._hold),
            ]
        )
        self._stack = AsyncExitStack()

    async def connect(self, *sent: bytes) -> Client:
        """A connection on which this was sent; closed when the server is."""
        client = Client(*await asyncio.open_connection(*self.address))
        self._stack.callback(client.writer.close)
        for data in sent:
            await client.send(data)
        return client

    async def scrape(self) -> bytes:
        """The body of /metrics, on a connection of its own."""
        client = await self.connect(GET)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 200")
        client.writer.close()
        return body

    async def _metrics(self, _request: Request) -> Response:
        return PlainTextResponse("up 1\n")

    async def _echo(self, request: Request) -> Response:
        try:
            body = await read_body(request, 1 << 20)
        except UnreadableBodyError as error:
            self.bodies.append(None)
            return PlainTextResponse(str(error), 413 if error.too_large else 400)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        return PlainTextResponse(body)

    async def _big(self, _request: Request) -> Response:
        return Response(BIG)

    async def _hold(self, _request: Request) -> Response:
        self.held += 1
        await self.release.wait()
        return PlainTextResponse("released")

    @asynccontextmanager
    async def serving(self, limits: Limits) -> AsyncIterator["Server"]:
        """Serve until the context is left."""
        listener = listen("127.0.0.1:0")
        self.address = listener.getsockname()
        serving = asyncio.create_task(serve(self.app, [listener], limits))
        try:
            async with self._stack:
                yield self
        finally:
            self.release.set()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


def sockets_open() -> int:
    """How many sockets this process has, client and server alike."""
    count = 0
    for one in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{one}").startswith("socket:")
    return count


HALVES = {
    "nothing": b"",
    "half a request line": b"GET /met",
    "half a header": b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: te",
    "half a body": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    "half a chunked body": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


@pytest.mark.parametrize("half", HALVES)
async def test_a_client_that_stops_in_the_middle_is_cut_off(half: str) -> None:
    async with Server().serving(SHORT) as server:
        client = await server.connect(HALVES[half])
        received = await client.read_to_end()
        assert received.startswith(b"HTTP/1.1 408 " if HALVES[half] else b"")
        assert bool(received) == bool(HALVES[half])
        if "body" in half:
            await until(lambda: server.bodies == [None], "the handler has noticed")
        assert await server.scrape() == b"up 1\n"


async def test_a_body_that_comes_byte_by_byte_has_one_deadline_in_all() -> None:
    async with Server().serving(SHORT) as server:
        client = await server.connect(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()
        await until(lambda: server.bodies == [None], "the handler has noticed")


async def test_headers_that_come_byte_by_byte_have_one_deadline_in_all() -> None:
    async with Server().serving(SHORT) as server:
        client = await server.connect(b"GET /metrics HTTP/1.1\r\nX: ")

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()


async def test_the_second_request_of_a_connection_has_its_deadlines_too() -> None:
    async with Server().serving(SHORT) as server:
        client = await server.connect(GET)
        await client.answer()
        await client.send(b"GET /met")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 408 ")
        idle = await server.connect(GET)
        await idle.answer()
        assert await idle.read_to_end() == b""


async def test_a_connection_whose_answer_was_early_is_closed_where_the_body_never_comes() -> None:
    async with Server().serving(SHORT) as server:
        client = await server.connect(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nx")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    before = sockets_open()
    async with Server().serving(SHORT) as server:
        for request in (GET.replace(b"metrics", b"big"), b"GET /big HTTP/1.0\r\n\r\n"):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, server.address)
            await loop.sock_sendall(raw, request)
            # With the listener and this client: nothing of the server's is left.
            await until(lambda: sockets_open() == before + 3, "it is accepted")
            await until(lambda: sockets_open() == before + 2, "it is cut off")
            raw.close()
        assert await server.scrape() == b"up 1\n"


@pytest.mark.parametrize("half", HALVES)
async def test_eleven_hundred_unfinished_requests_do_not_keep_metrics_from_answering(half: str) -> None:
    before = sockets_open()
    limits = Limits(head=NEVER, body=NEVER, idle=NEVER, connections=100)
    with structlog.testing.capture_logs() as logs:
        async with Server().serving(limits) as server:
            clients = []
            for number in range(1_100):
                clients.append(await server.connect(HALVES[half]))
                if number % 100 == 99:
                    assert await server.scrape() == b"up 1\n"
            closed = [asyncio.create_task(client.read_to_end()) for client in clients]
            await until(lambda: sum(map(asyncio.Task.done, closed)) >= 1_000, "the oldest were closed")
            assert await server.scrape() == b"up 1\n"
        await asyncio.gather(*closed)
    await until(lambda: sockets_open() <= before, "everything is closed")
    assert [line["event"] for line in logs] == [
        "too many clients; connections that have not sent a request are closed, further requests get 503"
    ]


async def test_after_the_deadlines_nothing_is_left_of_a_crowd() -> None:
    before = sockets_open()
    with structlog.testing.capture_logs() as logs:
        async with Server().serving(SHORT) as server:
            clients = [await server.connect(half) for half in HALVES.values() for _ in range(60)]
            await asyncio.gather(*(client.read_to_end() for client in clients))
            for client in clients:
                client.writer.close()
            await until(lambda: sockets_open() == before + 1, "only the listener is left")
    assert [line["event"] for line in logs] == [
        "clients do not finish their requests, or do not read their answers; they are cut off"
    ]


async def test_requests_that_are_being_worked_on_leave_a_share_for_metrics() -> None:
    limits = Limits(connections=20)
    with structlog.testing.capture_logs() as logs:
        async with Server().serving(limits) as server:
            held = [await server.connect(GET.replace(b"metrics", b"held")) for _ in range(10)]
            await until(lambda: server.held == 10, "they are being worked on")
            refused = await server.connect(GET.replace(b"metrics", b"held"))
            head, _ = await refused.answer()
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in head
            assert await server.scrape() == b"up 1\n"
            for _ in range(100):
                await server.connect(b"GET /met")
            assert await server.scrape() == b"up 1\n"
            server.release.set()
            for client in held:
                assert (await client.answer())[1] == b"released"
    assert len(logs) == 1


ODD: dict[str, tuple[bytes, bytes]] = {
    "HTTP/1.0": (b"GET /metrics HTTP/1.0\r\n\r\n", b"200"),
    "HEAD": (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
    "absolute form": (b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
    "an upgrade": (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"200",
    ),
    "an upgrade to HTTP/2": (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"200",
    ),
    "a bad method": (b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    "garbage": (b"\xff\xfe\0\r\n\r\n", b"400"),
    "a path that is not ASCII": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    "a bad version": (b"GET /metrics HTTP/9.9\r\nHost: x\r\n\r\n", b"400"),
    "a header without a colon": (b"GET /metrics HTTP/1.1\r\nHost\r\n\r\n", b"400"),
    "two lengths": (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"400",
    ),
    "a length and chunks": (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"400",
    ),
    "a negative length": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
    "a bad chunk": (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
        b"400",
    ),
    "a huge header": (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", b"431"),
    "many headers": (b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", b"431"),
    "a header a little too large": (
        b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (65 << 10) + b"\r\n\r\n",
        b"431",
    ),
    "a huge address": (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
    "a header without end": (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (1 << 20), b"431"),
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_requests_get_a_sensible_answer_and_no_traceback(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent, status = ODD[name]
    with structlog.testing.capture_logs() as logs:
        async with Server().serving(PATIENT) as server:
            for _ in range(3):
                client = await server.connect(sent)
                received = await client.read_to_end()
                # A client that is still sending may lose the answer, as TCP has it.
                assert received.startswith(b"HTTP/1.1 " + status) or (status == b"431" and not received)
            assert await server.scrape() == b"up 1\n"
    invalid = ["clients send requests that are not valid HTTP; they are answered 4xx"]
    assert [line["event"] for line in logs] == ([] if status in (b"200", b"404") else invalid)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_head_request_brings_no_body() -> None:
    async with Server().serving(PATIENT) as server:
        client = await server.connect(ODD["HEAD"][0])
        head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
        assert b"content-length: 5" in head
        assert body == b""


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%d"
    async with Server().serving(PATIENT) as server:
        client = await server.connect(b"".join(post % number for number in range(100, 110)) + GET)
        assert [(await client.answer())[1] for _ in range(11)] == [
            *(b"%d" % number for number in range(100, 110)),
            b"up 1\n",
        ]


async def test_what_is_valid_is_answered_before_what_follows_it_is_refused() -> None:
    async with Server().serving(PATIENT) as server:
        client = await server.connect(GET + b"\xff\xff garbage\r\n\r\n")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_pipelines_without_end_is_cut_off_after_some_answers() -> None:
    async with Server().serving(PATIENT) as server:
        client = await server.connect(GET * 10_000)
        received = await client.read_to_end()
        assert 1 <= received.count(b"HTTP/1.1 200 ") <= PATIENT.pipelined + 1
        assert await server.scrape() == b"up 1\n"


async def test_chunks_make_one_body_and_trailers_are_no_headers() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
    async with Server().serving(PATIENT) as server:
        client = await server.connect(head, b"3\r\nabc\r\n", b"2;ext=1\r\nde\r\n0\r\nX-Late: ", b"1\r\n\r\n")
        assert (await client.answer())[1] == b"abcde"
        assert "x-late" not in server.headers[0]
        await client.send(GET)
        assert (await client.answer())[1] == b"up 1\n"


async def test_a_trailer_without_end_is_cut_off() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: "
    async with Server().serving(Limits(head=NEVER, body=NEVER, body_bytes=1 << 20)) as server:
        client = await server.connect(head)
        sending = asyncio.create_task(client.send(b"x" * (64 << 20)))
        await client.read_to_end()
        await sending
        await until(lambda: server.bodies == [None], "the handler has noticed")


async def test_stopping_does_not_wait_for_clients_that_have_not_finished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server().serving(PATIENT) as server:
        clients = [await server.connect(half) for half in HALVES.values()]
        await server.scrape()
    assert all([await client.read_to_end() == b"" for client in clients])
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_what_is_still_worked_on_when_the_server_stops_is_answered_with_503_and_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, listener = Server(), listen("127.0.0.1:0")
    server.address = listener.getsockname()
    serving = asyncio.create_task(serve(server.app, [listener], Limits(grace=0)))
    client = await server.connect(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: server.held == 1, "it is worked on")
    serving.cancel()
    head, body = await client.answer()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 1\r\n" in head.lower()
    assert body == b"The exporter stops; try again.\n"
    client.writer.close()
    with suppress(asyncio.CancelledError):
        await serving
    assert not [one for one in caplog.records if one.exc_info]


async def test_connections_that_cannot_be_accepted_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 0
    accept = socket.socket.accept

    def no_files(self: socket.socket) -> object:
        nonlocal refused
        if refused < 100:
            refused += 1
            raise OSError(24, "Too many open files")
        return accept(self)

    with structlog.testing.capture_logs() as logs:
        async with Server().serving(PATIENT) as server:
            monkeypatch.setattr(socket.socket, "accept", no_files)
            assert await server.scrape() == b"up 1\n"
    assert [(line["event"], line["error"]) for line in logs] == [
        ("cannot accept connections: no file descriptors left; retrying every second", "Too many open files")
    ]
