"""The trace of a generation, derived from its id, so that anyone who has the one finds the other."""

import hashlib
import re
from dataclasses import dataclass

from exporter.domain.values import GenerationId, is_uuid

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A caller's span: ids in lower-case hexadecimal, and whether the caller records its trace."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(text: str) -> TraceParent | None:
    """Parse the header `traceparent` of W3C Trace Context (section 3.2); None where it is not a valid one."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    # Version 00 ends after the flags; later ones may go on, and ff is forbidden.
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return TraceParent(trace, span, bool(int(flags, 16) & 1))


def trace_id(id: GenerationId, traceparent: str | None = None) -> str:
    """Return 32 hexadecimal digits: the caller's trace id where its `traceparent` was registered, the id's
    own 128 bits where it is a UUID, the first 16 bytes of SHA-256 of `vivix-generation:<id>` otherwise (the
    contract, section Traces)."""
    parent = parse_traceparent(traceparent) if traceparent else None
    if parent is not None:
        return parent.trace_id
    digits = id.replace("-", "").lower() if is_uuid(id) else ""
    # An all-zero trace id is invalid by W3C Trace Context.
    if digits.strip("0"):
        return digits
    return hashlib.sha256(f"vivix-generation:{id}".encode()).digest()[:16].hex()
