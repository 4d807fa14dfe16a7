"""One OpenTelemetry trace for each generation, delivered from the store's outbox at least once."""

from exporter.tracing.environment import Choice, Destination, choose
from exporter.tracing.export import Delivery
from exporter.tracing.opening import open_sender
from exporter.tracing.sender import Sender
from exporter.tracing.spans import Server, server_of, trace_of

__all__ = [
    "Choice",
    "Delivery",
    "Destination",
    "Sender",
    "Server",
    "choose",
    "open_sender",
    "server_of",
    "trace_of",
]
