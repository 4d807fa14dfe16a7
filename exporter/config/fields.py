"""Types of single values: what each may be. Errors give what was expected; the loader adds where."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from exporter.config.durations import format_duration, parse_duration
from exporter.config.nodes import shown
from exporter.config.secret import Secret

_MAX_PATH = 4_096
_VARIABLE = re.compile(r"[^\s=]{1,255}")
_SECRETS = ("vvx_live_", "vvx_test_", "whsec_")
"""What the vendor's secrets begin with."""


def between(low: str, high: str) -> PlainValidator:
    """Return a validator of durations from `low` to `high`, both included. Its value is microseconds."""
    least, most = parse_duration(low), parse_duration(high)

    def check(value: object) -> int:
        micros = _duration(value)
        if not least <= micros <= most:
            raise ValueError(f"expected a duration of {low} to {high}, got {format_duration(micros)}")
        return micros

    return PlainValidator(check)


def _duration(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"expected a duration such as 2s or 1h30m, got {value}; add a unit")
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 2s or 1h30m")
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(f"expected a duration such as 500ms, 2s, 1h30m or 30d, got {shown(value)}") from None


def _secret(value: object) -> Secret | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ValueError("expected text")
    return Secret(value)


def _variable(value: str) -> str:
    _refuse_secret(value, "the name of an environment variable")
    if not _VARIABLE.fullmatch(value) or not value.isprintable():
        raise ValueError("expected the name of an environment variable")
    return value


def _path(value: str) -> str:
    _refuse_secret(value, "the path of a file")
    return _pattern(value)


def _pattern(value: str) -> str:
    if not value.isprintable() or len(value) > _MAX_PATH:
        raise ValueError(
            f"expected a path of at most {_MAX_PATH} characters, none of them a control character"
        )
    return value


def _refuse_secret(value: str, expected: str) -> None:
    """A secret in the wrong place is common, and would be repeated by errors about its absence."""
    if value.startswith(_SECRETS):
        raise ValueError(f"expected {expected}, got what seems to be a secret itself")


Text = Annotated[str, Field(min_length=1)]
InlineSecret = Annotated[Secret | None, PlainValidator(_secret)]
Variable = Annotated[Text, AfterValidator(_variable)]
"""The name of an environment variable."""
FilePath = Annotated[Text, AfterValidator(_path)]
"""A file, relative to the configuration."""
Pattern = Annotated[Text, AfterValidator(_pattern)]
"""A glob, relative to the configuration."""


def exactly_one(keys: tuple[str, ...], values: object) -> None:
    """Raise ValueError where a section gives more than one of some keys."""
    if isinstance(values, dict):
        found = [key for key in keys if values.get(key) is not None]
        if len(found) > 1:
            raise ValueError(f"give exactly one of {', '.join(keys)}; found {' and '.join(found)}")
