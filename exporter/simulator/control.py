"""Control endpoints under `/simulator`: read the truth; set faults, mishaps, webhooks, keys; submit jobs.

No key, no rate limit and no fault applies to them.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.simulator.api import SimulatedApi
from exporter.simulator.deliveries import MISHAPS
from exporter.simulator.faults import Fault
from exporter.simulator.models import BY_SLUG, MODELS
from exporter.simulator.ratelimit import Caller
from exporter.simulator.truth import credits_in_flight, in_flight, truth
from exporter.simulator.webhooks import Endpoint
from exporter.simulator.world import InsufficientCreditsError

MOST_SUBMISSIONS = 10_000
"""Maximum number of generations that one request submits."""

Row = dict[str, object]
_Key = TypeVar("_Key", bound=tuple[str, ...])
_Named = TypeVar("_Named", bound=StrEnum)


class InvalidControlError(Exception):
    """An invalid control request; the text is the reason."""


def _rows(sums: Mapping[_Key, int], *labels: str) -> list[Row]:
    """Return a mapping with tuple keys as rows for JSON."""
    return [{**dict(zip(labels, key, strict=True)), "value": value} for key, value in sorted(sums.items())]


def truth_body(api: SimulatedApi) -> dict[str, object]:
    """Return truth, generations in flight and calls, for JSON; durations are sums in microseconds."""
    now_us = api.clock.now_us()
    now, true = api.world.in_flight(now_us), truth(api.world, now_us, api.shown)
    sums = {key: sum(durations) for key, durations in true.durations_us.items()}
    queues = {key: sum(ages) for key, ages in true.queue_us.items()}
    seen = {key: len(ages) for key, ages in true.queue_us.items()}
    return {
        "ended": _rows(true.ended, "account", "model", "status"),
        "failures": _rows(true.failures, "account", "model", "reason"),
        "credits": _rows(true.credits, "account", "model"),
        "outputs": _rows(true.outputs, "account", "model"),
        "duration_us": _rows(sums, "account", "model", "status"),
        "queue_us": _rows(queues, "account", "model"),
        "queues_seen": _rows(seen, "account", "model"),
        "doubtful_queues": true.doubtful_queues,
        "in_flight": _rows(in_flight(now), "account", "model", "status"),
        "credits_in_flight": _rows(credits_in_flight(now), "account", "model"),
        "expired": true.expired,
        "calls": [_calls(api, name, caller) for name in sorted(api.world.accounts) for caller in Caller],
        "faults": _rows(api.faults.struck, "account", "fault"),
        "deliveries": _rows(api.delivered.planned, "account", "kind"),
        "delivery_attempts": [
            {"account": account, "kind": kind, "status": status, "value": attempts}
            for (account, kind, status), attempts in sorted(api.delivered.statuses.items())
        ],
        "ends_acknowledged": _acknowledged(api),
    }


def _acknowledged(api: SimulatedApi) -> Row:
    """Count the ended generations with an acknowledged delivery, by account."""
    acknowledged = api.delivered.acknowledged()
    return dict(Counter(one.account for one in api.world if one.id in acknowledged))


def _calls(api: SimulatedApi, account: str, caller: Caller) -> Row:
    return {
        "account": account,
        "caller": caller.value,
        "calls": api.calls.calls(account, caller),
        "max_calls_in_any_minute": api.calls.max_calls_in_any_window(account, caller),
        "limited": api.calls.limited[account, caller],
        "spurious": api.calls.spurious[account, caller],
    }


def check_names(body: Mapping[str, object], known: Collection[str]) -> None:
    """Check the names in `body`. Raises InvalidControlError, which names the nearest of `known`."""
    for name in body:
        if name not in known:
            near = get_close_matches(name, list(known), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InvalidControlError(f"unknown name {name!r}: {hint}")


def parse_rates(body: Mapping[str, object], known: Sequence[_Named]) -> dict[_Named, float]:
    """Parse names of faults or mishaps and their probabilities. Raises InvalidControlError."""
    named = {one.value: one for one in known}
    check_names(body, named)
    rates: dict[_Named, float] = {}
    for name, rate in body.items():
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise InvalidControlError(f"{name}: {rate!r} is not a number")
        rates[named[name]] = float(rate)
    return rates


def parse_endpoints(listed: object) -> list[Endpoint]:
    """Parse a list of objects with `url` and `secret`. Raises InvalidControlError or ValueError."""
    if not isinstance(listed, list):
        raise InvalidControlError('endpoints: expected a list such as [{"url": "http://…", "secret": "…"}]')
    endpoints = []
    for one in listed:
        url, secret = (one.get("url"), one.get("secret")) if isinstance(one, dict) else (None, None)
        if not isinstance(url, str) or not isinstance(secret, str):
            raise InvalidControlError("endpoints: expected objects with url and secret, both text")
        check_names(one, ("url", "secret"))
        endpoints.append(Endpoint(url, secret))
    return endpoints


async def _object(request: Request) -> dict[str, object]:
    """Read the JSON object of a request. Raises InvalidControlError."""
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidControlError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise InvalidControlError("the body is not a JSON object")
    return body


class _Control:
    def __init__(self, api: SimulatedApi) -> None:
        self.api = api

    async def truth(self, _request: Request) -> Response:
        return JSONResponse(truth_body(self.api))

    async def faults(self, request: Request) -> Response:
        try:
            if request.method == "PUT":
                self.api.faults.set_rates(parse_rates(await _object(request), list(Fault)))
        except (InvalidControlError, ValueError) as error:
            return _wrong(error)
        return JSONResponse({fault.value: self.api.faults.rates.get(fault, 0.0) for fault in Fault})

    async def mishaps(self, request: Request) -> Response:
        try:
            if request.method == "PUT":
                self.api.mishaps.set_rates(parse_rates(await _object(request), MISHAPS))
        except (InvalidControlError, ValueError) as error:
            return _wrong(error)
        return JSONResponse({kind.value: self.api.mishaps.rates.get(kind, 0.0) for kind in MISHAPS})

    async def webhooks(self, request: Request) -> Response:
        try:
            if request.method == "PUT":
                body = await _object(request)
                check_names(body, ("account", "endpoints"))
                self.api.endpoints.set(self._account(body), parse_endpoints(body.get("endpoints")))
        except (InvalidControlError, ValueError) as error:
            return _wrong(error)
        return JSONResponse(self.api.endpoints.urls())

    async def submit(self, request: Request) -> Response:
        try:
            body = await _object(request)
            check_names(body, ("account", "model", "count"))
            return self._submit(body)
        except InvalidControlError as error:
            return _wrong(error)

    def _submit(self, body: dict[str, object]) -> Response:
        account = self._account(body)
        model, count = BY_SLUG.get(str(body.get("model", MODELS[0].slug))), body.get("count", 1)
        if model is None:
            raise InvalidControlError(f"model: there are {', '.join(BY_SLUG)}")
        if type(count) is not int or not 1 <= count <= MOST_SUBMISSIONS:
            raise InvalidControlError(f"count: expected a number from 1 to {MOST_SUBMISSIONS}")
        now_us, ids = self.api.clock.now_us(), []
        try:
            for _ in range(count):
                ids.append(self.api.world.submit(account, model, 1, now_us).id)
        except InsufficientCreditsError:
            return JSONResponse({"ids": ids, "error": "the wallet is empty"}, 402)
        return JSONResponse({"ids": ids}, 201)

    async def keys(self, request: Request) -> Response:
        try:
            body = await _object(request)
            check_names(body, ("account", "key"))
            account, key = self._account(body), body.get("key")
            if not isinstance(key, str) or not key:
                raise InvalidControlError("key: expected the new key")
            self.api.world.rotate_key(account, key)
        except (InvalidControlError, ValueError) as error:
            return _wrong(error)
        return Response(status_code=204)

    def _account(self, body: dict[str, object]) -> str:
        name = body.get("account")
        if not isinstance(name, str) or name not in self.api.world.accounts:
            raise InvalidControlError(f"account: there are {', '.join(self.api.world.accounts)}")
        return name


def _wrong(error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def control_routes(api: SimulatedApi) -> list[Route]:
    """Return the routes under `/simulator`."""
    control = _Control(api)
    return [
        Route("/simulator/truth", control.truth, methods=["GET"]),
        Route("/simulator/faults", control.faults, methods=["GET", "PUT"]),
        Route("/simulator/mishaps", control.mishaps, methods=["GET", "PUT"]),
        Route("/simulator/webhooks", control.webhooks, methods=["GET", "PUT"]),
        Route("/simulator/submit", control.submit, methods=["POST"]),
        Route("/simulator/keys", control.keys, methods=["POST"]),
    ]
