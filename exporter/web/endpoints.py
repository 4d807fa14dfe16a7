"""What programs ask for: metrics, health, readiness and reload."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from exporter.errors import ConfigError
from exporter.heartbeat import Heartbeat


class Scrape(Protocol):
    """Returns `/metrics` in a format that suits an Accept header, and the content type of that."""

    async def __call__(self, accept: str, *, zipped: bool) -> tuple[bytes, str]: ...


class Endpoints:
    """The handlers."""

    def __init__(
        self,
        scrape: Scrape,
        is_ready: Callable[[], bool],
        heartbeat: Heartbeat,
        *,
        reload: Callable[[], Awaitable[ConfigError | None]] | None = None,
        routes: Sequence[Route] = (),
    ) -> None:
        """`reload` applies the configuration as it is now, or returns why not; None disables it. `routes` are
        further pages."""
        self._scrape = scrape
        self._is_ready = is_ready
        self._heartbeat = heartbeat
        self._reload = reload
        self._routes = routes

    def app(self, prefix: str = "", home: str = "/") -> Starlette:
        """Return the pages as an ASGI application, under a prefix if one is given; who then asks for the
        root is sent to `home`."""
        routes: list[BaseRoute] = [
            Route("/metrics", self._metrics),
            Route("/-/healthy", self._healthy),
            Route("/-/ready", self._ready),
            Route("/-/reload", self._reload_config, methods=["POST", "PUT"]),
            *self._routes,
        ]
        if prefix:
            routes = [Mount(prefix, routes=routes), Route("/", lambda _: RedirectResponse(home, 302))]
        return Starlette(routes=routes)

    async def _metrics(self, request: Request) -> Response:
        if not self._is_ready():
            # Half a page would look like counters that were reset.
            return PlainTextResponse("The state is not loaded yet.\n", status_code=503)
        zipped = _accepts_gzip(request.headers.get("Accept-Encoding", ""))
        body, content_type = await self._scrape(request.headers.get("Accept", ""), zipped=zipped)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    async def _healthy(self, _request: Request) -> Response:
        stalled = self._heartbeat.stalled()
        if stalled:
            return PlainTextResponse(f"Stalled: {', '.join(stalled)}.\n", status_code=503)
        return PlainTextResponse("Healthy.\n")

    async def _ready(self, _request: Request) -> Response:
        if not self._is_ready():
            return PlainTextResponse("Not ready: the state is not loaded yet.\n", status_code=503)
        return PlainTextResponse("Ready.\n")

    async def _reload_config(self, _request: Request) -> Response:
        if self._reload is None:
            return PlainTextResponse(
                "Reloading over HTTP is off; start with --web.enable-lifecycle, or send SIGHUP.\n",
                status_code=403,
            )
        if not self._is_ready():
            return PlainTextResponse("Not ready: the exporter is still starting.\n", status_code=503)
        refused = await self._reload()
        if refused is not None:
            return PlainTextResponse(f"The configuration is refused: {refused}\n", status_code=500)
        return PlainTextResponse("Reloaded.\n")


def _accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header admits gzip; its `*` stands for what it does not name
    (RFC 9110, section 12.5.3)."""
    admitted: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = "".join(parameters.split()).removeprefix("q=")
        admitted[coding.strip()] = not weight or weight.strip("0.") != ""
    return admitted.get("gzip", admitted.get("*", False))
