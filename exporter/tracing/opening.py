"""A sender for the traces of a configuration; the SDK is imported only where something is traced."""

from importlib import import_module
from typing import cast

from exporter.errors import ConfigError
from exporter.tracing.environment import Choice
from exporter.tracing.sender import Sender


def open_sender(choice: Choice, version: str) -> Sender:
    """Return a sender for a choice that is traced; `version` is the exporter's. Raises ConfigError."""
    # Only now: the SDK reads variables while it is imported, and raises for invalid ones, so `choose` has to
    # check them first. Without tracing there is no import to wait for either.
    try:
        sdk = import_module("exporter.tracing.sdk")
        return cast(Sender, sdk.SdkSender(choice, version))
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(f"OpenTelemetry rejects its configuration: {error}") from error
