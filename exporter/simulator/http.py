"""HTTP endpoints of the simulated API, faults included."""

import json
import math
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from exporter.simulator import answers, damage, wire
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import Body, Problem
from exporter.simulator.api import Admitted, Refused, SimulatedApi
from exporter.simulator.control import control_routes
from exporter.simulator.faults import Fault, Strike
from exporter.simulator.generation import canonical_id
from exporter.simulator.models import BY_SLUG, SimulatedModel
from exporter.simulator.ratelimit import Caller
from exporter.simulator.world import InsufficientCreditsError

REDIRECT_TARGET = "/maintenance"
"""Target of redirects; it answers 404."""

_JSON = "application/json"


class ProblemError(Exception):
    """An error of the API, raised to end a call."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class _Noted(Response):
    """An answer that is noted once it was sent to a client that was still connected."""

    def __init__(self, content: bytes, headers: dict[str, str], note: Callable[[], None]) -> None:
        super().__init__(content, headers=headers, media_type=_JSON)
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = wire.gone(scope)
        await super().__call__(scope, receive, send)
        if not left:
            self._note()


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _problem(problem: Problem, request_id: str, retry_after_s: int | None = None) -> Response:
    headers = {"X-Request-Id": request_id}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = _encode(answers.problem_body(problem, request_id))
    return Response(body, problem.status, headers, _JSON)


class _Reads:
    """The endpoints that the exporter calls."""

    def __init__(self, api: SimulatedApi) -> None:
        self.api = api

    async def generation(self, request: Request) -> Response:
        generation_id = canonical_id(request.path_params["id"])

        def read(account: SimulatedAccount, now_us: int) -> Body:
            found = self.api.world.find(generation_id, now_us)
            if found is None:
                raise ProblemError(answers.NOT_FOUND)
            if found.account != account.name:
                raise ProblemError(answers.NOT_YOURS)
            if self.api.faults.hides(account.name, generation_id, found.created_us, now_us):
                raise ProblemError(answers.NOT_FOUND)
            return answers.generation_body(found, now_us)

        return await self._answer(request, f"generations/{generation_id}", read, generation_id)

    async def credits(self, request: Request) -> Response:
        def read(account: SimulatedAccount, now_us: int) -> Body:
            return answers.credits_body(account, self.api.world.wallet(account.name, now_us), now_us)

        return await self._answer(request, "credits", read)

    async def models(self, request: Request) -> Response:
        def read(account: SimulatedAccount, now_us: int) -> Body:
            return answers.models_body(account, self.api.world.wallet(account.name, now_us))

        return await self._answer(request, "models", read)

    async def _answer(
        self,
        request: Request,
        path: str,
        read: Callable[[SimulatedAccount, int], Body],
        generation_id: str | None = None,
    ) -> Response:
        api = self.api
        request_id = api.next_request_id()
        admitted = api.admit(request.headers.get("authorization"), Caller.READ)
        if isinstance(admitted, Refused):
            return _problem(admitted.problem, request_id, admitted.retry_after_s)
        account = admitted.account
        reader = api.shown.ask(generation_id) if generation_id is not None else 0
        strike = api.faults.strike(account.name, api.clock.now_us())
        if strike is not None and strike.fault is Fault.LATENCY:
            await wire.delay(request.receive, api.clock.to_real(strike.seconds))
            strike = None
        if strike is not None and (instead := self._instead(strike, account, request_id, generation_id)):
            return instead
        now_us = api.clock.now_us()
        try:
            if (problem := api.refused.get(path)) is not None:
                raise ProblemError(problem)
            body = read(account, now_us)
        except ProblemError as error:
            return _problem(error.problem, request_id)
        wallet = api.world.wallet(account.name, now_us)
        headers = answers.success_headers(request_id, admitted.remaining, wallet)
        if strike is not None and (spoilt := self._spoilt(strike, body, headers, generation_id)):
            return spoilt
        if generation_id is None:
            return Response(_encode(body), headers=headers, media_type=_JSON)
        return _Noted(_encode(body), headers, lambda: api.shown.note(body, now_us, reader))

    def _instead(
        self, strike: Strike, account: SimulatedAccount, request_id: str, generation_id: str | None
    ) -> Response | None:
        """Return the answer of a fault that needs no lookup, or None."""
        match strike.fault:
            case Fault.KEY_INVALID:
                self.api.calls.locked_out[account.name] += 1
                return _problem(answers.KEY_INVALID, request_id)
            case Fault.TOO_MANY_REQUESTS:
                self.api.calls.spurious[account.name, Caller.READ] += 1
                return _problem(answers.RATE_LIMITED, request_id, max(math.ceil(strike.seconds), 1))
            case Fault.NOT_FOUND_YET if generation_id is not None:
                return _problem(answers.NOT_FOUND, request_id)
            case Fault.SERVER_ERROR:
                problem = strike.rng.choice(
                    [answers.INTERNAL_ERROR, answers.BAD_GATEWAY, answers.PROVIDER_DOWN]
                )
                if strike.rng.random() < 0.4:
                    return Response(damage.HTML, problem.status, media_type="text/html")
                return _problem(problem, request_id)
            case Fault.REDIRECT:
                return Response(status_code=302, headers={"Location": REDIRECT_TARGET})
            case Fault.HANG:
                return wire.Hang()
            case Fault.RESET:
                return wire.Reset()
            case _:
                return None

    def _spoilt(
        self, strike: Strike, body: Body, headers: dict[str, str], generation_id: str | None
    ) -> Response | None:
        """Return the damaged form of a right answer, or None where the fault does not apply."""
        if strike.fault is Fault.TRUNCATED:
            return wire.Truncated(_encode(body), headers=headers, media_type=_JSON)
        if strike.fault is Fault.BROKEN_JSON:
            return Response(damage.broken_json(body, strike.rng), headers=headers, media_type=_JSON)
        ended = "completed_at" in body
        if generation_id is not None and not ended:
            # A reader may or may not take the model from a damaged answer; the truth must not depend on that.
            if not self.api.shown.of(generation_id).model:
                body = {name: value for name, value in body.items() if name != "model"}
            self.api.shown.note_damaged(generation_id)
        match strike.fault:
            case Fault.WRONG_TYPES:
                wrong = damage.wrong_types(body, strike.rng, ended)
            case Fault.UNDOCUMENTED_STATUS if generation_id is not None and not ended:
                wrong = damage.undocumented_status(body)
            case Fault.OVERSIZED:
                wrong = damage.oversized(body)
            case _:
                return None
        return Response(_encode(wrong), headers=headers, media_type=_JSON)


class _Submits:
    """The endpoint that the application calls. No faults: the workload has to go on."""

    def __init__(self, api: SimulatedApi) -> None:
        self.api = api

    async def generate(self, request: Request) -> Response:
        api = self.api
        request_id = api.next_request_id()
        admitted = api.admit(request.headers.get("authorization"), Caller.SUBMIT)
        if isinstance(admitted, Refused):
            return _problem(admitted.problem, request_id, admitted.retry_after_s)
        try:
            model, results = _asked_for(await request.body())
            return self._accept(admitted, model, results, request_id)
        except ProblemError as error:
            return _problem(error.problem, request_id)

    def _accept(self, admitted: Admitted, model: SimulatedModel, results: int, request_id: str) -> Response:
        name, now_us = admitted.account.name, self.api.clock.now_us()
        try:
            generation = self.api.world.submit(name, model, results, now_us)
        except InsufficientCreditsError:
            raise ProblemError(answers.INSUFFICIENT_CREDITS) from None
        wallet = self.api.world.wallet(name, now_us)
        headers = answers.success_headers(request_id, admitted.remaining, wallet)
        return Response(_encode(answers.accepted_body(generation)), 201, headers, _JSON)


def _asked_for(content: bytes) -> tuple[SimulatedModel, int]:
    """Parse model and number of results of a submission. Raises ProblemError."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("prompt"), str):
        raise ProblemError(answers.INVALID_INPUT)
    slug, results = body.get("model"), body.get("number_results", 1)
    model = BY_SLUG.get(slug) if isinstance(slug, str) else None
    if model is None:
        raise ProblemError(answers.MODEL_UNKNOWN)
    if type(results) is not int or not 1 <= results <= model.most_results:
        raise ProblemError(answers.INVALID_INPUT)
    return model, results


def create_app(api: SimulatedApi) -> Starlette:
    """Return the simulated API as an ASGI application, with the control endpoints beside it."""
    reads, submits = _Reads(api), _Submits(api)

    async def no_such_page(_request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code != 404:
            return Response(status_code=error.status_code, headers=error.headers)
        return _problem(answers.NO_SUCH_PAGE, api.next_request_id())

    app = Starlette(
        routes=[
            # An id is one path segment on the wire and may hold any character once decoded.
            Route("/api/v1/generations/{id:path}", reads.generation, methods=["GET"]),
            Route("/api/v1/credits", reads.credits, methods=["GET"]),
            Route("/api/v1/models", reads.models, methods=["GET"]),
            Route("/api/v1/generate", submits.generate, methods=["POST"]),
            *control_routes(api),
        ],
        exception_handlers={HTTPException: no_such_page},
    )
    app.router.redirect_slashes = False
    return app
