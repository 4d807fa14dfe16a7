"""A sender for the traces of a configuration; the SDK is imported only where something is traced."""

from importlib import import_module
from typing import cast

from exporter.errors import ConfigError
from exporter.tracing.environment import Choice
from exporter.tracing.sender import Sender


def open_sender(choice: Choice, version: str) -> Sender:
    """A sender for traces that go somewhere; `version` is the exporter's. Raises ConfigError."""
    # Only now: the SDK reads variables while it is imported, and raises where they make no sense, so
    # `choose` has to look at them before. Who traces nothing does not wait for the import either.
    try:
        sdk = import_module("exporter.tracing.sdk")
        return cast(Sender, sdk.SdkSender(choice, version))
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"OpenTelemetry does not take its configuration: {error}") from error
