"""The API client over real sockets: every way a call can fail, and what must never go over the wire."""

import asyncio
import logging
import threading
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest

from exporter.clock import MICROS, SystemClock
from exporter.domain.values import AccountName, GenerationId, Status
from exporter.errors import ApiError, ApiErrorKind
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.faults import Fault
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.vivix.client import MAX_BODY, MAX_RETRY_AFTER, PROVIDER_DOWN_RETRY, Client, Endpoint
from exporter.vivix.connection import translate
from exporter.web.server import listen

NOW_US = 1_778_416_496_000_000
KEY = "key-studio-0123456789"
IMAGE = BY_SLUG["grok-imagine-image-quality"]
SOME_ID = GenerationId("some-id")
ANSWER = b'{"generation_id": "some-id", "status": "pending"}'
UNAVAILABLE, UNREACHABLE = ApiErrorKind.UNAVAILABLE, ApiErrorKind.UNREACHABLE
REFUSED, UNEXPLAINED = ApiErrorKind.REFUSED, ApiErrorKind.UNEXPLAINED


class StillClock(SystemClock):
    """Wall time stands still; what is waited for lasts `1 / speed` of what it says."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def now_us(self) -> int:
        return NOW_US

    def to_real(self, seconds: float) -> float:
        return seconds / self.speed


HASTY = StillClock(speed=200)


@dataclass
class Meter:
    """Notes what it hears."""

    requests: list[tuple[Endpoint, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None:
        assert account == "studio"
        assert seconds >= 0
        self.requests.append((endpoint, code))

    def api_error(self, account: AccountName, label: str) -> None:
        assert account == "studio"
        self.errors.append(label)


@asynccontextmanager
async def client_of(
    url: str, meter: Meter | None = None, clock: StillClock | None = None, key: str = KEY
) -> AsyncIterator[Client]:
    client = Client(AccountName("studio"), url, 30.0, clock or StillClock(), meter or Meter(), "0.0")
    client.use_key(key)
    try:
        yield client
    finally:
        await client.retire()


async def failure(call: Awaitable[object]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await call
    return raised.value


# Against the simulator.


@dataclass
class Simulation:
    """A simulator that serves."""

    api: SimulatedApi
    url: str

    def submit(self, account: str = "studio") -> GenerationId:
        return GenerationId(self.api.world.submit(account, IMAGE, 1, NOW_US).id)


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    accounts = [SimulatedAccount("studio", KEY), SimulatedAccount("atelier", "key-atelier", "ultimate")]
    api = SimulatedApi(World(1, accounts, failure_ratio=0, pickup_us=0), StillClock())
    async with serve(create_app(api)) as address:
        yield Simulation(api, address.url)


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def client(simulation: Simulation, meter: Meter) -> AsyncIterator[Client]:
    async with client_of(simulation.url, meter) as client:
        yield client


async def test_a_poll_returns_what_the_api_reports(
    simulation: Simulation, client: Client, meter: Meter
) -> None:
    reply = await client.generation(simulation.submit())
    assert reply.value.status in (Status.PENDING, Status.PROCESSING)
    assert reply.value.at_us == NOW_US
    assert reply.calls_remaining == 239
    assert reply.credits_balance == simulation.api.world.wallet("studio", NOW_US).balance
    assert meter.requests == [(Endpoint.GENERATION, "200")]
    assert meter.errors == []


async def test_plan_and_models_are_understood(client: Client, meter: Meter) -> None:
    plan, models = await client.plan(), await client.models()
    assert (plan.value.tier, plan.value.calls_per_minute) == ("pro", 240)
    assert {model.slug for model in models.value} == BY_SLUG.keys()
    assert meter.requests == [(Endpoint.CREDITS, "200"), (Endpoint.MODELS, "200")]


@pytest.mark.parametrize(
    ("fault", "kind", "label", "code"),
    [
        (Fault.RESET, UNAVAILABLE, "disconnected", "error"),
        (Fault.TRUNCATED, UNAVAILABLE, "disconnected", "error"),
        (Fault.BROKEN_JSON, UNAVAILABLE, "bad_payload", "200"),
        (Fault.OVERSIZED, UNAVAILABLE, "too_large", "200"),
        (Fault.REDIRECT, UNAVAILABLE, "redirect", "302"),
        (Fault.NOT_FOUND_YET, ApiErrorKind.NOT_FOUND, "NOT_FOUND", "404"),
        (Fault.KEY_INVALID, ApiErrorKind.LOCKED_OUT, "KEY_INVALID", "401"),
        (Fault.TOO_MANY_REQUESTS, ApiErrorKind.RATE_LIMITED, "RATE_LIMITED", "429"),
    ],
)
@pytest.mark.parametrize("reused", [False, True], ids=["on a new connection", "on a used connection"])
async def test_a_fault_has_its_name_and_costs_one_call(
    simulation: Simulation,
    client: Client,
    meter: Meter,
    fault: Fault,
    kind: ApiErrorKind,
    label: str,
    code: str,
    reused: bool,
) -> None:
    id = simulation.submit()
    if reused:
        await client.generation(id)
    before = simulation.api.requests
    simulation.api.faults.strike_next(fault)
    error = await failure(client.generation(id))
    assert (error.kind, error.label) == (kind, label)
    assert simulation.api.requests == before + 1
    assert meter.requests[-1] == (Endpoint.GENERATION, code)
    assert meter.errors == [label]


async def test_after_each_fault_the_next_call_is_answered(simulation: Simulation, client: Client) -> None:
    id = simulation.submit()
    for fault in (Fault.RESET, Fault.TRUNCATED, Fault.BROKEN_JSON, Fault.OVERSIZED, Fault.REDIRECT):
        simulation.api.faults.strike_next(fault)
        await failure(client.generation(id))
        assert (await client.generation(id)).value.status is not None


async def test_an_answer_that_never_comes_is_given_up_after_the_timeout(simulation: Simulation) -> None:
    meter = Meter()
    simulation.api.faults.strike_next(Fault.HANG)
    async with client_of(simulation.url, meter, HASTY) as client:
        error = await failure(client.generation(simulation.submit()))
    assert (error.kind, error.label) == (UNAVAILABLE, "timeout")
    assert simulation.api.requests == 1
    assert meter.requests == [(Endpoint.GENERATION, "error")]


async def test_a_server_error_is_unavailable_whether_it_explains_itself_or_not(
    simulation: Simulation, client: Client
) -> None:
    simulation.api.faults.strike_next(Fault.SERVER_ERROR, times=20)
    errors = [await failure(client.plan()) for _ in range(20)]
    assert {error.kind for error in errors} == {UNAVAILABLE}
    assert {error.status for error in errors} == {500, 502, 503}
    assert any(error.label.startswith("http_5") for error in errors), "a page of HTML has no code"
    assert any(error.label.isupper() for error in errors)


async def test_wait_as_long_as_too_many_requests_ask(simulation: Simulation, client: Client) -> None:
    simulation.api.faults.strike_next(Fault.TOO_MANY_REQUESTS)
    error = await failure(client.plan())
    assert error.retry_after is not None
    assert 2 <= error.retry_after <= 10


async def test_a_wrong_key_locks_out_until_another_is_used(simulation: Simulation, client: Client) -> None:
    client.use_key("another key that does not open anything")
    error = await failure(client.plan())
    assert (error.kind, error.label, error.status) == (ApiErrorKind.LOCKED_OUT, "KEY_INVALID", 401)
    client.use_key(KEY)
    assert (await client.plan()).value.tier == "pro"


async def test_a_generation_of_another_account_is_not_ours(simulation: Simulation, client: Client) -> None:
    error = await failure(client.generation(simulation.submit("atelier")))
    assert (error.kind, error.label) == (ApiErrorKind.NOT_YOURS, "NOT_YOURS")
    assert error.request_id is not None
    assert error.request_id.startswith("req_")


async def test_an_id_that_nobody_knows_is_not_found(client: Client) -> None:
    error = await failure(client.generation(GenerationId("nobody's")))
    assert (error.kind, error.label) == (ApiErrorKind.NOT_FOUND, "NOT_FOUND")


ODD_IDS = ["a/b c%", "ü", "100%", "a%2Fb", "a+b", "?x=1#y", "../credits", "a//b", "ids:1@2", "\\", "日本"]


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_an_odd_id_reaches_the_api_as_it_was(simulation: Simulation, client: Client, odd: str) -> None:
    simulation.api.world.add_ended("studio", IMAGE, odd, NOW_US - MICROS, 1, NOW_US)
    assert (await client.generation(GenerationId(odd))).value.status is Status.COMPLETED


# Against servers that do what the simulator cannot.


@dataclass
class RawServer:
    """Answers every request on a connection by writing bytes. Notes requests' heads and connections."""

    respond: Callable[[asyncio.StreamWriter], Awaitable[None]]
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await self.respond(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw(respond: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[RawServer]:
    served = RawServer(respond)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(served.handle(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answering(
    body: bytes = ANSWER, status: str = "200 OK", **headers: str
) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """The same answer to every request; in the names of headers, `_` stands for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{''.join(lines)}\r\n"

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)

    return respond


def writing(raw_bytes: bytes, *, close: bool = True) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(raw_bytes)
        if close:
            writer.close()

    return respond


async def failure_of(respond: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> ApiError:
    async with raw(respond) as server, client_of(server.url) as client:
        return await failure(client.generation(SOME_ID))


async def test_a_request_says_who_asks_and_with_which_key() -> None:
    async with raw(answering()) as server, client_of(server.url) as client:
        await client.generation(SOME_ID)
    (head,) = server.heads
    lines = [line.lower() for line in head.splitlines()]
    assert lines[0] == "get /api/v1/generations/some-id http/1.1"
    assert f"authorization: bearer {KEY}" in lines
    assert "user-agent: vivix-exporter/0.0" in lines
    assert "accept: application/json" in lines


async def test_a_base_url_may_end_with_a_slash_and_hold_a_path() -> None:
    async with raw(answering()) as server, client_of(f"{server.url}/gateway/") as client:
        await client.generation(SOME_ID)
    assert server.heads[0].startswith("GET /gateway/api/v1/generations/some-id ")


async def test_connections_are_used_again() -> None:
    async with raw(answering()) as server, client_of(server.url) as client:
        for _ in range(5):
            await client.generation(SOME_ID)
    assert len(server.heads) == 5
    assert server.connections == 1


async def test_cookies_of_the_api_are_not_sent_back() -> None:
    answer = answering(Set_Cookie="session=tracked; Path=/")
    async with raw(answer) as server, client_of(server.url) as client:
        for _ in range(3):
            await client.generation(SOME_ID)
    assert len(server.heads) == 3
    assert "cookie" not in "".join(server.heads).lower()


@pytest.mark.parametrize(
    "location", ["/elsewhere", "https://evil.example/", "http://[", "//", "http://a..b/\t"]
)
async def test_a_redirect_is_not_followed_wherever_it_leads(location: str) -> None:
    answer = answering(b"", "302 Found", Location=location)
    async with raw(answer) as server, client_of(server.url) as client:
        error = await failure(client.generation(SOME_ID))
    assert (error.kind, error.label) == (UNAVAILABLE, "redirect")
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind", "label"),
    [
        (400, "INVALID_INPUT", REFUSED, "INVALID_INPUT"),
        (400, "not fit for a label", REFUSED, "http_400"),
        (400, None, UNEXPLAINED, "http_400"),
        (410, "GONE", REFUSED, "GONE"),
        (422, "INVALID_ID", REFUSED, "INVALID_ID"),
        (422, None, UNEXPLAINED, "http_422"),
        (401, "UNAUTHORIZED", ApiErrorKind.LOCKED_OUT, "UNAUTHORIZED"),
        (401, None, ApiErrorKind.LOCKED_OUT, "http_401"),
        (403, "TIER_LOCKED", ApiErrorKind.LOCKED_OUT, "TIER_LOCKED"),
        (403, "NOT_YOURS", ApiErrorKind.NOT_YOURS, "NOT_YOURS"),
        (403, None, UNEXPLAINED, "http_403"),
        (404, "NOT_FOUND", ApiErrorKind.NOT_FOUND, "NOT_FOUND"),
        (404, "DEPLOYMENT_NOT_FOUND", REFUSED, "DEPLOYMENT_NOT_FOUND"),
        (404, None, UNEXPLAINED, "http_404"),
        (429, None, ApiErrorKind.RATE_LIMITED, "http_429"),
        (500, "INTERNAL_ERROR", UNAVAILABLE, "INTERNAL_ERROR"),
        (500, "not fit for a label", UNAVAILABLE, "http_500"),
        (502, None, UNAVAILABLE, "http_502"),
        (503, "PROVIDER_DOWN", UNAVAILABLE, "PROVIDER_DOWN"),
        (204, None, UNAVAILABLE, "http_204"),
    ],
)
async def test_a_refusal_is_understood_by_its_status_and_code(
    status: int, code: str | None, kind: ApiErrorKind, label: str
) -> None:
    body = b"<html>No.</html>" if code is None else f'{{"error": "{code}", "message": "No."}}'.encode()
    error = await failure_of(answering(b"" if status == 204 else body, f"{status} Whatever"))
    assert (error.kind, error.label, error.status) == (kind, label, status)


async def test_without_a_word_a_provider_that_is_down_is_left_alone_for_a_minute() -> None:
    body = b'{"error": "PROVIDER_DOWN"}'
    assert (await failure_of(answering(body, "503 Down"))).retry_after == PROVIDER_DOWN_RETRY
    assert (await failure_of(answering(body, "503 Down", Retry_After="7"))).retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("999999", MAX_RETRY_AFTER),
        (format_datetime(datetime.fromtimestamp(NOW_US / MICROS + 42, UTC), usegmt=True), 42.0),
        (format_datetime(datetime.fromtimestamp(NOW_US / MICROS - 42, UTC), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 -0000", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0.0),
        ("Mon, 99 Jan 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
    ],
)
async def test_the_wait_asked_for_is_understood_in_either_form(header: str, seconds: float | None) -> None:
    error = await failure_of(answering(b"", "429 Too Many Requests", Retry_After=header))
    assert error.kind is ApiErrorKind.RATE_LIMITED
    assert error.retry_after == seconds


@pytest.mark.parametrize("header", ["12.7", "x", "", "1e3", "9" * 400, "nan"])
async def test_headers_that_make_no_sense_spoil_no_answer(header: str) -> None:
    answer = answering(X_RateLimit_Remaining=header, X_Credits_Balance=header)
    async with raw(answer) as server, client_of(server.url) as client:
        reply = await client.generation(SOME_ID)
    assert reply.value.status is Status.PENDING
    assert reply.calls_remaining == (12 if header == "12.7" else None)


def refusing_url() -> str:
    """A URL where nobody listens."""
    with closing(listen("127.0.0.1:0")) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_nobody_listening_is_a_failure_to_connect() -> None:
    url, meter = refusing_url(), Meter()
    async with client_of(url, meter) as client:
        error = await failure(client.plan())
    assert (error.kind, error.label) == (UNREACHABLE, "connect")
    assert error.message == f"cannot connect to {url.removeprefix('http://')}: Connection refused"
    assert meter.requests == [(Endpoint.CREDITS, "error")]


async def test_a_name_that_does_not_exist_is_a_failure_to_connect() -> None:
    async with client_of("http://no-such-host.invalid") as client:
        error = await failure(client.plan())
    assert (error.kind, error.label) == (UNREACHABLE, "connect")
    assert error.message.startswith("the name of no-such-host.invalid cannot be resolved: ")


@pytest.mark.parametrize("host", ["foo..bar", "a" * 70 + ".invalid"])
async def test_a_name_that_no_host_can_have_is_an_error_of_the_call(host: str) -> None:
    async with client_of(f"http://{host}") as client:
        error = await failure(client.plan())
    assert host in error.message


def test_a_name_server_that_never_answers_does_not_hold_up_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, never = threading.Event(), threading.Event()

    def resolve(*_arguments: object, **_options: object) -> list[object]:
        asked.set()
        never.wait()
        return []

    async def call() -> None:
        async with client_of("http://name-that-nobody-knows.example") as client:
            calling = asyncio.ensure_future(client.plan())
            while not asked.is_set():
                await asyncio.sleep(0.005)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    asyncio.run(call())  # it would wait for the thread that resolves if that were one of its own
    never.set()


async def test_a_port_that_does_not_speak_tls_is_a_failure_of_tls() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"https://127.0.0.1:{port}") as client:
            error = await failure(client.plan())
    assert (error.kind, error.label) == (UNREACHABLE, "tls")
    assert error.message == (
        f"the TLS handshake with 127.0.0.1:{port} failed: what listens there does not speak TLS; "
        "is http:// meant?"
    )


async def test_an_answer_that_does_not_come_names_the_host() -> None:
    async with raw(writing(b"", close=False)) as server, client_of(server.url, clock=HASTY) as client:
        error = await failure(client.plan())
    assert error.message == f"{server.url.removeprefix('http://')} did not answer in time"


@pytest.mark.parametrize(
    "body", [b"<html>Nothing here.</html>", b'{"error": "NOT_FOUND", "message": "Nothing here."}']
)
async def test_a_base_url_that_holds_the_path_of_the_api_is_named_as_the_cause_of_a_404(body: bytes) -> None:
    async with (
        raw(answering(body, "404 Not Found")) as server,
        client_of(f"{server.url}/api/v1/") as client,
    ):
        error = await failure(client.generation(SOME_ID))
    assert error.kind is UNEXPLAINED, "no generation is lost by it"
    assert "base_url ends in /api/v1" in error.message


async def test_a_key_that_the_api_repeats_is_not_in_its_message() -> None:
    body = f'{{"error": "KEY_INVALID", "message": "The key {KEY} is unknown."}}'.encode()
    error = await failure_of(answering(body, "401 No"))
    assert error.message == "The key [key] is unknown."


async def test_an_answer_about_another_generation_may_be_the_ids_trouble() -> None:
    error = await failure_of(answering(b'{"generation_id": "another", "status": "pending"}'))
    assert (error.kind, error.label, error.status) == (UNEXPLAINED, "bad_payload", 200)


# What comes from the environment: proxies, and nothing else.


async def test_a_netrc_file_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\nmachine\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with raw(answering()) as server, client_of(server.url) as client:
        await client.generation(SOME_ID)
    assert f"authorization: bearer {KEY}" in server.heads[0].lower()


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_calls_go_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    async with raw(answering()) as proxy:
        address = proxy.url.removeprefix("http://")
        monkeypatch.setenv(variable, f"{scheme}us%40er:secret@{address}")
        async with client_of("http://vivix.invalid") as client:
            monkeypatch.delenv(variable)  # it was read when the client was made
            await client.generation(SOME_ID)
    assert proxy.heads[0].startswith("GET http://vivix.invalid/api/v1/generations/some-id ")
    assert (
        f"proxy-authorization: basic {b64encode(b'us@er:secret').decode()}".lower() in proxy.heads[0].lower()
    )


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_opens_a_tunnel_to_a_base_url_with_tls_and_never_gets_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with raw(answering(b"", "407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client_of("https://vivix.invalid") as client:
            error = await failure(client.generation(SOME_ID))
    assert proxy.heads[0].startswith("CONNECT vivix.invalid:443 ")
    assert KEY not in proxy.heads[0]
    assert (error.kind, error.label) == (UNREACHABLE, "connect")
    assert error.message == "the proxy refuses to connect to vivix.invalid: status 407"
    assert not [text for text in everything_said_of(error) if KEY in text]


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("listed", ["127.0.0.1", "*", "example.org, 127.0.0.1"])
async def test_a_host_in_no_proxy_is_called_directly(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", refusing_url())
    monkeypatch.setenv("NO_PROXY", listed)
    async with raw(answering()) as server, client_of(server.url) as client:
        await client.generation(SOME_ID)


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_where_nobody_listens_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", refusing_url())
    async with client_of("http://vivix.invalid") as client:
        error = await failure(client.plan())
    assert (error.kind, error.label) == (UNREACHABLE, "connect")
    assert error.message == "cannot connect to the proxy for vivix.invalid: Connection refused"


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "broken",
    [
        "http://",
        "http://user:secret@proxy:99999",
        "http://user:secret@foo..bar:3128",
        "socks5://user:secret@127.0.0.1:1080",
        "http://[::1",
        "://secret",
        "http://user:secret@ho st:1",
        "http://user:secret@host:port",
        "\x00secret",
    ],
)
async def test_a_proxy_that_cannot_be_used_is_an_error_of_the_calls_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    with suppress(ValueError):  # the system refuses some by itself
        monkeypatch.setenv("HTTP_PROXY", broken)
        async with client_of("http://127.0.0.1:9") as client:
            error = await failure(client.plan())
        assert (error.kind, error.label) == (UNREACHABLE, "connect")
        assert "HTTP_PROXY" in error.message
        assert "secret" not in "".join(map(str, [error, error.args]))


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_response"),
        (b"\x00\xff\xfe\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 abc\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "disconnected"),
        (b"HTTP/1.1 200 OK\r\n", "disconnected"),
        (b"", "disconnected"),
    ],
)
async def test_what_is_not_http_as_it_should_be_is_no_answer(answer: bytes, label: str) -> None:
    async with raw(writing(answer)) as server, client_of(server.url) as client:
        error = await failure(client.generation(SOME_ID))
    assert (error.kind, error.label) == (UNAVAILABLE, label)
    assert len(server.heads) == 1


async def test_a_body_that_drips_is_cut_at_the_timeout_of_the_whole_call() -> None:
    dripped = 0

    async def drip(writer: asyncio.StreamWriter) -> None:
        nonlocal dripped
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            dripped += 1
            await asyncio.sleep(0)

    async with raw(drip) as server, client_of(server.url, clock=HASTY) as client:
        error = await failure(client.generation(SOME_ID))
    assert (error.kind, error.label) == (UNAVAILABLE, "timeout")
    assert dripped > 10


async def test_a_body_of_unknown_length_is_read_no_further_than_its_limit() -> None:
    written = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" " * 65_536)
            written += 65_536
            await writer.drain()

    error = await failure_of(pour)
    assert (error.kind, error.label, error.status) == (UNAVAILABLE, "too_large", 200)
    assert written > MAX_BODY


async def test_a_body_at_its_limit_is_read() -> None:
    body = ANSWER + b" " * (MAX_BODY - len(ANSWER))
    async with raw(answering(body)) as server, client_of(server.url) as client:
        assert (await client.generation(SOME_ID)).value.status is Status.PENDING


async def test_a_cancelled_call_stays_cancelled_and_is_metered() -> None:
    asked, meter = asyncio.Event(), Meter()

    async def hang(_writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with raw(hang) as server, client_of(server.url, meter) as client:
        call = asyncio.create_task(client.plan())
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert meter.requests == [(Endpoint.CREDITS, "error")]
    assert meter.errors == []


def everything_said_of(error: BaseException) -> Iterator[str]:
    """What a log could say of an exception and of all that led to it."""
    yield "".join(traceback.format_exception(error))
    at: BaseException | None = error
    while at is not None:
        yield f"{at} {at!r} {at.args}"
        at = at.__cause__ or at.__context__


async def test_the_key_is_in_no_log_and_in_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        answering(),
        answering(b"", "500 No"),
        answering(b"", "302 Found", Location="/elsewhere"),
        answering(b"no JSON"),
        answering(b"x" * (MAX_BODY + 1)),
        writing(b""),
        writing(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        writing(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"),
        writing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        writing(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", close=False),
    ]
    said: list[str] = []
    for answer in answers:
        async with raw(answer) as server, client_of(server.url, clock=HASTY) as client:
            try:
                await client.generation(SOME_ID)
            except ApiError as error:
                said += everything_said_of(error)
    async with client_of(refusing_url()) as client:
        said += everything_said_of(await failure(client.plan()))
    assert len(said) >= 2 * len(answers)
    assert not [text for text in (*said, *map(str, caplog.records), caplog.text) if KEY in text]


# Every exception of the libraries below.

LABELS = {
    "tls": {
        "ClientConnectorCertificateError",
        "ClientConnectorSSLError",
        "ClientSSLError",
        "ServerFingerprintMismatch",
    },
    "timeout": {
        "ConnectionTimeoutError",
        "ServerTimeoutError",
        "SocketTimeoutError",
    },
    "connect": {
        "ClientConnectorDNSError",
        "ClientConnectorError",
        "ClientHttpProxyError",
        "ClientProxyConnectionError",
        "UnixClientConnectorError",
    },
    "disconnected": {
        "ClientConnectionError",
        "ClientConnectionResetError",
        "ClientOSError",
        "ClientPayloadError",
        "ServerConnectionError",
        "ServerDisconnectedError",
    },
    "bad_response": {
        "ClientError",
        "ClientResponseError",
        "ContentTypeError",
        "InvalidURL",
        "InvalidUrlClientError",
        "InvalidUrlRedirectClientError",
        "NonHttpUrlClientError",
        "NonHttpUrlRedirectClientError",
        "RedirectClientError",
        "TooManyRedirects",
        "UploadAbortedError",
        "WSServerHandshakeError",
    },
}


def family(root: type[Exception]) -> Iterator[type[Exception]]:
    """A class of exceptions and all below it, of its own library."""
    yield root
    for below in root.__subclasses__():
        if below.__module__.split(".")[0] == root.__module__.split(".")[0]:
            yield from family(below)


def name(foreign: type[Exception]) -> str:
    return f"{foreign.__module__}.{foreign.__name__}"


FOREIGN = sorted(set(family(aiohttp.ClientError)), key=name)


@pytest.mark.parametrize("foreign", FOREIGN, ids=name)
def test_every_exception_of_the_libraries_has_its_label(foreign: type[Exception]) -> None:
    error = translate(foreign.__new__(foreign))
    assert error.kind is (UNREACHABLE if error.label in ("tls", "connect") else UNAVAILABLE)
    expected = [label for label, names in LABELS.items() if foreign.__name__ in names]
    assert [error.label] == expected, "if it is new upstream, decide what it means"
