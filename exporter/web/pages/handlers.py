"""The handlers of the pages for people."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from exporter.clock import Clock
from exporter.domain.transition import with_polls_of
from exporter.domain.values import AccountName, Generation, GenerationId, Phase, check_generation_id
from exporter.errors import StoreError
from exporter.store import Store
from exporter.store.lists import Place
from exporter.store.reading import LoggedObservation, Reading
from exporter.web.api.routes import Intake
from exporter.web.api.shapes import BadRequestError, cursor_of
from exporter.web.pages.accounts import Followed, from_json, present
from exporter.web.pages.asked import Asked, asked
from exporter.web.pages.drawing import Drawing, page
from exporter.web.pages.kept import Kept
from exporter.web.pages.story import lasted_us, life, sentence
from exporter.web.pages.summary import Summary, summarise

PAGE = 100
"""Generations on one page of a list, and of those that run on the first page."""
SEARCHED = 100_000
"""Generations, the newest first, that one answer looks through for a part of an id."""
_FAILURES = 20
_FRESH, _LATELY = 1.0, 30.0
"""Seconds for which a page, and what it says of the last hour and longer, is kept for whoever else asks."""

_NO_STORE = "The state cannot be read at present; try again."
_NOT_READY = "The state is not loaded yet; try again in a moment."


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration pages show; a reload may change it."""

    trace_url: str | None
    retention_us: int
    registers: bool
    """Whether ids can be registered over HTTP."""


class Pages:
    """`/` and `/generations/{id}`. What they show is read from the state, but for how an account stands at
    present, which only the process that follows it knows."""

    def __init__(
        self,
        drawing: Drawing,
        store: Store,
        intake: Intake,
        configured: Callable[[], Mapping[AccountName, object]],
        followed: Mapping[AccountName, Followed],
        settings: Callable[[], Settings],
        bounds_us: tuple[int, ...],
        is_ready: Callable[[], bool],
        clock: Clock,
        *,
        external_url: str | None = None,
    ) -> None:
        """`configured` are all accounts and `followed` those of this process, `bounds_us` the buckets of
        durations; `external_url` is where others reach the exporter, None for wherever they ask."""
        self._drawing = drawing
        self._store = store
        self._intake = intake
        self._configured = configured
        self._followed = followed
        self._settings = settings
        self._bounds_us = bounds_us
        self._is_ready = is_ready
        self._clock = clock
        self._external_url = external_url
        self._pages: Kept[Response] = Kept(_FRESH)
        self._summaries: Kept[Summary] = Kept(_LATELY)

    def routes(self) -> list[Route]:
        return [
            Route("/", self._first, methods=["GET"]),
            # An id may hold any character once decoded.
            Route("/generations/{id:path}", self._one, methods=["GET"]),
            *self._drawing.routes(),
        ]

    async def _first(self, request: Request) -> Response:
        return await self._pages.get(str(request.url), lambda: self._guarded(self._overview_or_list, request))

    async def _one(self, request: Request) -> Response:
        return await self._pages.get(str(request.url), lambda: self._guarded(self._generation, request))

    async def _guarded(self, answer: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        if not self._is_ready():
            return await self._wrong(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_READY)
        try:
            return await answer(request)
        except BadRequestError as error:
            return await self._wrong(HTTPStatus.BAD_REQUEST, str(error))
        except StoreError:
            return await self._wrong(HTTPStatus.SERVICE_UNAVAILABLE, _NO_STORE)

    async def _draw(
        self, template: str, values: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        common = {
            "accounts": list(self._configured()),
            "phases": list(Phase),
            "asked": Asked(),
            "now_us": self._clock.now_us(),
        }
        html = await asyncio.to_thread(self._drawing.draw, template, common | dict(values))
        return page(html, status)

    async def _wrong(self, status: HTTPStatus, message: str) -> Response:
        return await self._draw("wrong.html", {"heading": status.phrase, "message": message}, status)

    async def _overview_or_list(self, request: Request) -> Response:
        wanted = asked(request.query_params)
        if (id := wanted.id) is not None:
            whole = check_generation_id(id)
            if await self._store.read(lambda reading: reading.accounts_of(whole)):
                return RedirectResponse(self._drawing.link(whole), HTTPStatus.SEE_OTHER)
        return await (self._list(wanted) if wanted.is_list else self._overview(request))

    async def _list(self, wanted: Asked) -> Response:
        of, place = wanted.filter(), wanted.place()

        def find(reading: Reading) -> tuple[list[Generation], Place | None]:
            if of.id_part is not None:
                return reading.lists.search(of, place, PAGE + 1, SEARCHED)
            return reading.lists.page(of, place, PAGE + 1), None

        found, until = await self._store.read(find)
        shown = found[:PAGE]
        is_full = len(found) > PAGE
        last = shown[-1] if is_full else until
        values = {
            "asked": wanted,
            "generations": list(map(self._latest, shown)),
            "older": None if last is None else cursor_of(last),
            "searched_until_us": None if until is None or is_full else until.discovered_us,
        }
        return await self._draw("list.html", values | {"lasted_us": lasted_us})

    async def _overview(self, request: Request) -> Response:
        accounts, now_us = list(self._configured()), self._clock.now_us()
        summary = await self._summaries.get(
            tuple(accounts),
            lambda: self._store.read(lambda read: summarise(read, accounts, self._bounds_us, now_us)),
        )

        def at_present(reading: Reading) -> tuple[dict[str, object], dict[AccountName, str], dict[str, str]]:
            overview = reading.overview
            values: dict[str, object] = {
                "in_flight": overview.in_flight(PAGE),
                "counts": overview.count_in_flight(),
                "failures": overview.latest_failures(_FAILURES),
                "empty": overview.is_empty(),
            }
            return values, overview.owners(), overview.told()

        values, owners, told = await self._store.read(at_present)
        here = present(self._followed, self._clock.monotonic())
        values |= {
            "summary": summary,
            "owners": owners if self._store.shared else None,
            "here": here,
            "present": from_json(owners, told) | here,
            "settings": self._settings(),
            "external_url": self._external_url or str(request.base_url).rstrip("/"),
            "lasted_us": lasted_us,
        }
        return await self._draw("overview.html", values)

    async def _generation(self, request: Request) -> Response:
        text, account = request.path_params["id"], request.query_params.get("account") or None
        try:
            id = check_generation_id(text)
        except ValueError as error:
            return await self._nowhere(text, str(error))

        def find(reading: Reading) -> list[tuple[Generation, list[LoggedObservation]]]:
            stored = [one for name in reading.accounts_of(id) if (one := reading.find(name, id))]
            # Acknowledged by a replica, and not applied by the owner yet.
            waiting = [] if stored else reading.find_in_inbox(id)
            return [(one, reading.history(one.account, id)) for one in [*stored, *waiting]]

        found = await self._store.read(find)
        chosen = [one for one in found if account in (None, one[0].account)]
        if not chosen:
            return await self._nowhere(id, None)
        stored, history = chosen[0]
        generation, now_us = self._latest(stored), self._clock.now_us()
        values = {
            "generation": generation,
            "history": history + self._intake.unanswered(stored.account, id),
            "sentence": sentence(generation, now_us),
            "life": life(generation, now_us),
            "lasted_us": lasted_us(generation),
            "others": [one.account for one, _ in found if one.account != generation.account],
            "settings": self._settings(),
            "now_us": now_us,
        }
        return await self._draw("generation.html", values)

    async def _nowhere(self, id: GenerationId | str, wrong: str | None) -> Response:
        values = {"id": id, "wrong": wrong, "settings": self._settings()}
        return await self._draw("nowhere.html", values, HTTPStatus.NOT_FOUND)

    def _latest(self, stored: Generation) -> Generation:
        """Add the polls that changed nothing, which only memory knows of."""
        known = self._intake.find(stored.account, stored.id)
        return stored if known is None else with_polls_of(stored, known)
