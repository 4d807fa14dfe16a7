"""Durations as people write them: `500ms`, `2s`, `1h30m`, `30d`."""

import re

_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_FORM = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> int:
    """Return the microseconds of a duration: whole numbers with the units d, h, m, s and ms, each at most
    once and in this order. Raises ValueError."""
    match = _FORM.fullmatch(text.strip())
    if match is None or not match.group():
        raise ValueError(f"{text!r} is not a duration")
    return sum(int(match[unit]) * micros for unit, micros in _UNITS.items() if match[unit] is not None)


def format_duration(micros: int) -> str:
    """Return the shortest form of a duration of whole milliseconds."""
    parts = []
    for unit, size in _UNITS.items():
        count, micros = divmod(micros, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
