"""One OpenTelemetry trace for each generation, exported from the store's outbox at least once."""

from exporter.tracing.environment import Choice, Destination, choose
from exporter.tracing.export import SpanExport
from exporter.tracing.opening import open_sender
from exporter.tracing.sender import Sender
from exporter.tracing.spans import Server, server_of, trace_of

__all__ = [
    "Choice",
    "Destination",
    "Sender",
    "Server",
    "SpanExport",
    "choose",
    "open_sender",
    "server_of",
    "trace_of",
]
