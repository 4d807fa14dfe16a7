"""The shape of a generation's spans, from what the store holds of it."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.traceid import TraceParent
from exporter.domain.values import (
    AccountName,
    Drop,
    DropReason,
    End,
    Generation,
    GenerationId,
    Source,
    Status,
    Via,
)
from exporter.tracing.spans import Kind, Server, Trace, server_of, trace_of

ID = "5b91a581-ee19-4f86-9fea-bd29471d69d5"
S = 1_000_000
CREATED = 1_778_416_496 * S

COMPLETED = Generation(
    account=AccountName("studio"),
    id=GenerationId(ID),
    source=Source.API,
    discovered_us=CREATED,
    status=Status.COMPLETED,
    model="grok-imagine-image-quality",
    created_us=CREATED,
    credits_estimate_micro=211 * S,
    processing_us=CREATED + 4_200_000,
    processing_uncertainty_us=1_500_500,
    polls=3,
    end=End(
        status=Status.COMPLETED,
        at_us=CREATED + 12 * S,
        recorded_us=CREATED + 14 * S,
        via=Via.POLL,
        duration_us=12_420_000,
        credits_used_micro=211 * S,
        outputs=2,
        reason=None,
        message=None,
    ),
)
FAILED = replace(
    COMPLETED,
    status=Status.FAILED,
    end=End(
        status=Status.FAILED,
        at_us=CREATED + 5 * S,
        recorded_us=CREATED + 6 * S,
        via=Via.WEBHOOK,
        duration_us=5 * S,
        credits_used_micro=0,
        outputs=0,
        reason="PROVIDER_ERROR",
        message="Underlying model returned an error.",
    ),
)
DROPPED = replace(
    COMPLETED, status=Status.PROCESSING, end=None, drop=Drop(DropReason.GAVE_UP, CREATED + 90 * S)
)


def names(trace: Trace) -> list[str]:
    return [trace.root.name, *(child.name for child in trace.children)]


def test_a_completed_generation_lasts_its_duration_to_the_nanosecond() -> None:
    trace = trace_of(COMPLETED, "image", Server("vivix.example", 443))
    root = trace.root
    assert trace.id == ID.replace("-", "")
    assert trace.parent is None
    assert root.name == "generate_content grok-imagine-image-quality"
    assert root.kind is Kind.CLIENT
    assert (root.start_ns, root.end_ns) == (CREATED * 1_000, (CREATED + 12_420_000) * 1_000)
    assert (root.error, root.message) == (False, None)
    assert root.attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "vivix",
        "gen_ai.request.model": "grok-imagine-image-quality",
        "gen_ai.output.type": "image",
        "gen_ai.response.id": ID,
        "server.address": "vivix.example",
        "server.port": 443,
        "vivix.account": "studio",
        "vivix.generation.status": "completed",
        "vivix.generation.duration_ms": 12_420,
        "vivix.credits.used": 211.0,
        "vivix.credits.estimate": 211.0,
        "vivix.outputs": 2,
        "vivix.polls": 3,
        "vivix.observed.via": "poll",
    }


def test_span_ids_come_from_the_generation_s_id_alone() -> None:
    trace = trace_of(COMPLETED)
    parts = ("generation", "queued", "processing")
    expected = [hashlib.sha256(f"{ID}/{part}".encode()).hexdigest()[:16] for part in parts]
    assert [trace.root.id, *(child.id for child in trace.children)] == expected
    # By `printf 5b91a581-ee19-4f86-9fea-bd29471d69d5/generation | sha256sum`.
    assert trace.root.id == "149d302eecf06df4"


def test_the_parts_meet_where_processing_was_first_seen() -> None:
    queued, processing = trace_of(COMPLETED).children
    assert (queued.name, queued.kind) == ("queued", Kind.INTERNAL)
    assert (queued.start_ns, queued.end_ns) == (CREATED * 1_000, (CREATED + 4_200_000) * 1_000)
    assert (processing.name, processing.start_ns) == ("processing", queued.end_ns)
    assert processing.end_ns == (CREATED + 12_420_000) * 1_000
    for part in (queued, processing):
        assert part.attributes == {"vivix.observation.uncertainty_ms": 1_500.5}


def test_without_an_observation_there_are_no_parts() -> None:
    assert trace_of(replace(COMPLETED, processing_us=None)).children == ()


def test_a_failure_says_why() -> None:
    root = trace_of(FAILED).root
    assert (root.error, root.message) == (True, "Underlying model returned an error.")
    assert root.attributes["error.type"] == "PROVIDER_ERROR"
    assert root.attributes["vivix.observed.via"] == "webhook"
    assert root.end_ns == (CREATED + 5 * S) * 1_000


def test_a_dropped_generation_has_its_span_until_the_drop() -> None:
    trace = trace_of(DROPPED)
    assert trace.root.end_ns == (CREATED + 90 * S) * 1_000
    assert trace.root.error
    assert trace.root.attributes["error.type"] == "gave_up"
    assert trace.root.attributes["vivix.generation.status"] == "processing"
    assert "vivix.credits.used" not in trace.root.attributes
    assert names(trace)[1:] == ["queued", "processing"]


def test_an_end_after_a_drop_is_what_counts() -> None:
    root = trace_of(replace(COMPLETED, drop=DROPPED.drop)).root
    assert not root.error
    assert root.end_ns == (CREATED + 12_420_000) * 1_000


def test_what_nobody_knows_is_left_out() -> None:
    root = trace_of(replace(FAILED, model=None, credits_estimate_micro=None)).root
    assert root.name == "generate_content"
    for name in ("gen_ai.request.model", "gen_ai.output.type", "server.address", "vivix.credits.estimate"):
        assert name not in root.attributes


def test_output_urls_are_told_only_where_they_are_given() -> None:
    assert "vivix.output.urls" not in trace_of(COMPLETED).root.attributes
    told = trace_of(COMPLETED, output_urls=("https://pub.example/a.jpg",)).root.attributes
    assert told["vivix.output.urls"] == ("https://pub.example/a.jpg",)


def test_the_caller_s_span_is_the_parent() -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    trace = trace_of(replace(COMPLETED, traceparent=f"00-{trace_id}-{span_id}-00"))
    assert trace.id == trace_id
    assert trace.parent == TraceParent(trace_id, span_id, sampled=False)
    assert trace_of(replace(COMPLETED, traceparent="nonsense")).parent is None


@given(st.integers(-100 * S, 200 * S), st.integers(-100 * S, 200 * S))
def test_no_part_reaches_beyond_the_whole_whatever_the_clocks_say(processing_us: int, drop_us: int) -> None:
    drop = Drop(DropReason.GAVE_UP, CREATED + drop_us)
    trace = trace_of(replace(DROPPED, processing_us=CREATED + processing_us, drop=drop))
    queued, processing = trace.children
    root = trace.root
    assert root.start_ns == queued.start_ns <= queued.end_ns == processing.start_ns
    assert processing.start_ns <= processing.end_ns == root.end_ns


@pytest.mark.parametrize(("created_us", "start_ns"), [(-S, 0), (10**18, (2**63 - 1) // 1_000 * 1_000)])
def test_an_absurd_time_is_the_nearest_that_a_span_can_have(created_us: int, start_ns: int) -> None:
    root = trace_of(replace(COMPLETED, created_us=created_us)).root
    assert root.start_ns == start_ns <= root.end_ns


@pytest.mark.parametrize(
    "generation", [replace(COMPLETED, created_us=None), replace(COMPLETED, end=None)], ids=["start", "end"]
)
def test_without_a_beginning_or_an_end_there_is_no_span(generation: Generation) -> None:
    with pytest.raises(ValueError, match="no beginning or no end"):
        trace_of(generation)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://vivix-atelier.vercel.app", Server("vivix-atelier.vercel.app", 443)),
        ("http://127.0.0.1:8080/base", Server("127.0.0.1", 8080)),
        ("http://[::1]", Server("::1", 80)),
        ("nonsense", None),
    ],
)
def test_the_server_is_that_of_the_account(url: str, server: Server | None) -> None:
    assert server_of(url) == server
