"""A page of metrics as values that can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """Every sample by name and labels."""

    samples: Mapping[Key, float]

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The values of the samples called `name` that have these labels, by their other labels in the
        order of the labels' names; those that are zero left out."""
        wanted = set(labels.items())
        found: dict[tuple[str, ...], float] = {}
        for (sample, have), value in self.samples.items():
            if sample == name and wanted <= have and value:
                found[tuple(v for _, v in sorted(have - wanted))] = value
        return found

    def sum(self, name: str, **labels: str) -> float:
        """The sum of those."""
        return sum(self.of(name, **labels).values())


def parse(text: str) -> Scrape:
    """Read the text format."""
    return Scrape(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
