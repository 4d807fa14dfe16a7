"""What the spans of a generation are: names, ids, times and attributes, all from what the store holds of it.

Pure, so a repeated export is the same spans again. Times are Unix nanoseconds, ids lower-case hexadecimal.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import urlsplit

from exporter.clock import MICROS
from exporter.domain.traceid import TraceParent, parse_traceparent, trace_id
from exporter.domain.values import Generation, GenerationId
from exporter.tracing import attributes as names

Value = str | int | float | Sequence[str]

_LATEST_US = (2**63 - 1) // 1_000
"""The latest time that fits into what collectors store: in the year 2262."""
_PORTS = {"http": 80, "https": 443}


class Kind(Enum):
    """The kinds of span in use."""

    CLIENT = auto()
    INTERNAL = auto()


@dataclass(frozen=True, slots=True)
class Server:
    """Where an account's API is."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Span:
    """One span. `message` goes with an error."""

    name: str
    kind: Kind
    id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    error: bool = False
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A generation's spans. `parent` is the caller's span, where its trace is joined."""

    id: str
    parent: TraceParent | None
    root: Span
    children: Sequence[Span] = field(default=())


def server_of(base_url: str) -> Server | None:
    """Return host and port of a URL, or None where it has none."""
    url = urlsplit(base_url)
    port = url.port or _PORTS.get(url.scheme)
    return Server(url.hostname, port) if url.hostname and port else None


def span_id(id: GenerationId, part: str) -> str:
    """Return the id of the span `generation`, `queued` or `processing` (the contract, section Traces)."""
    return hashlib.sha256(f"{id}/{part}".encode()).digest()[:8].hex()


def trace_of(
    generation: Generation,
    category: str | None = None,
    server: Server | None = None,
    output_urls: Sequence[str] = (),
) -> Trace:
    """Return the spans of a generation that ended or was dropped, and whose creation is known. `category` is
    its model's. Raises ValueError where either time is unknown."""
    created_us, ended_us = generation.created_us, generation.ended_us
    if created_us is None or ended_us is None:
        raise ValueError(f"generation {generation.id} has no beginning or no end")
    ended_us = max(created_us, ended_us)
    traceparent = generation.traceparent
    end, drop = generation.end, generation.drop
    error = end.reason if end is not None else drop.reason.value if drop is not None else None
    root = Span(
        name=f"{names.GENERATE_CONTENT} {generation.model}" if generation.model else names.GENERATE_CONTENT,
        kind=Kind.CLIENT,
        id=span_id(generation.id, "generation"),
        start_ns=_nanos(created_us),
        end_ns=_nanos(ended_us),
        attributes=_attributes(generation, error, category, server, output_urls),
        error=error is not None,
        message=end.message if end is not None else None,
    )
    return Trace(
        id=trace_id(generation.id, traceparent),
        parent=parse_traceparent(traceparent) if traceparent else None,
        root=root,
        children=_children(generation, created_us, ended_us),
    )


def _nanos(at_us: int) -> int:
    return min(max(at_us, 0), _LATEST_US) * 1_000


def _children(generation: Generation, created_us: int, ended_us: int) -> tuple[Span, ...]:
    if generation.processing_us is None:
        return ()
    # Observed late, or by another clock: a child does not reach beyond its root.
    split_us = min(max(generation.processing_us, created_us), ended_us)
    uncertainty = {names.UNCERTAINTY_MS: (generation.processing_uncertainty_us or 0) / 1_000}
    parts = (("queued", created_us, split_us), ("processing", split_us, ended_us))
    return tuple(
        Span(
            part,
            Kind.INTERNAL,
            span_id(generation.id, part),
            _nanos(start_us),
            _nanos(end_us),
            uncertainty,
        )
        for part, start_us, end_us in parts
    )


def _attributes(
    generation: Generation,
    error: str | None,
    category: str | None,
    server: Server | None,
    output_urls: Sequence[str],
) -> dict[str, Value]:
    end, estimate = generation.end, generation.credits_estimate_micro
    known: dict[str, Value | None] = {
        names.OPERATION: names.GENERATE_CONTENT,
        names.PROVIDER: names.VIVIX,
        names.MODEL: generation.model,
        names.OUTPUT_TYPE: category,
        names.RESPONSE_ID: generation.id,
        names.SERVER_ADDRESS: server.address if server else None,
        names.SERVER_PORT: server.port if server else None,
        names.ERROR_TYPE: error,
        names.ACCOUNT: generation.account,
        names.STATUS: generation.status.value if generation.status else None,
        names.CREDITS_ESTIMATE: None if estimate is None else estimate / MICROS,
        names.POLLS: generation.polls,
    }
    if end is not None:
        known |= {
            names.DURATION_MS: None if end.duration_us is None else round(end.duration_us / 1_000),
            names.CREDITS_USED: end.credits_used_micro / MICROS,
            names.OUTPUTS: end.outputs,
            names.OBSERVED_VIA: end.via.value,
            names.OUTPUT_URLS: tuple(output_urls) or None,
        }
    return {name: value for name, value in known.items() if value is not None}
