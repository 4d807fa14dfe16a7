"""What Grafana does with a query before Prometheus sees it: fill in the variables."""

from collections.abc import Mapping

ALL = dict.fromkeys(("job", "instance", "account", "model"), ".+")
"""Every variable at `All`."""


def expanded(query: str, durations: Mapping[str, str], chosen: Mapping[str, str] = ALL) -> str:
    """The query with durations and chosen values filled in; the longest names first, as one begins with
    another."""
    values = {**durations, **{f"${name}": value for name, value in chosen.items()}}
    for name in sorted(values, key=len, reverse=True):
        query = query.replace(name, values[name])
    return query
