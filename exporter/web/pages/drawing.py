"""Templates and what belongs to them, served from the package."""

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from exporter.domain.traceid import trace_id

if TYPE_CHECKING:
    from jinja2 import Environment

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_STATIC = ("page.css", "page.js", "favicon.svg")
_YEAR = "public, max-age=31536000, immutable"


class Drawing:
    """Draws pages; `root` is the path under which a browser finds the exporter, empty or such as `/vivix`."""

    def __init__(self, version: str, root: str = "") -> None:
        self._root = root
        folder = files("exporter.web.pages").joinpath("static")
        self._static = {name: folder.joinpath(name).read_bytes() for name in _STATIC}
        whole = b"".join(self._static.values())
        # What a browser has kept of another version is not taken for this one's.
        static_version = hashlib.sha256(whole).hexdigest()[:12]
        self._names: Mapping[str, object] = {
            "root": root,
            "version": version,
            "static_version": static_version,
            "link": self.link,
            "view": self.view,
            "trace_id": trace_id,
        }

    @cached_property
    def _templates(self) -> "Environment":
        # Loaded for the first page: where there are only scrapes, nobody needs the 2 MiB of the engine.
        made: Environment = import_module("exporter.web.pages.templating").environment(self._names)
        return made

    def link(self, id: str, account: str | None = None) -> str:
        """Return the address of a generation's page."""
        return f"{self._root}/generations/{quote(id, safe='')}" + (
            f"?{urlencode({'account': account})}" if account else ""
        )

    def view(self, **chosen: str | None) -> str:
        """Return the address of a list."""
        wanted = {name: value for name, value in chosen.items() if value is not None}
        return f"{self._root}/?{urlencode(wanted)}"

    def draw(self, template: str, values: Mapping[str, object]) -> str:
        """Return a page as HTML."""
        return self._templates.get_template(template).render(values)

    def routes(self) -> list[Route]:
        """The files that pages need."""
        return [Route("/static/{name}", self._file, methods=["GET"])]

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            return PlainTextResponse("Not found.\n", 404)
        headers = _HEADERS | {"Cache-Control": _YEAR}
        return Response(self._static[name], media_type=mimetypes.guess_type(name)[0], headers=headers)


def page(html: str, status: int = 200) -> Response:
    """Return a page with the headers that keep anything foreign out of it."""
    return HTMLResponse(html, status, headers=_HEADERS)
