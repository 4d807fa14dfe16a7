"""The handlers of our HTTP API."""

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Protocol

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.config import RotatingSecrets
from exporter.domain.transition import with_polls_of
from exporter.domain.values import (
    AccountName,
    Generation,
    GenerationId,
    NewGeneration,
    Phase,
    Registered,
    check_generation_id,
)
from exporter.errors import StoreError
from exporter.store import Store
from exporter.store.lists import Filter
from exporter.store.reading import LoggedObservation, Reading
from exporter.web.api.shapes import (
    MAX_IDS,
    BadRequestError,
    Json,
    TooManyIdsError,
    cursor_of,
    parse_cursor,
    parse_registration,
    shown,
    shown_observation,
)
from exporter.web.bodies import UnreadableBodyError, read_body

MAX_BODY = 1 << 20
"""Bytes of a registration."""
MAX_PAGE, USUAL_PAGE = 1_000, 100
"""Generations in one answer."""

_NO_STORE = "the state cannot be read or written at present; try again"


class Intake(Protocol):
    """The receiver of registrations, and of what memory knows beyond the store."""

    async def register(self, registrations: Mapping[AccountName, Sequence[NewGeneration]]) -> Registered:
        """Store ids to be followed: all, or none where StoreError is raised."""
        ...

    def find(self, account: AccountName, id: GenerationId) -> Generation | None:
        """Return what memory holds of a generation that is followed."""
        ...

    def unanswered(self, account: AccountName, id: GenerationId) -> list[LoggedObservation]:
        """Return the lines about polls without a usable answer that memory has and the history lacks yet."""
        ...


@cache
def _description() -> Json:
    # On demand: to read it takes more than 14 ms.
    description: Json = yaml.safe_load(files("exporter.web.api").joinpath("openapi.yaml").read_text("utf-8"))
    return description


class Api:
    """The endpoints under `/api/v1`."""

    def __init__(
        self,
        intake: Intake,
        store: Store,
        accounts: Callable[[], Mapping[AccountName, object]],
        is_ready: Callable[[], bool],
        token: Callable[[], RotatingSecrets | None],
    ) -> None:
        """`accounts` returns those that there are, and `token` the secrets of which a registration must bear
        one; None disables registration."""
        self._intake = intake
        self._store = store
        self._accounts = accounts
        self._is_ready = is_ready
        self._token = token

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/openapi.json", self._describe, methods=["GET"]),
            Route("/api/v1/generations", self._generations, methods=["GET", "POST"]),
            # An id may hold any character once decoded.
            Route("/api/v1/generations/{id:path}", self._show, methods=["GET"]),
        ]

    async def _describe(self, _request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(_description))

    async def _generations(self, request: Request) -> Response:
        return await (self._register(request) if request.method == "POST" else self._list(request))

    async def _register(self, request: Request) -> Response:
        token = self._token()
        if token is None:
            return _wrong(
                HTTPStatus.FORBIDDEN,
                "registration is off; the configuration needs web.registration_token_env or _file",
            )
        if not token.admits(lambda secret: _bears(request, secret.reveal())):
            return _wrong(
                HTTPStatus.UNAUTHORIZED,
                "send Authorization: Bearer with the registration token",
                {"WWW-Authenticate": "Bearer"},
            )
        if not self._is_ready():
            return _wrong(HTTPStatus.SERVICE_UNAVAILABLE, "the state is not loaded yet; try again")
        try:
            registrations = parse_registration(await read_body(request, MAX_BODY), self._accounts())
            registered = await self._intake.register(registrations)
        except UnreadableBodyError as error:
            if error.too_large:
                return _wrong(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {MAX_BODY >> 20} MiB")
            return _wrong(HTTPStatus.BAD_REQUEST, str(error))
        except TooManyIdsError:
            return _wrong(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_IDS} generations; send them in parts"
            )
        except BadRequestError as error:
            return _wrong(HTTPStatus.BAD_REQUEST, str(error))
        except StoreError:
            return _wrong(HTTPStatus.SERVICE_UNAVAILABLE, _NO_STORE)
        return JSONResponse({"new": registered.new, "known": registered.known}, HTTPStatus.ACCEPTED)

    async def _list(self, request: Request) -> Response:
        try:
            of, limit = _filter(request), _limit(request)
            after = _asked(request, "cursor")
            place = None if after is None else parse_cursor(after)
            found = await self._store.read(lambda reading: reading.lists.page(of, place, limit + 1))
        except BadRequestError as error:
            return _wrong(HTTPStatus.BAD_REQUEST, str(error))
        except StoreError:
            return _wrong(HTTPStatus.SERVICE_UNAVAILABLE, _NO_STORE)
        page = found[:limit]
        return JSONResponse(
            {
                "generations": [shown(self._latest(generation)) for generation in page],
                "next_cursor": cursor_of(page[-1]) if len(found) > limit else None,
            }
        )

    async def _show(self, request: Request) -> Response:
        wanted = _asked(request, "account")
        try:
            id = check_generation_id(request.path_params["id"])
        except ValueError as error:
            return _wrong(HTTPStatus.NOT_FOUND, str(error))

        def find(reading: Reading) -> tuple[Generation, list[LoggedObservation]] | None:
            for account in reading.accounts_of(id):
                found = reading.find(account, id)
                if found is not None and wanted in (None, account):
                    return found, reading.history(account, id)
            # Acknowledged by a replica, and not applied by the owner yet.
            for waiting in reading.find_in_inbox(id):
                if wanted in (None, waiting.account):
                    return waiting, []
            return None

        try:
            found = await self._store.read(find)
        except StoreError:
            return _wrong(HTTPStatus.SERVICE_UNAVAILABLE, _NO_STORE)
        if found is None:
            return _wrong(HTTPStatus.NOT_FOUND, "no generation of this id is registered")
        generation, history = found
        body: Json = shown(self._latest(generation))
        lines = history + self._intake.unanswered(generation.account, id)
        body["observations"] = [shown_observation(line) for line in lines]
        return JSONResponse(body)

    def _latest(self, stored: Generation) -> Generation:
        """Add the polls that changed nothing, which only memory knows of."""
        known = self._intake.find(stored.account, stored.id)
        return stored if known is None else with_polls_of(stored, known)


def _bears(request: Request, token: str) -> bool:
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    return hmac.compare_digest(sent.strip().encode(), token.encode()) and scheme.lower() == "bearer"


def _asked(request: Request, name: str) -> str | None:
    """Return what an address asks for; an empty value is none, as in the forms of pages."""
    return request.query_params.get(name) or None


def _filter(request: Request) -> Filter:
    account, model, status = (_asked(request, name) for name in ("account", "model", "status"))
    for name, text in (("account", account), ("model", model)):
        if text is not None and "\0" in text:  # PostgreSQL refuses to compare it with anything
            raise BadRequestError(f"{name}: none holds a NUL character")
    if status is not None and status not in [phase.value for phase in Phase]:
        raise BadRequestError(f"status: expected one of {', '.join(Phase)}")
    return Filter(
        account=None if account is None else AccountName(account),
        phase=None if status is None else Phase(status),
        model=model,
    )


def _limit(request: Request) -> int:
    text = _asked(request, "limit") or str(USUAL_PAGE)
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= MAX_PAGE):
        raise BadRequestError(f"limit: expected a whole number from 1 to {MAX_PAGE}")
    return int(text)


def _wrong(status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
