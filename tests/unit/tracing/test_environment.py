"""Where traces go, and what is said about variables that make no sense."""

from pathlib import Path

import pytest

from exporter.config.schema import Tracing
from exporter.errors import ConfigError
from exporter.tracing.environment import Choice, Destination, Protocol, choose

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
SECRET = "token-of-somebody"


@pytest.mark.parametrize(
    ("configured", "environment", "destination"),
    [
        (None, {}, Destination.NONE),
        (None, ENDPOINT, Destination.OTLP),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, Destination.OTLP),
        (None, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318"}, Destination.NONE),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, Destination.NONE),
        (None, {"OTEL_TRACES_EXPORTER": "console"}, Destination.CONSOLE),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, Destination.OTLP),
        (None, ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, Destination.NONE),
        ("otlp", {}, Destination.OTLP),
        ("otlp", {"OTEL_TRACES_EXPORTER": "none"}, Destination.OTLP),
        ("none", ENDPOINT, Destination.NONE),
        ("otlp", ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, Destination.NONE),
    ],
)
def test_where_traces_go(
    configured: str | None, environment: dict[str, str], destination: Destination
) -> None:
    choice = choose(Tracing.model_validate({"exporter": configured}), environment)
    assert choice.destination is destination
    assert choice.traced == (destination is not Destination.NONE)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, Protocol.HTTP),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, Protocol.GRPC),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            Protocol.HTTP,
        ),
    ],
)
def test_which_protocol_is_spoken(environment: dict[str, str], protocol: Protocol) -> None:
    assert choose(Tracing(exporter="otlp"), environment) == Choice(Destination.OTLP, protocol)


def test_grpc_takes_an_endpoint_without_a_scheme() -> None:
    environment = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}
    assert choose(Tracing(), environment).protocol is Protocol.GRPC


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"{SECRET}:4318", "a URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://{SECRET}:port", "a URL"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf or grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "a number of seconds"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "a number of seconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "a number of seconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "none, gzip, deflate"),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET, "name=value"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "a file that exists"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp, console or none"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name", "name=value"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "a whole number"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long", "a whole number"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused_by_name(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(Tracing(), ENDPOINT | {name: value})
    assert str(caught.value).startswith(f"{name}: expected ")
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = {"OTEL_TRACES_SAMPLER": "x", "OTEL_EXPORTER_OTLP_TIMEOUT": "x"}
    with pytest.raises(ConfigError) as caught:
        choose(Tracing(), ENDPOINT | wrong)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == list(wrong)


def test_without_traces_the_variables_are_nobody_s_business() -> None:
    assert choose(Tracing(exporter="none"), {"OTEL_TRACES_SAMPLER": "x"}).destination is Destination.NONE


def test_what_makes_sense_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example:443/base",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x, x-scope = 1,",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
        "OTEL_RESOURCE_ATTRIBUTES": "a=b,c=d=e",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64",
    }
    assert choose(Tracing(), environment) == Choice(Destination.OTLP, Protocol.HTTP)
