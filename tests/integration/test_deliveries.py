"""The simulated vendor's webhooks as a receiver on a real socket meets them."""

import asyncio
import hashlib
import hmac
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import delivery_body
from exporter.simulator.api import SimulatedApi
from exporter.simulator.delivered import NO_ANSWER
from exporter.simulator.deliverer import ATTEMPTS, Deliverer, delivering
from exporter.simulator.deliveries import Delays, Kind, Mishaps
from exporter.simulator.http import create_app
from exporter.simulator.models import BY_SLUG
from exporter.simulator.server import serve
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.world import World
from support.running import until

MODEL = BY_SLUG["runware:101@1"]
SECRET = "whsec"
SPEED = 200.0
ACCOUNTS = tuple(
    SimulatedAccount(name, f"key-{name}", "ultimate", granted=10_000_000)
    for name in ("studio", "shop", "lab")
)


@dataclass(frozen=True)
class Received:
    """One request that came in, and whether it bore the signature of its body."""

    account: str
    headers: dict[str, str]
    body: Any
    signed: bool


@dataclass
class Receiver:
    """Takes deliveries in as an exporter would, unless `answer` says with which other status."""

    secret: str = SECRET
    answer: Callable[[Received], int | None] = lambda _: None
    received: list[Received] = field(default_factory=list)
    url: str = ""

    async def take(self, request: Request) -> Response:
        raw = await request.body()
        right = f"sha256={hmac.new(self.secret.encode(), raw, hashlib.sha256).hexdigest()}"
        signed = hmac.compare_digest(request.headers.get("X-Vivix-Signature", ""), right)
        one = Received(request.path_params["account"], dict(request.headers), json.loads(raw), signed)
        self.received.append(one)
        status = self.answer(one) or (204 if signed else 401)
        return Response(status_code=status, headers={"Location": "/elsewhere"} if status == 302 else None)

    async def never_follow(self, _request: Request) -> Response:
        """Where redirects lead: who follows one takes this for an acknowledgement."""
        return Response(status_code=204)

    def ids(self, *, signed: bool = True) -> list[str]:
        """The ids of the ends reported, in the order of their arrival."""
        return [
            one.body["generation_id"]
            for one in self.received
            if one.signed is signed and one.body.get("completed_at")
        ]


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**options)
    routes = [
        Route("/webhooks/{account}", receiver.take, methods=["POST"]),
        Route("/elsewhere", receiver.never_follow, methods=["GET", "POST"]),
    ]
    async with serve(Starlette(routes=routes)) as address:
        receiver.url = address.url
        yield receiver


def simulated(
    mishaps: Mishaps | None = None, failure_ratio: float = 0.3, speed: float = SPEED
) -> SimulatedApi:
    clock = ScaledClock(speed, SystemClock().now_us())
    return SimulatedApi(World(7, ACCOUNTS, failure_ratio), clock, mishaps=mishaps or Mishaps.none())


def subscribe(
    api: SimulatedApi, receiver: Receiver, accounts: Sequence[str] = ("studio", "shop", "lab")
) -> None:
    for account in accounts:
        api.endpoints.set(account, [Endpoint(f"{receiver.url}/webhooks/{account}", receiver.secret)])


def submit(api: SimulatedApi, count: int) -> list[str]:
    now_us = api.clock.now_us()
    return [api.world.submit(ACCOUNTS[number % 3].name, MODEL, 1, now_us).id for number in range(count)]


async def settled(api: SimulatedApi, deliverer: Deliverer) -> None:
    """Return once every generation has ended and every delivery is made."""
    await until(
        lambda: not api.world.in_flight(api.clock.now_us()) and not deliverer.outstanding, "all is delivered"
    )


async def test_when_nothing_goes_wrong_each_end_is_delivered_exactly_once() -> None:
    api = simulated()
    async with receiving() as receiver, delivering(api) as deliverer:
        subscribe(api, receiver)
        ids = submit(api, 300)
        await settled(api, deliverer)
    assert sorted(receiver.ids()) == sorted(ids)
    assert len(receiver.received) == len(ids)
    bodies = {generation.id: (generation.account, delivery_body(generation)) for generation in api.world}
    assert all((one.account, one.body) == bodies[one.body["generation_id"]] for one in receiver.received)
    assert {one.headers["x-vivix-event"] for one in receiver.received} == {
        "generation.completed",
        "generation.failed",
    }
    assert {(one.headers["content-type"], one.headers["user-agent"]) for one in receiver.received} == {
        ("application/json", "Vivix-Webhook/1.0")
    }
    assert len({one.headers["x-vivix-delivery-id"] for one in receiver.received}) == len(ids)
    for generation in api.world:
        told = api.delivered.of(generation.id)
        assert (told.kinds, told.attempts) == ((Kind.GENUINE,), 1)
        assert told.acknowledged_us is not None
        assert generation.ended_us is not None
        assert told.acknowledged_us >= generation.ended_us + 20_000


async def test_mishaps_befall_deliveries_exactly_as_drawn() -> None:
    mishaps = Mishaps.everything(3)
    mishaps.delays = Delays(late_s=(30.0, 60.0))
    api = simulated(mishaps)
    async with receiving() as receiver, delivering(api) as deliverer:
        subscribe(api, receiver)
        submit(api, 300)
        await settled(api, deliverer)
    drawn = [delivery for generation in api.world for delivery in mishaps.plan(generation)]
    assert {delivery.kind for delivery in drawn} == set(Kind)
    assert api.delivered.planned == Counter((one.account, one.kind) for one in drawn)
    sent = [delivery for delivery in drawn if delivery.kind is not Kind.LOST]
    assert api.delivered.statuses == Counter(
        (one.account, one.kind, 401 if one.kind is Kind.FORGED else 204) for one in sent
    )
    told = Counter(one.generation_id for one in sent if one.kind.reports_end)
    assert Counter(receiver.ids()) == told
    assert api.delivered.acknowledged().keys() == told.keys()
    assert len(receiver.ids(signed=False)) == sum(one.kind is Kind.FORGED for one in sent)
    for generation in api.world:
        kinds = api.delivered.of(generation.id).kinds
        assert list(kinds) == [one.kind for one in mishaps.plan(generation)]


async def test_deliveries_are_made_in_the_order_in_which_they_are_due() -> None:
    api = simulated(Mishaps(1, {Kind.OVERTAKEN: 0.5, Kind.DOUBLED: 0.5}))
    async with receiving() as receiver, delivering(api, concurrency=1) as deliverer:
        subscribe(api, receiver)
        submit(api, 60)
        await settled(api, deliverer)
    planned = [delivery for one in api.world.ended(0) for delivery in api.mishaps.plan(one)]
    in_order = [one.generation_id for one in sorted(planned, key=lambda one: one.due_us)]
    assert receiver.ids() == in_order
    assert list(dict.fromkeys(in_order)) != api.world.ends


@pytest.mark.parametrize("refusal", [500, 404, 302, 401])
async def test_what_is_not_acknowledged_is_tried_again_with_the_same_body(refusal: int) -> None:
    seen: Counter[str] = Counter()

    def twice_refused(one: Received) -> int | None:
        seen[one.body["generation_id"]] += 1
        return refusal if seen[one.body["generation_id"]] <= 2 else None

    api = simulated()
    async with receiving(answer=twice_refused) as receiver, delivering(api) as deliverer:
        subscribe(api, receiver)
        ids = submit(api, 9)
        await settled(api, deliverer)
    assert Counter(receiver.ids()) == dict.fromkeys(ids, 3)
    assert len({one.headers["x-vivix-delivery-id"] for one in receiver.received}) == 27
    assert len({json.dumps(one.body) for one in receiver.received}) == 9
    for generation in api.world:
        told = api.delivered.of(generation.id)
        assert told.attempts == 3
        # Pauses of 1 s and 5 s lie between the three.
        assert (told.acknowledged_us or 0) >= (generation.ended_us or 0) + 6 * MICROS


async def test_what_is_never_acknowledged_is_given_up() -> None:
    api = simulated()
    async with receiving(answer=lambda _: 503) as receiver, delivering(api) as deliverer:
        subscribe(api, receiver, ["studio"])
        ids = submit(api, 9)[::3]
        await settled(api, deliverer)
    assert Counter(receiver.ids()) == dict.fromkeys(ids, ATTEMPTS)
    assert api.delivered.acknowledged() == {}


async def test_where_nobody_listens_an_attempt_has_no_answer() -> None:
    api = simulated()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        async with delivering(api, attempts=1) as deliverer:
            api.endpoints.set("studio", [Endpoint(nowhere, SECRET)])
            submit(api, 3)
            await settled(api, deliverer)
    assert api.delivered.statuses == {("studio", Kind.GENUINE, NO_ANSWER): 1}


@pytest.mark.parametrize("host", ["a b", "x" * 70, "."])
async def test_a_host_that_cannot_be_is_an_attempt_without_an_answer(host: str) -> None:
    api = simulated()
    async with delivering(api, attempts=1) as deliverer:
        api.endpoints.set("studio", [Endpoint(f"http://{host}/", SECRET)])
        submit(api, 1)
        await settled(api, deliverer)
    assert api.delivered.statuses == {("studio", Kind.GENUINE, NO_ANSWER): 1}


async def test_forgers_do_not_insist() -> None:
    api = simulated(Mishaps(1, {Kind.FORGED: 1.0}))
    async with (
        receiving(answer=lambda one: None if one.signed else 503) as receiver,
        delivering(api) as deliverer,
    ):
        subscribe(api, receiver)
        submit(api, 30)
        await settled(api, deliverer)
    assert len(receiver.ids(signed=False)) == len(receiver.ids()) == 30


async def test_each_endpoint_is_delivered_to_with_a_secret_of_its_own() -> None:
    api = simulated(Mishaps(1, {Kind.LOST: 0.5}))
    async with (
        receiving(secret="first") as first,
        receiving(secret="second") as second,
        delivering(api) as deliverer,
    ):
        endpoints = [Endpoint(f"{one.url}/webhooks/studio", one.secret) for one in (first, second)]
        api.endpoints.set("studio", endpoints)
        submit(api, 30)
        await settled(api, deliverer)
    assert sorted(first.ids()) == sorted(second.ids()) == sorted(api.delivered.acknowledged())
    assert api.delivered.statuses == {("studio", Kind.GENUINE, 204): 2 * len(first.ids())}


async def test_a_retry_goes_to_where_the_endpoint_is_by_then() -> None:
    api = simulated()
    async with receiving() as moved:

        def move(one: Received) -> int:
            subscribe(api, moved)
            return 503

        async with receiving(answer=move) as receiver, delivering(api) as deliverer:
            subscribe(api, receiver)
            ids = submit(api, 3)
            await settled(api, deliverer)
    assert sorted(moved.ids()) == sorted(ids)


async def test_a_submission_while_nothing_is_due_is_noticed() -> None:
    api = simulated()
    async with receiving() as receiver, delivering(api) as deliverer:
        subscribe(api, receiver)
        for round_ in range(1, 4):
            ids = submit(api, 3)
            await settled(api, deliverer)
            assert len(receiver.ids()) == 3 * round_
            assert set(ids) <= set(receiver.ids())


async def test_an_answer_that_never_comes_is_waited_for_no_longer_than_the_timeout() -> None:
    seen: set[str] = set()
    never = asyncio.Event()

    async def first_hangs(request: Request) -> Response:
        generation_id = (await request.json())["generation_id"]
        if generation_id not in seen:
            seen.add(generation_id)
            await never.wait()
        return Response(status_code=204)

    api = simulated()
    routes = [Route("/", first_hangs, methods=["POST"])]
    async with serve(Starlette(routes=routes)) as address:
        async with delivering(api, attempts=50, timeout_s=0.5) as deliverer:
            api.endpoints.set("studio", [Endpoint(f"{address.url}/", SECRET)])
            ids = submit(api, 9)[::3]
            await settled(api, deliverer)
        never.set()
    assert api.delivered.acknowledged().keys() == set(ids)
    assert api.delivered.statuses["studio", Kind.GENUINE, NO_ANSWER] >= len(ids)


async def test_after_it_has_stopped_nothing_is_delivered_and_nothing_hangs() -> None:
    arrived, never = asyncio.Event(), asyncio.Event()
    api = simulated(Mishaps(1, {Kind.DOUBLED: 1.0}, Delays(doubled_s=(60.0, 60.0))))

    async def hang(_request: Request) -> Response:
        arrived.set()
        await never.wait()
        return Response(status_code=204)

    routes = [Route("/", hang, methods=["POST"])]
    async with receiving() as receiver, serve(Starlette(routes=routes)) as hanging:
        try:
            async with delivering(api, attempts=1) as deliverer:
                subscribe(api, receiver, ["studio"])
                api.endpoints.set("lab", [Endpoint(f"{hanging.url}/", SECRET)])
                submit(api, 90)
                await arrived.wait()
                await until(lambda: bool(receiver.received), "one is delivered")
            received, stopped_us = len(receiver.received), api.clock.now_us()
            assert deliverer.outstanding > 0
            assert api.world.on_submitted == []
            await until(lambda: api.clock.now_us() > stopped_us + 100 * MICROS, "what was due would be sent")
            assert len(receiver.received) == received
        finally:
            never.set()


async def test_webhooks_and_mishaps_are_set_and_their_fates_told_over_http() -> None:
    api = simulated(failure_ratio=0)
    async with (
        receiving() as receiver,
        serve(create_app(api)) as address,
        httpx.AsyncClient(base_url=address.url, timeout=60) as http,
        delivering(api) as deliverer,
    ):
        endpoint = {"url": f"{receiver.url}/webhooks/studio", "secret": SECRET}
        put = await http.put("/simulator/webhooks", json={"account": "studio", "endpoints": [endpoint]})
        assert (put.status_code, put.json()["studio"]) == (200, [endpoint["url"]])
        assert SECRET not in put.text
        rates = await http.put("/simulator/mishaps", json={"forged": 1})
        assert (rates.status_code, rates.json()["forged"], rates.json()["lost"]) == (200, 1.0, 0.0)
        await http.post("/simulator/submit", json={"account": "studio", "count": 5})
        await settled(api, deliverer)
        true = (await http.get("/simulator/truth")).json()
    assert len(receiver.ids()) == 5
    assert true["deliveries"] == [
        {"account": "studio", "kind": "forged", "value": 5},
        {"account": "studio", "kind": "genuine", "value": 5},
    ]
    assert true["delivery_attempts"] == [
        {"account": "studio", "kind": "forged", "status": 401, "value": 5},
        {"account": "studio", "kind": "genuine", "status": 204, "value": 5},
    ]
    assert true["ends_acknowledged"] == {"studio": 5}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("webhooks", {"account": "nobody", "endpoints": []}),
        ("webhooks", {"account": "studio"}),
        ("webhooks", {"account": "studio", "endpoints": [{"url": "http://localhost/"}]}),
        ("webhooks", {"account": "studio", "endpoints": [{"url": "nowhere", "secret": "s"}]}),
        ("webhooks", {"account": "studio", "endpoints": [{"url": "http://h/", "secret": ""}]}),
        ("webhooks", {"account": "studio", "endpoints": [{"url": "http://h/", "secret": "s"}] * 6}),
        ("webhooks", {"account": "studio", "endpoints": [{"url": "http://h/", "secret": "s", "x": 1}]}),
        ("webhooks", {"account": "studio", "endpoint": []}),
        ("mishaps", {"lost": 2}),
        ("mishaps", {"genuine": 1}),
        ("mishaps", []),
    ],
)
async def test_a_request_about_webhooks_that_makes_no_sense_is_refused(path: str, body: object) -> None:
    api = simulated()
    async with serve(create_app(api)) as address, httpx.AsyncClient(base_url=address.url) as http:
        answer = await http.put(f"/simulator/{path}", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert api.endpoints.urls() == {"studio": [], "shop": [], "lab": []}
    assert api.mishaps.rates == {}
