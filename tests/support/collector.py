"""An OTLP collector over HTTP that can be in every kind of trouble, and remembers what it took."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.simulator.server import serve

PROTOBUF = "application/x-protobuf"

Behaviour = Callable[["Received"], Awaitable[Response | None]]
"""What is answered to a request instead of taking it; None takes it."""


@dataclass(frozen=True)
class Received:
    """One request, whether or not it was taken."""

    spans: tuple[Span, ...]
    resource: dict[str, object]
    headers: dict[str, str]
    body: bytes


@dataclass
class Collector:
    """`url` is for OTEL_EXPORTER_OTLP_ENDPOINT. `spans` holds what was taken, by span id, `order` the ids as
    they came, and `requests` everything that came."""

    url: str = ""
    behaviour: Behaviour | None = None
    requests: list[Received] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def traces(self) -> set[str]:
        """The trace ids of what was taken."""
        return {span.trace_id.hex() for span in self.spans.values()}

    def take(self, received: Received) -> None:
        """Keep the spans of a request; a repeat replaces what is the same."""
        for span in received.spans:
            self.spans[span.span_id.hex()] = span
            self.order.append(span.span_id.hex())

    async def answer(self, request: Request) -> Response:
        received = await _received(request)
        self.requests.append(received)
        if self.behaviour is not None and (response := await self.behaviour(received)) is not None:
            return response
        self.take(received)
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)


@asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """A collector that takes everything, on a port of its own or on this one."""
    one = Collector()
    app = Starlette(routes=[Route("/v1/traces", one.answer, methods=["POST"])])
    async with serve(app, "127.0.0.1", port) as address:
        one.url = address.url
        yield one


class _GrpcService(TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:
        received = _of(request, {}, b"")
        self._collector.requests.append(received)
        self._collector.take(received)
        return ExportTraceServiceResponse()


@asynccontextmanager
async def grpc_collector(port: int) -> AsyncIterator[Collector]:
    """One that speaks gRPC and takes everything."""
    one = Collector(f"http://127.0.0.1:{port}")
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(_GrpcService(one), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield one
    finally:
        await server.stop(None)


def value_of(value: AnyValue) -> object:
    """An attribute's value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes_of(span: Span) -> dict[str, object]:
    """The attributes of a span."""
    return {one.key: value_of(one.value) for one in span.attributes}


def status(code: int, **headers: str) -> Behaviour:
    """Answers with nothing but a status."""

    async def answer(_received: Received) -> Response:
        return Response("no", status_code=code, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


def garbage(text: str = "<html>Welcome! Please log in.</html>") -> Behaviour:
    """Answers 200 with what is not OTLP."""

    async def answer(_received: Received) -> Response:
        return Response(text, media_type="text/html")

    return answer


def slow(seconds: float) -> Behaviour:
    """Takes its time, then takes the spans."""

    async def answer(_received: Received) -> None:
        await asyncio.sleep(seconds)

    return answer


def partial(take: Callable[[Received], None], reject: Callable[[Span], bool]) -> Behaviour:
    """Takes the spans but those to `reject`, and says how many those were."""

    async def answer(received: Received) -> Response | None:
        rejected = [span for span in received.spans if reject(span)]
        if not rejected:
            return None
        kept = tuple(span for span in received.spans if not reject(span))
        take(Received(kept, received.resource, received.headers, received.body))
        message = ExportTraceServiceResponse()
        message.partial_success.rejected_spans = len(rejected)
        message.partial_success.error_message = "too ugly"
        return Response(message.SerializeToString(), media_type=PROTOBUF)

    return answer


async def _received(request: Request) -> Received:
    body = await request.body()
    match request.headers.get("Content-Encoding"):
        case "gzip":
            body = gzip.decompress(body)
        case "deflate":
            body = zlib.decompress(body)
        case _:
            pass
    return _of(ExportTraceServiceRequest.FromString(body), dict(request.headers), body)


def _of(message: ExportTraceServiceRequest, headers: dict[str, str], body: bytes) -> Received:
    resource: dict[str, object] = {}
    spans: list[Span] = []
    for one in message.resource_spans:
        resource |= {pair.key: value_of(pair.value) for pair in one.resource.attributes}
        for scope in one.scope_spans:
            spans.extend(scope.spans)
    return Received(tuple(spans), resource, headers, body)
