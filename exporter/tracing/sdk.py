"""The OpenTelemetry SDK: descriptions of spans become its spans, which its exporter sends.

Everything here is the SDK's public interface, so sampler, resource, limits and endpoint are as its users
know them from the `OTEL_*` variables. Nothing is installed globally, and nothing is instrumented.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from exporter.domain.traceid import TraceParent
from exporter.errors import ConfigError
from exporter.tracing.answer import NotExportedError, Session
from exporter.tracing.environment import Choice, Destination, Protocol
from exporter.tracing.sender import Outcome, Sent
from exporter.tracing.spans import Kind, Span, Trace

SERVICE = "vivix-exporter"
"""The resource's `service.name`, unless the environment names another."""

_KINDS = {Kind.CLIENT: SpanKind.CLIENT, Kind.INTERNAL: SpanKind.INTERNAL}
_CREDENTIALS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
"""With one of these, the SDK's exporter makes connections of its own."""

_log = structlog.get_logger("exporter.tracing")


class SdkSender:
    """A `Sender` that uses the SDK."""

    def __init__(self, choice: Choice, version: str) -> None:
        """Raises ConfigError, or ValueError, OSError or RuntimeError for what only the SDK rejects."""
        self._session: Session | None = None
        self._exporter = self._open(choice)
        self._ids = _GivenIds()
        self._ended = _Ended()
        # A provider that is given no sampler uses that of the environment.
        plain = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        self._sampler = _Spread(plain.sampler)
        self._provider = TracerProvider(
            sampler=self._sampler,
            resource=_resource(version),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._ended)
        self._tracer: Tracer = self._provider.get_tracer(SERVICE, version)
        self._said = _LastWord()
        self._said.listen()

    def send(self, traces: Sequence[Trace]) -> Sent:
        """Send a batch in one attempt, of about OTEL_EXPORTER_OTLP_TIMEOUT at most."""
        recorded = [self._record(trace) for trace in traces]
        spans = [span for one in recorded for span in one]
        sent = self._export(spans) if spans else Sent(Outcome.EXPORTED)
        return replace(sent, recorded=tuple(map(bool, recorded)))

    def stop(self) -> None:
        self._exporter.shutdown()
        self._provider.shutdown()
        self._said.close()

    def _open(self, choice: Choice) -> SpanExporter:
        if choice.destination is Destination.CONSOLE:
            return ConsoleSpanExporter(out=sys.stdout)
        if choice.protocol is Protocol.GRPC:
            return _grpc_exporter()
        if not any(os.environ.get(name) for name in _CREDENTIALS):
            self._session = Session()
        return OTLPSpanExporter(session=self._session)

    def _export(self, spans: Sequence[ReadableSpan]) -> Sent:
        self._said.forget()
        if self._session is not None:
            self._session.last = None
        try:
            result = self._exporter.export(spans)
        except NotExportedError:
            result = SpanExportResult.FAILURE
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises, the spans are still there
            return Sent(Outcome.UNKNOWN, type(error).__name__)
        last = self._session.last if self._session is not None else None
        if last is not None:
            return last
        if result is SpanExportResult.SUCCESS:
            return Sent(Outcome.EXPORTED)
        return Sent(Outcome.UNKNOWN, self._said.last or "the OpenTelemetry SDK gives no reason")

    def _record(self, trace: Trace) -> list[ReadableSpan]:
        """Return the SDK's spans of a trace; none where it is not sampled."""
        context = _context_of(trace.parent)
        self._ids.trace_id = int(trace.id, 16)
        self._sampler.spreads = trace.parent is None
        root = self._start(trace.root, context)
        inside = set_span_in_context(root, context)
        for child in trace.children:
            self._start(child, inside).end(child.end_ns)
        root.end(trace.root.end_ns)
        return self._ended.take()

    def _start(self, span: Span, context: Context) -> SdkSpan:
        self._ids.span_id = int(span.id, 16)
        started = self._tracer.start_span(
            span.name, context, _KINDS[span.kind], attributes=span.attributes, start_time=span.start_ns
        )
        if span.error:
            started.set_status(Status(StatusCode.ERROR, span.message))
        return started


class _GivenIds(IdGenerator):
    """An id generator that returns the ids set here for the next span."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Spread(Sampler):
    """Another sampler, given evenly spread trace ids in place of those that are a generation's id.

    The SDK takes a ratio of the lower 64 bits, and the upper two of these are the same in every UUID: a ratio
    of 0.5 would sample none, and one of 0.75 all. In a caller's trace its own id decides, as it does there.
    """

    spreads = True

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        if self.spreads:
            digest = hashlib.sha256(trace_id.to_bytes(16, "big")).digest()
            trace_id = int.from_bytes(digest[:16], "big")
        return self._sampler.should_sample(parent_context, trace_id, *args, **kwargs)

    def get_description(self) -> str:
        return self._sampler.get_description()


class _Ended(SpanProcessor):
    """Sampled spans as they end, so that they can be exported as one batch with one result."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """Return the spans that have ended since the last call."""
        taken, self._spans = self._spans, []
        return taken


class _LastWord(logging.Handler):
    """What the SDK logged last. All of it is passed on at debug level: the SDK logs each failure, where
    one line when the export begins to fail is enough."""

    last: str | None = None

    def listen(self) -> None:
        """Replace the handlers of the loggers above."""
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def close(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.removeHandler(self)
        logger.propagate = True
        super().close()

    def forget(self) -> None:
        self.last = None

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
        _log.debug("log line of the OpenTelemetry SDK", line=self.last)


def _context_of(parent: TraceParent | None) -> Context:
    """Return the context in which a generation's span starts: the caller's span, or none."""
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    caller = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _resource(version: str) -> Resource:
    """Return the resource of this process: the environment's attributes over the defaults."""
    resource = Resource({SERVICE_VERSION: version}).merge(Resource.create())
    # The SDK's default, where no name is configured.
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    return resource


def _grpc_exporter() -> SpanExporter:
    try:
        module = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    except ImportError:
        raise ConfigError(
            "OTLP over gRPC needs another package: pip install 'vivix-exporter[grpc]', or set "
            "OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf"
        ) from None
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter
