"""The template engine."""

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporter.web.pages import words


def environment(names: Mapping[str, object]) -> Environment:
    """Return the templates of the package, in which these further names are known."""
    made = Environment(
        loader=PackageLoader("exporter.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": words.duration,
        "amount": words.amount,
        "credits": words.credits,
        "utc": words.utc,
        "machine": words.machine,
    }
    made.globals |= {"ago": words.ago, **names}
    return made
