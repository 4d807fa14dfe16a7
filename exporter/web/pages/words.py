"""Amounts as people read them."""

from exporter.clock import MICROS, iso8601

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(us: int) -> str:
    """Return a duration in its two largest units, such as `4.3 s`, `2 min 5 s` or `3 d 4 h`."""
    seconds = max(0, us) / MICROS
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    index = next(place for place, (size, _) in enumerate(_UNITS) if whole >= size)
    (size, unit), (smaller, name) = _UNITS[index : index + 2]
    rest = whole % size // smaller
    return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"


def amount(number: float) -> str:
    """Return a number with at most two decimals and spaces between thousands."""
    text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}")


def credits(micro: int) -> str:
    """Return millionths of a credit as credits."""
    return amount(micro / MICROS)


def utc(at_us: int) -> str:
    """Return a moment for who reads without scripts."""
    return f"{iso8601(at_us)[:-5].replace('T', ' ')} UTC"


def machine(at_us: int) -> str:
    """Return a moment as the attribute `datetime` has it."""
    return iso8601(at_us)


def ago(at_us: int, now_us: int) -> str:
    """Return how long ago a moment was."""
    return f"{duration(now_us - at_us)} ago"
