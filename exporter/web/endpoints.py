"""The exporter's own pages over HTTP: metrics, health, readiness, reload, and a landing page."""

from collections.abc import Awaitable, Callable, Sequence
from html import escape
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from exporter.errors import ConfigError
from exporter.heartbeat import Heartbeat

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Vivix exporter</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
dt {{ margin-top: .75rem }} dd {{ margin: 0; color: #555 }}</style></head>
<body>
<h1>Vivix exporter</h1>
<p>Prometheus metrics about generations submitted to the Vivix API. Version {version}.</p>
<dl>
<dt><a href="metrics">/metrics</a></dt><dd>metrics for Prometheus</dd>
<dt><a href="-/healthy">/-/healthy</a></dt><dd>whether the exporter makes progress</dd>
<dt><a href="-/ready">/-/ready</a></dt><dd>whether its state is loaded and it follows generations</dd>
<dt><a href="api/v1/generations">/api/v1/generations</a></dt><dd>generations as JSON;
described by <a href="api/v1/openapi.json">OpenAPI</a></dd>
</dl>
</body></html>
"""


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
        version: str,
        *,
        reload: Callable[[], Awaitable[ConfigError | None]] | None = None,
        routes: Sequence[Route] = (),
    ) -> None:
        """`reload` applies the configuration as it is now, or returns why not; None disables it. `routes` are
        further pages."""
        self._scrape = scrape
        self._is_ready = is_ready
        self._heartbeat = heartbeat
        self._version = version
        self._reload = reload
        self._routes = routes

    def app(self) -> Starlette:
        """Return the pages as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self._landing),
                Route("/metrics", self._metrics),
                Route("/-/healthy", self._healthy),
                Route("/-/ready", self._ready),
                Route("/-/reload", self._reload_config, methods=["POST", "PUT"]),
                *self._routes,
            ]
        )

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

    async def _landing(self, _request: Request) -> Response:
        return HTMLResponse(_PAGE.format(version=escape(self._version)))


def _accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header admits gzip; its `*` stands for what it does not name
    (RFC 9110, section 12.5.3)."""
    admitted: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = "".join(parameters.split()).removeprefix("q=")
        admitted[coding.strip()] = not weight or weight.strip("0.") != ""
    return admitted.get("gzip", admitted.get("*", False))
