"""From a generation's id to its trace, so that anyone who has the one finds the other."""

import hashlib
import re

from exporter.values import GenerationId

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def trace_id(id: GenerationId) -> str:
    """32 hexadecimal digits: the id's own 128 bits where it is a UUID, the first 16 bytes of SHA-256 of
    `vivix-generation:<id>` otherwise (the contract, section Traces)."""
    digits = id.replace("-", "").lower() if _UUID.fullmatch(id) else ""
    # An all-zero trace id is invalid by W3C Trace Context.
    if digits.strip("0"):
        return digits
    return hashlib.sha256(f"vivix-generation:{id}".encode()).digest()[:16].hex()
