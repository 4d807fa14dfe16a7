"""What a collector's HTTP answer to spans means, which the SDK's exporter does not distinguish.

To that exporter every answer below 400 is a success: a redirect, a login page, and one that reports spans as
rejected. OTLP: https://opentelemetry.io/docs/specs/otlp/, section OTLP/HTTP Response.
"""

import json
import math
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter.tracing.sender import Outcome, Sent

MAX_BODY = 64 << 10
"""Bytes read of an answer; an honest one has a few."""
MAX_RETRY_AFTER = 900.0
"""Longest Retry-After that is honoured, in seconds."""

_ABOUT_THE_REQUEST = (401, 403, 404, 405, 407, 408, 429, 502, 503, 504)
"""Statuses that are not about the spans: a key, an address or a proxy is wrong, or it is temporary."""


class NotExportedError(Exception):
    """Stops the SDK's own retries: those are scheduled where the spans are kept."""


class Session(requests.Session):
    """The SDK exporter's connections. `last` is the outcome of the last request, None before the first."""

    last: Sent | None = None

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Make one request. Raises NotExportedError unless the spans have arrived."""
        try:
            # Streamed, so that an answer without end does not fill the memory.
            with super().request(*args, **{**kwargs, "stream": True}) as response:
                body = next(response.iter_content(MAX_BODY), b"")
                self.last = judge(response.status_code, response.headers, body)
        except requests.RequestException as error:
            self.last = Sent(Outcome.AWAY, _reason(error))
            raise NotExportedError(self.last.said) from error
        if self.last.outcome is not Outcome.EXPORTED:
            raise NotExportedError(self.last.said)
        return response


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Sent:
    """Return what an answer means for the spans that were sent."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _judge_success(headers.get("Content-Type", ""), body)
    said = f"HTTP {status}"
    if status < HTTPStatus.BAD_REQUEST or status in _ABOUT_THE_REQUEST:
        return Sent(Outcome.AWAY, said, _retry_after(headers))
    return Sent(Outcome.REFUSED, said)


def _judge_success(content_type: str, body: bytes) -> Sent:
    try:
        rejected, why = _partial_json(body) if "json" in content_type.lower() else _partial(body)
    except (DecodeError, ValueError, TypeError):
        return Sent(Outcome.AWAY, "the answer is not OTLP; is the endpoint that of a collector?")
    if rejected > 0:
        return Sent(Outcome.REFUSED, f"{rejected} spans were rejected" + (f": {why}" if why else ""))
    return Sent(Outcome.EXPORTED)


def _partial(body: bytes) -> tuple[int, str]:
    partial = ExportTraceServiceResponse.FromString(body).partial_success
    return partial.rejected_spans, _one_line(partial.error_message)


def _partial_json(body: bytes) -> tuple[int, str]:
    """Some receivers answer in JSON whatever they were sent."""
    answer = json.loads(body or b"{}")
    partial = answer.get("partialSuccess") or {} if isinstance(answer, dict) else None
    if not isinstance(partial, dict):
        raise ValueError("no answer")
    return int(partial.get("rejectedSpans") or 0), _one_line(str(partial.get("errorMessage") or ""))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After (RFC 9110, section 10.2.3); a date counts from the answer's."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
        except (TypeError, ValueError):
            return None
        seconds = until.total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def _reason(error: requests.RequestException) -> str:
    """Return why no answer came, without the address, which may hold a secret."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    causes = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror)
    return next(causes, type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, which the libraries nest in several ways."""
    cause: object = error
    for _ in range(10):
        if not isinstance(cause, BaseException):
            return
        yield cause
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
