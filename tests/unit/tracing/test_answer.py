"""What a collector's answer means for the spans that were sent."""

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter.tracing.answer import MAX_RETRY_AFTER, judge
from exporter.tracing.sender import Outcome

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


def partial(rejected: int, message: str = "") -> bytes:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, b""),
        ({}, b""),
        (PROTOBUF, partial(0, "please upgrade")),
        (JSON, b"{}"),
        (JSON, b'{"partialSuccess": {"rejectedSpans": "0"}}'),
        (JSON, b'{"partialSuccess": null}'),
    ],
)
def test_a_success_is_one(headers: dict[str, str], body: bytes) -> None:
    assert judge(200, headers, body).outcome is Outcome.EXPORTED


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (PROTOBUF, partial(3, "too\n ugly")),
        (JSON, json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too ugly"}}).encode()),
    ],
)
def test_a_partial_success_is_a_refusal(headers: dict[str, str], body: bytes) -> None:
    sent = judge(200, headers, body)
    assert sent.outcome is Outcome.REFUSED
    assert sent.said == "3 spans were rejected: too ugly"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/html"}, b"<html>Please log in</html>"),
        ({"Content-Type": "text/plain"}, b"ok"),
        (JSON, b"not json"),
        (JSON, b"[]"),
        (JSON, b'{"partialSuccess": {"rejectedSpans": "many"}}'),
        (PROTOBUF, b"\xff\xff\xff"),
    ],
)
def test_what_is_not_otlp_is_no_success(headers: dict[str, str], body: bytes) -> None:
    sent = judge(200, headers, body)
    assert sent.outcome is Outcome.AWAY
    assert "not OTLP" in sent.said


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 408, 429, 502, 503, 504])
def test_these_say_nothing_about_the_spans(status: int) -> None:
    sent = judge(status, {}, b"")
    assert (sent.outcome, sent.said, sent.retry_after) == (Outcome.AWAY, f"HTTP {status}", None)


@pytest.mark.parametrize("status", [400, 413, 422, 500, 501])
def test_these_are_about_the_spans(status: int) -> None:
    assert judge(status, {}, b"").outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "-7"}, 0.0),
        ({"Retry-After": "1e9"}, MAX_RETRY_AFTER),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 13:00:30 GMT"}, None),
        (
            {"Retry-After": "Tue, 24 Nov 2026 13:00:30 GMT", "Date": "Tue, 24 Nov 2026 13:00:00 GMT"},
            30.0,
        ),
    ],
)
def test_a_collector_may_ask_for_time(headers: dict[str, str], seconds: float | None) -> None:
    assert judge(503, headers, b"").retry_after == seconds
