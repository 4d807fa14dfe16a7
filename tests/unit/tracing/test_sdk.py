"""The SDK behind the sender: its variables hold, and nothing of it is installed globally."""

import json
import logging
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from random import Random

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from exporter.domain.values import (
    AccountName,
    End,
    Generation,
    GenerationId,
    Source,
    Status,
    Via,
)
from exporter.errors import ConfigError
from exporter.tracing import Choice, Destination, Sender, open_sender, trace_of
from exporter.tracing.environment import Protocol
from exporter.tracing.sender import Outcome
from exporter.tracing.spans import Trace

S = 1_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
END = End(Status.FAILED, 20 * S, 21 * S, Via.POLL, 10 * S, 0, 0, "TIMEOUT", "It took too long.")
FAILED = Generation(
    AccountName("studio"),
    GenerationId("5b91a581-ee19-4f86-9fea-bd29471d69d5"),
    Source.API,
    0,
    Status.FAILED,
    created_us=10 * S,
    processing_us=12 * S,
    processing_uncertainty_us=1 * S,
    end=END,
)


class Console:
    """A sender that prints, and what it has printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    @cached_property
    def sender(self) -> Sender:
        """Opened by the test that needs it: a fixture has another standard output."""
        return open_sender(Choice(Destination.CONSOLE), "1.2.3")

    def send(self, *traces: Trace) -> tuple[list[dict[str, object]], list[bool]]:
        """The spans that were printed, and which traces the sampler let through."""
        sent = self.sender.send(traces)
        assert sent.outcome is Outcome.EXPORTED
        text, decoder, spans = self._capsys.readouterr().out.strip(), json.JSONDecoder(), []
        while text:
            span, length = decoder.raw_decode(text)
            spans.append(span)
            text = text[length:].strip()
        return spans, list(sent.recorded)


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Iterator[Console]:
    one = Console(capsys)
    yield one
    one.sender.stop()


def resource_of(span: dict[str, object]) -> dict[str, object]:
    return span["resource"]["attributes"]  # type: ignore[index, no-any-return]


def test_a_trace_becomes_the_sdk_s_spans(console: Console) -> None:
    spans, recorded = console.send(trace_of(FAILED))
    assert recorded == [True]
    root = next(span for span in spans if span["parent_id"] is None)
    assert root["status"] == {"status_code": "ERROR", "description": "It took too long."}
    assert {span["name"] for span in spans} == {"generate_content", "queued", "processing"}
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{FAILED.id.replace('-', '')}"}  # type: ignore[index]
    assert resource_of(root)["service.name"] == "vivix-exporter"
    assert resource_of(root)["service.version"] == "1.2.3"


def test_a_repeat_is_the_same_spans(console: Console) -> None:
    assert console.send(trace_of(FAILED)) == console.send(trace_of(FAILED))


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SERVICE_NAME": "pictures"},
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=pictures,service.version=7"},
    ],
)
def test_the_environment_names_the_service(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = Console(capsys)
    spans, _ = console.send(trace_of(FAILED))
    console.sender.stop()
    assert resource_of(spans[0])["service.name"] == "pictures"
    expected = "7" if len(variables) == 1 and "OTEL_RESOURCE_ATTRIBUTES" in variables else "1.2.3"
    assert resource_of(spans[0])["service.version"] == expected


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_a_ratio_of_the_generations_is_sampled_the_same_ones_each_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sampler: str, ratio: float
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(ratio))
    rng = Random(3)
    ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(500)]
    traces = [trace_of(replace(FAILED, id=GenerationId(id))) for id in ids]
    console = Console(capsys)
    spans, recorded = console.send(*traces)
    _, again = console.send(*traces)
    console.sender.stop()
    assert recorded == again
    assert abs(sum(recorded) / 500 - ratio) < 0.07
    # All spans of a trace, or none.
    assert len(spans) == 3 * sum(recorded)


def test_in_a_caller_s_trace_a_ratio_decides_as_it_does_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    rng = Random(4)
    callers = [f"{rng.getrandbits(128):032x}" for _ in range(50)]
    console = Console(capsys)
    traces = [trace_of(replace(FAILED, traceparent=f"00-{caller}-{SPAN}-01")) for caller in callers]
    _, recorded = console.send(*traces)
    console.sender.stop()
    there = TraceIdRatioBased(0.5)
    decisions = [there.should_sample(None, int(caller, 16), "x").decision for caller in callers]
    assert recorded == [decision is Decision.RECORD_AND_SAMPLE for decision in decisions]


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False)])
def test_the_caller_s_decision_is_respected(console: Console, flags: str, sampled: bool) -> None:
    traceparent = f"00-{TRACE}-{SPAN}-{flags}"
    spans, recorded = console.send(trace_of(replace(FAILED, traceparent=traceparent)))
    assert recorded == [sampled]
    assert len(spans) == (3 if sampled else 0)
    if sampled:
        assert f"0x{SPAN}" in [span["parent_id"] for span in spans]


def test_nothing_is_installed_globally(console: Console) -> None:
    before = api.get_tracer_provider()
    console.send(trace_of(FAILED))
    assert api.get_tracer_provider() is before
    assert not api.get_current_span().get_span_context().is_valid


def test_the_sdk_s_log_is_quiet_while_it_is_in_use_and_as_before_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("opentelemetry")
    handlers = list(logger.handlers)
    sender = Console(capsys).sender
    assert not logger.propagate
    sender.stop()
    assert logger.propagate
    assert logger.handlers == handlers


def test_what_only_the_sdk_finds_wrong_is_an_error_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "-3")
    with pytest.raises(ConfigError, match="rejects its configuration"):
        open_sender(Choice(Destination.CONSOLE), "1.2.3")
    assert logging.getLogger("opentelemetry").propagate


def test_without_its_extra_grpc_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"vivix-exporter\[grpc\]"):
        open_sender(Choice(Destination.OTLP, Protocol.GRPC), "1.2.3")
