"""The simulated API over real HTTP: each endpoint, each refusal, and each fault as a client meets it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from exporter.clock import MICROS
from exporter.errors import ListenError
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import MALFORMED_ID, NO_SUCH_PAGE, Body
from exporter.simulator.api import SimulatedApi
from exporter.simulator.damage import UNDOCUMENTED_STATUS
from exporter.simulator.faults import Extent, Fault, Faults
from exporter.simulator.generation import Generation
from exporter.simulator.http import REDIRECT_TARGET, create_app
from exporter.simulator.models import BY_SLUG
from exporter.simulator.ratelimit import Caller
from exporter.simulator.server import Address, serve
from exporter.simulator.workload import Workload
from exporter.simulator.world import DAY_US, World

IMAGE = BY_SLUG["grok-imagine-image-quality"]
START = 1_778_416_496_000_000
KEY = {"Authorization": "Bearer key-studio"}
OTHER_KEY = {"Authorization": "Bearer key-atelier"}


class ManualClock:
    """Time that only the test moves; a sleep moves it to its end at once."""

    def __init__(self) -> None:
        self.at_us = START

    def now_us(self) -> int:
        return self.at_us

    def monotonic(self) -> float:
        return (self.at_us - START) / MICROS

    def to_real(self, seconds: float) -> float:
        return seconds / 1_000

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        self.at_us += round(seconds * MICROS)


@dataclass
class Simulation:
    """A simulator that serves, and a client of it."""

    client: httpx.AsyncClient
    address: Address
    clock: ManualClock
    api: SimulatedApi
    submitted: list[str] = field(default_factory=list)

    def submit(self, account: str = "studio") -> Generation:
        return self.api.world.submit(account, IMAGE, 1, self.clock.at_us)

    async def get(self, generation_id: str, headers: dict[str, str] = KEY) -> httpx.Response:
        path = f"/api/v1/generations/{quote(generation_id, safe='')}"
        return await self.client.get(path, headers=headers)

    async def generate(self, **changes: object) -> httpx.Response:
        body = {"model": IMAGE.slug, "prompt": "a lighthouse", **changes}
        return await self.client.post("/api/v1/generate", headers=KEY, json=body)


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    accounts = [
        SimulatedAccount("studio", "key-studio"),
        SimulatedAccount("atelier", "key-atelier", "ultimate"),
    ]
    clock = ManualClock()
    api = SimulatedApi(World(1, accounts, failure_ratio=0, pickup_us=0), clock)
    async with (
        serve(create_app(api)) as address,
        httpx.AsyncClient(base_url=address.url, timeout=30) as client,
    ):
        yield Simulation(client, address, clock, api)


async def until(reached: Callable[[], bool]) -> None:
    """Let the event loop run until something is so; the test's own timeout bounds it."""
    while not reached():
        await asyncio.sleep(0)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"error", "message", "next", "request_id"}
    assert answer.headers["X-Request-Id"] == body["request_id"]
    return answer.status_code, body["error"]


async def test_a_submitted_generation_can_be_followed_to_its_end(simulation: Simulation) -> None:
    accepted = await simulation.generate(number_results=2)
    assert accepted.status_code == 201
    generation_id = accepted.json()["generation_id"]
    simulation.clock.advance(1)
    in_flight = await simulation.get(generation_id)
    assert (in_flight.json()["status"], in_flight.json()["elapsed_ms"]) == ("processing", 1_000)
    simulation.clock.advance(120)
    ended = (await simulation.get(generation_id)).json()
    assert ended["status"] == "completed"
    assert len(ended["output_urls"]) == 2


async def test_a_success_tells_what_is_left(simulation: Simulation) -> None:
    answer = await simulation.get(simulation.submit().id)
    wallet = simulation.api.world.wallet("studio", START)
    assert answer.headers["X-RateLimit-Remaining"] == "239"
    assert answer.headers["X-Credits-Balance"] == str(wallet.balance)
    assert answer.headers["X-Request-Id"].startswith("req_")


async def test_credits_and_models_are_answered(simulation: Simulation) -> None:
    credits = (await simulation.client.get("/api/v1/credits", headers=OTHER_KEY)).json()
    assert (credits["tier"], credits["rate_limit"]["calls_per_minute"]) == ("ultimate", 600)
    models = (await simulation.client.get("/api/v1/models", headers=KEY)).json()
    assert {model["slug"] for model in models["models"]} == BY_SLUG.keys()


async def test_keys_are_checked_and_a_rotation_takes_effect_at_once(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    assert error_of(await simulation.get(generation_id, {})) == (401, "UNAUTHORIZED")
    wrong = {"Authorization": "Bearer wrong"}
    assert error_of(await simulation.get(generation_id, wrong)) == (401, "KEY_INVALID")
    simulation.api.world.rotate_key("studio", "key-new")
    assert error_of(await simulation.get(generation_id)) == (401, "KEY_REVOKED")
    new = await simulation.get(generation_id, {"Authorization": "Bearer key-new"})
    assert new.status_code == 200


async def test_of_another_account_or_nobody_no_generation_is_shown(simulation: Simulation) -> None:
    assert error_of(await simulation.get(simulation.submit().id, OTHER_KEY)) == (403, "NOT_YOURS")
    assert error_of(await simulation.get("nobody's")) == (404, "NOT_FOUND")
    simulation.api.world.add_ended("studio", IMAGE, "old", START - 40 * DAY_US, 1, START)
    assert error_of(await simulation.get("old")) == (404, "NOT_FOUND")


async def test_a_uuid_is_found_however_its_letters_are_written(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    assert (await simulation.get(generation_id.upper())).json()["generation_id"] == generation_id
    assert simulation.api.shown.of(generation_id).answers == 1


async def test_one_path_can_be_refused_while_others_are_answered(simulation: Simulation) -> None:
    refused, answered = simulation.submit().id, simulation.submit().id
    simulation.api.refused = {f"generations/{refused}": MALFORMED_ID, "credits": NO_SUCH_PAGE}
    assert error_of(await simulation.get(refused)) == (400, "INVALID_INPUT")
    assert error_of(await simulation.client.get("/api/v1/credits", headers=KEY)) == (404, "NOT_FOUND")
    assert (await simulation.get(answered)).status_code == 200
    simulation.api.refused.clear()
    assert (await simulation.get(refused)).status_code == 200


@pytest.mark.parametrize("odd", ["a/b", "100%", "a%2Fb", "runware:101@1?x#y", "ümläut", "a b", "../credits"])
async def test_an_odd_id_is_looked_up_decoded(simulation: Simulation, odd: str) -> None:
    simulation.api.world.add_ended("studio", IMAGE, odd, START - MICROS, 1, START)
    assert (await simulation.get(odd)).json()["generation_id"] == odd


async def test_an_unknown_page_and_method_are_refused(simulation: Simulation) -> None:
    assert error_of(await simulation.client.get("/api/v2")) == (404, "NOT_FOUND")
    assert (await simulation.client.delete("/api/v1/credits")).status_code == 405


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "nonsense"}, "MODEL_UNKNOWN"),
        ({"prompt": None}, "INVALID_INPUT"),
        ({"number_results": 5}, "INVALID_INPUT"),
        ({"number_results": True}, "INVALID_INPUT"),
        ({"model": "wan-2.7-text-to-video", "number_results": 2}, "INVALID_INPUT"),
    ],
)
async def test_a_submission_that_makes_no_sense_is_refused(
    simulation: Simulation, changes: dict[str, object], code: str
) -> None:
    assert error_of(await simulation.generate(**changes)) == (400, code)


async def test_an_empty_wallet_refuses_submissions(simulation: Simulation) -> None:
    simulation.api.world.wallet("studio", START).balance = 0
    assert error_of(await simulation.generate()) == (402, "INSUFFICIENT_CREDITS")


async def test_reads_and_submits_spend_from_the_same_allowance(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    for _ in range(239):
        assert (await simulation.get(generation_id)).status_code == 200
    assert (await simulation.generate()).status_code == 201
    refused = await simulation.get(generation_id)
    assert error_of(refused) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (await simulation.generate()).status_code == 429
    calls = simulation.api.calls
    assert (calls.limited["studio", Caller.READ], calls.limited["studio", Caller.SUBMIT]) == (1, 1)
    assert calls.max_calls_in_any_window("studio") == 240
    simulation.clock.advance(int(refused.headers["Retry-After"]))
    assert (await simulation.get(generation_id)).status_code == 200


async def test_a_late_answer_is_right(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.LATENCY)
    assert (await simulation.get(simulation.submit().id)).json()["status"] == "processing"


async def test_a_late_answer_that_nobody_waited_for_was_not_shown(simulation: Simulation) -> None:
    simulation.api.faults.extent = Extent(latency_s=(1e6, 1e6))
    simulation.api.faults.strike_next(Fault.LATENCY)
    generation_id = simulation.submit().id
    with pytest.raises(httpx.TimeoutException):
        await simulation.client.get(f"/api/v1/generations/{generation_id}", headers=KEY, timeout=0.05)
    await simulation.client.get("/simulator/truth")
    assert simulation.api.shown.of(generation_id).answers == 0


async def test_a_hang_lasts_until_the_client_leaves(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.HANG)
    with pytest.raises(httpx.TimeoutException):
        await simulation.client.get("/api/v1/credits", headers=KEY, timeout=0.05)
    assert (await simulation.client.get("/api/v1/credits", headers=KEY)).status_code == 200


async def test_the_server_stops_although_a_client_hangs() -> None:
    clock = ManualClock()
    api = SimulatedApi(World(1, [SimulatedAccount("studio", "key-studio")]), clock)
    api.faults.strike_next(Fault.HANG)
    async with httpx.AsyncClient() as client:
        async with serve(create_app(api)) as address:
            hanging = asyncio.create_task(client.get(f"{address.url}/api/v1/credits", headers=KEY))
            await until(lambda: api.faults.struck["studio", Fault.HANG] == 1)
        with pytest.raises(httpx.TransportError):
            await hanging


async def test_a_server_error_is_one_of_three_and_sometimes_html(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.SERVER_ERROR, times=40)
    answers = [await simulation.client.get("/api/v1/credits", headers=KEY) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {500, 502, 503}
    kinds = {answer.headers["Content-Type"].partition(";")[0] for answer in answers}
    assert kinds == {"text/html", "application/json"}


async def raw_get(address: Address, path: str) -> tuple[bytes, BaseException | None]:
    """What a plain socket receives, and how its connection ends; None is an orderly end."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-studio\r\n\r\n".encode())
    received, end = b"", None
    try:
        while chunk := await reader.read(65_536):
            received += chunk
    except OSError as error:
        end = error
    writer.close()
    return received, end


async def test_a_reset_is_a_reset_on_the_wire(simulation: Simulation) -> None:
    # aiohttp asks a second time where a reset met its GET, so that one call takes two of them.
    simulation.api.faults.strike_next(Fault.RESET, times=3)
    received, end = await raw_get(simulation.address, "/api/v1/credits")
    assert received == b""
    assert isinstance(end, ConnectionResetError)
    with pytest.raises(httpx.TransportError):
        await simulation.client.get("/api/v1/credits", headers=KEY)


async def test_a_truncated_answer_ends_in_the_middle_of_its_body(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.TRUNCATED, times=2)
    received, end = await raw_get(simulation.address, "/api/v1/credits")
    header, _, body = received.partition(b"\r\n\r\n")
    [length] = [line for line in header.lower().split(b"\r\n") if line.startswith(b"content-length")]
    assert end is None
    assert header.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < int(length.partition(b":")[2])
    with pytest.raises(httpx.TransportError):
        await simulation.client.get("/api/v1/credits", headers=KEY)


async def test_broken_json_comes_as_a_success(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    right = (await simulation.get(generation_id)).content
    simulation.api.faults.strike_next(Fault.BROKEN_JSON, times=20)
    for _ in range(20):
        answer = await simulation.get(generation_id)
        assert answer.status_code == 200
        assert answer.content != right


async def damaged(simulation: Simulation, fault: Fault, generation_id: str) -> Any:
    simulation.api.faults.strike_next(fault)
    answer = await simulation.get(generation_id)
    assert answer.status_code == 200
    return answer.json()


async def test_wrong_types_make_an_answer_in_flight_doubtful(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    wrong = await damaged(simulation, Fault.WRONG_TYPES, generation_id)
    right = (await simulation.get(generation_id)).json()
    assert wrong != right
    assert "model" not in wrong or not isinstance(wrong["model"], str)
    assert simulation.api.shown.of(generation_id).doubtful


async def test_wrong_types_make_an_ended_answer_useless_as_a_whole(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    simulation.clock.advance(600)
    for _ in range(20):
        wrong = await damaged(simulation, Fault.WRONG_TYPES, generation_id)
        assert isinstance(wrong, list) or wrong.get("status") != "completed"
    assert simulation.api.shown.of(generation_id).ended_us is None


async def test_an_undocumented_status_is_said_only_in_flight(simulation: Simulation) -> None:
    generation_id = simulation.submit().id
    in_flight = await damaged(simulation, Fault.UNDOCUMENTED_STATUS, generation_id)
    assert in_flight["status"] == UNDOCUMENTED_STATUS
    simulation.clock.advance(600)
    ended = await damaged(simulation, Fault.UNDOCUMENTED_STATUS, generation_id)
    assert ended["status"] == "completed"


async def test_an_oversized_answer_is_more_than_a_mebibyte(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.OVERSIZED)
    assert len((await simulation.get(simulation.submit().id)).content) > 2**20


async def test_a_redirect_leads_nowhere(simulation: Simulation) -> None:
    simulation.api.faults.strike_next(Fault.REDIRECT)
    answer = await simulation.client.get("/api/v1/credits", headers=KEY)
    assert (answer.status_code, answer.headers["Location"]) == (302, REDIRECT_TARGET)
    assert (await simulation.client.get(REDIRECT_TARGET)).status_code == 404


async def test_a_new_generation_is_unknown_for_some_seconds(simulation: Simulation) -> None:
    simulation.api.faults.set_rates({Fault.NOT_FOUND_YET: 1.0})
    generation_id = simulation.submit().id
    assert error_of(await simulation.get(generation_id)) == (404, "NOT_FOUND")
    simulation.clock.advance(5)
    assert (await simulation.get(generation_id)).status_code == 200


async def test_a_spell_of_401_locks_reads_out_and_not_submits(simulation: Simulation) -> None:
    simulation.api.faults.schedule(Fault.KEY_INVALID, START, START + 10 * MICROS, "studio")
    assert error_of(await simulation.get(simulation.submit().id)) == (401, "KEY_INVALID")
    locked_out = await simulation.client.get("/api/v1/credits", headers=KEY)
    assert error_of(locked_out) == (401, "KEY_INVALID")
    assert (await simulation.client.get("/api/v1/credits", headers=OTHER_KEY)).status_code == 200
    assert (await simulation.generate()).status_code == 201
    simulation.clock.advance(10)
    assert (await simulation.client.get("/api/v1/credits", headers=KEY)).status_code == 200


async def test_a_spurious_429_is_counted_apart(simulation: Simulation) -> None:
    simulation.api.faults.schedule(Fault.TOO_MANY_REQUESTS, START, START + 10 * MICROS)
    simulation.clock.advance(2.5)
    answer = await simulation.client.get("/api/v1/credits", headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "8")
    calls = simulation.api.calls
    assert (calls.spurious["studio", Caller.READ], calls.limited["studio", Caller.READ]) == (1, 0)


async def test_with_everything_going_wrong_the_server_stays_up(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.api.faults = Faults.everything(5)
    ids = [simulation.submit().id for _ in range(20)]
    for read in range(600):
        simulation.clock.advance(0.5)
        try:
            await simulation.client.get(f"/api/v1/generations/{ids[read % 20]}", headers=KEY, timeout=0.2)
        except httpx.TransportError:
            continue
    assert {fault for _, fault in simulation.api.faults.struck} >= set(Fault) - {Fault.NOT_FOUND_YET}
    simulation.api.faults = Faults.none()
    assert (await simulation.get(ids[0])).status_code == 200
    assert caplog.records == []


async def test_faults_can_be_set_over_http_and_are_checked_strictly(simulation: Simulation) -> None:
    async def put(body: object) -> tuple[int, Any]:
        answer = await simulation.client.put("/simulator/faults", json=body)
        return answer.status_code, answer.json()

    status, rates = await put({"reset": 0.25})
    assert (status, rates["reset"], rates["hang"]) == (200, 0.25, 0.0)
    assert await put({"rest": 0.25}) == (400, {"error": "unknown name 'rest': did you mean 'reset'?"})
    assert await put({"reset": "often"}) == (400, {"error": "reset: 'often' is not a number"})
    assert (await put({"reset": 2}))[0] == (await put([]))[0] == (await put({"reset": True}))[0] == 400
    assert (await simulation.client.put("/simulator/faults", content=b"{")).status_code == 400
    assert simulation.api.faults.rates == {Fault.RESET: 0.25}


async def test_the_truth_is_told_over_http(simulation: Simulation) -> None:
    answer = await simulation.client.post("/simulator/submit", json={"account": "studio", "count": 3})
    assert answer.status_code == 201
    await simulation.get(answer.json()["ids"][0])
    simulation.clock.advance(600)
    true: Body = (await simulation.client.get("/simulator/truth")).json()
    assert true["ended"] == [
        {"account": "studio", "model": IMAGE.slug, "status": "completed", "value": 3},
    ]
    calls = true["calls"]
    assert isinstance(calls, list)
    assert {"account": "studio", "caller": "read", "calls": 1}.items() <= calls[2].items()


@pytest.mark.parametrize(
    "body",
    [
        {"account": "nobody"},
        {"account": "studio", "count": 0},
        {"account": "studio", "model": "nonsense"},
        {"account": "studio", "models": "nonsense"},
        [],
    ],
)
async def test_a_control_request_that_makes_no_sense_is_refused(simulation: Simulation, body: object) -> None:
    answer = await simulation.client.post("/simulator/submit", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_key_can_be_rotated_over_http(simulation: Simulation) -> None:
    body = {"account": "studio", "key": "key-new"}
    assert (await simulation.client.post("/simulator/keys", json=body)).status_code == 204
    assert (await simulation.client.get("/api/v1/credits", headers=KEY)).status_code == 401
    taken = {"account": "studio", "key": "key-atelier"}
    assert (await simulation.client.post("/simulator/keys", json=taken)).status_code == 400


async def run_until(workload: Workload, simulation: Simulation, count: int) -> None:
    """Let the workload submit until `count` were accepted."""
    enough = asyncio.Event()

    async def on_submitted(account: str, generation_id: str) -> None:
        assert account == "studio"
        simulation.submitted.append(generation_id)
        if len(simulation.submitted) == count:
            enough.set()

    running = asyncio.create_task(workload.run(on_submitted))
    await enough.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def workload_of(simulation: Simulation, **options: Any) -> Workload:
    world = simulation.api.world
    return Workload(
        simulation.address.url,
        "studio",
        lambda: world.keys.of_account("studio")[0],
        lambda: len(world.in_flight(simulation.clock.now_us(), "studio")),
        simulation.clock,
        **options,
    )


async def test_a_workload_submits_at_its_rate(simulation: Simulation) -> None:
    await run_until(workload_of(simulation, per_minute=30, most_in_flight=1_000), simulation, 40)
    created = [one.created_us for one in simulation.api.world][:40]
    assert [one.id for one in simulation.api.world][:40] == simulation.submitted[:40]
    assert {later - earlier for earlier, later in pairwise(created)} == {2 * MICROS}
    assert len({one.model.slug for one in simulation.api.world}) > 3


async def test_a_workload_never_has_more_in_flight_than_it_may(simulation: Simulation) -> None:
    await run_until(workload_of(simulation, per_minute=60, most_in_flight=7), simulation, 30)
    ends = [
        (one.created_us, one.created_us + one.duration_ms * 1_000)
        for one in simulation.api.world
        if one.ended_us
    ]
    assert all(sum(begin <= at < end for begin, end in ends) <= 7 for at, _ in ends)


async def test_a_workload_waits_out_the_rate_limit_and_a_rotated_key(simulation: Simulation) -> None:
    workload = workload_of(simulation, per_minute=6_000, most_in_flight=10_000)
    simulation.api.world.rotate_key("studio", "key-new")
    await run_until(workload, simulation, 300)
    assert workload.answers[429] == simulation.api.calls.limited["studio", Caller.SUBMIT] > 0
    assert workload.answers[401] == 0


async def test_a_workload_survives_an_api_that_is_away(simulation: Simulation) -> None:
    workload = workload_of(simulation)
    address = Address(simulation.address.host, 1)
    away = Workload(address.url, "studio", lambda: "key", lambda: 0, simulation.clock)
    await run_until(workload, simulation, 1)

    async def never(account: str, generation_id: str) -> None:
        raise AssertionError

    running = asyncio.create_task(away.run(never))
    await until(lambda: away.answers[0] == 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_address_in_use_is_said_plainly(simulation: Simulation) -> None:
    app = create_app(simulation.api)
    with pytest.raises(ListenError, match="cannot listen on"):
        async with serve(app, simulation.address.host, simulation.address.port):
            pass


async def test_ipv6_has_brackets_in_its_url() -> None:
    assert Address("::1", 80).url == "http://[::1]:80"
