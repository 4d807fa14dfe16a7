"""Where traces go, by the configuration and the `OTEL_*` variables, checked before the SDK reads them.

With an invalid variable the SDK itself falls back to a default, or raises where nothing catches it.
Values are never shown: headers hold tokens, and an endpoint may.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from exporter.config.schema import Tracing
from exporter.errors import ConfigError

Environment = Mapping[str, str]
Check = Callable[[str], str | None]
"""Returns what was expected of an invalid value, None for a valid one."""


class Destination(StrEnum):
    """Where finished traces are exported to."""

    OTLP = "otlp"
    CONSOLE = "console"
    NONE = "none"


class Protocol(StrEnum):
    """Transports of OTLP."""

    HTTP = "http/protobuf"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Choice:
    """Destination and protocol of traces."""

    destination: Destination
    protocol: Protocol = Protocol.HTTP

    @property
    def traced(self) -> bool:
        """Whether traces are exported at all."""
        return self.destination is not Destination.NONE


def choose(tracing: Tracing, environment: Environment) -> Choice:
    """Return what `tracing.exporter` names; without it, what OTEL_TRACES_EXPORTER names; without that, OTLP
    where the environment names an endpoint. Raises ConfigError, with a line for each invalid variable."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Choice(Destination.NONE)
    destination = _destination(tracing, environment)
    if destination is Destination.NONE:
        return Choice(destination)
    problems = list(_problems(_ALWAYS, environment))
    protocol = Protocol.HTTP
    if destination is Destination.OTLP:
        protocol = _protocol(environment)
        problems.extend(_problems(_OTLP | _OF_PROTOCOL[protocol], environment))
    if problems:
        raise ConfigError("\n".join(problems))
    return Choice(destination, protocol)


def _destination(tracing: Tracing, environment: Environment) -> Destination:
    if tracing.exporter is not None:
        return Destination(tracing.exporter)
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if named:
        if named not in list(Destination):
            raise ConfigError("OTEL_TRACES_EXPORTER: expected otlp, console or none")
        return Destination(named)
    endpoint = any(environment.get(name) for name in _both("ENDPOINT"))
    return Destination.OTLP if endpoint else Destination.NONE


def _protocol(environment: Environment) -> Protocol:
    general, special = _both("PROTOCOL")
    name = special if environment.get(special) else general
    value = environment.get(name) or Protocol.HTTP.value
    if value not in list(Protocol):
        raise ConfigError(f"{name}: expected http/protobuf or grpc; other protocols are not supported")
    return Protocol(value)


def _problems(checks: Mapping[str, Check], environment: Environment) -> Iterator[str]:
    for name, check in checks.items():
        value = environment.get(name, "").strip()
        expected = check(value) if value else None
        if expected is not None:
            yield f"{name}: expected {expected}"


def _both(setting: str) -> tuple[str, str]:
    """Return the variable for all signals, and the one for traces, which has precedence."""
    return f"OTEL_EXPORTER_OTLP_{setting}", f"OTEL_EXPORTER_OTLP_TRACES_{setting}"


def _one_of(*values: str) -> Check:
    return lambda value: None if value.lower() in values else f"one of {', '.join(values)}"


def _number(low: float, high: float, meaning: str) -> Check:
    def check(value: str) -> str | None:
        try:
            number = float(value)
        except ValueError:
            return meaning
        return None if low <= number <= high else meaning

    return check


def _count(value: str) -> str | None:
    return None if value.isascii() and value.isdecimal() else "a whole number"


def _pairs(value: str) -> str | None:
    pairs = (pair for pair in value.split(",") if pair.strip())
    whole = all(pair.partition("=")[0].strip() and "=" in pair for pair in pairs)
    return None if whole else "a list such as name=value,name=value"


def _url(value: str) -> str | None:
    try:
        url = urlsplit(value)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    return None if usable else "a URL such as http://localhost:4318"


def _file(value: str) -> str | None:
    return None if Path(value).is_file() else "a file that exists"


_LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
_SAMPLERS = tuple(
    parent + sampler
    for sampler in ("always_on", "always_off", "traceidratio")
    for parent in ("", "parentbased_")
)
_ALWAYS: dict[str, Check] = {
    "OTEL_TRACES_SAMPLER": _one_of(*_SAMPLERS),
    "OTEL_TRACES_SAMPLER_ARG": _number(0, 1, "a number from 0 to 1"),
    "OTEL_RESOURCE_ATTRIBUTES": _pairs,
    **dict.fromkeys(_LIMITS, _count),
}
_OTLP: dict[str, Check] = {
    **dict.fromkeys(_both("HEADERS"), _pairs),
    **dict.fromkeys(_both("TIMEOUT"), _number(math.ulp(0.0), 3600, "a number of seconds, at most 3600")),
    **{
        name: _file
        for setting in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
        for name in _both(setting)
    },
}
_OF_PROTOCOL: dict[Protocol, dict[str, Check]] = {
    Protocol.HTTP: {
        **dict.fromkeys(_both("ENDPOINT"), _url),
        **dict.fromkeys(_both("COMPRESSION"), _one_of("none", "gzip", "deflate")),
    },
    # The SDK's gRPC exporter accepts no other value, not even none.
    Protocol.GRPC: dict.fromkeys(_both("COMPRESSION"), _one_of("gzip")),
}
