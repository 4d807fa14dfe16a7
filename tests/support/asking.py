"""What a panel shows, asked of a real Prometheus as Grafana asks it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from mixin.rules import hurried
from support.boards import Panel, panels
from support.claims import Asked, agree
from support.grafana import expanded

_Truth = TypeVar("_Truth")
_Row = dict[str, Any]


@dataclass(frozen=True)
class Asking:
    """Of `server`, about the `seconds` until `at` (Unix seconds), in bars of `step` seconds; where the rules'
    windows are divided by `factor`, so are those of the panels."""

    http: httpx.AsyncClient
    server: str
    at: float
    seconds: float
    step: float = 1.0
    factor: int = 1

    async def now(self, panel: Panel, place: int) -> Asked:
        """The values of one query of a panel at the end of the range, without what has none."""
        rows = await self._ask("query", panel, place, {"time": str(self.at)})
        return _values(rows, lambda row: float(row["value"][1]))

    async def shown(self, panel: Panel, place: int) -> Asked:
        """As `now`; of a graph, what its bars add up to."""
        if panel.json["targets"][place].get("instant"):
            return await self.now(panel, place)
        first = self.at - self.seconds + self.step
        over = {"start": str(first), "end": str(self.at), "step": str(self.step)}
        rows = await self._ask("query_range", panel, place, over)
        return _values(rows, lambda row: sum(float(value) for _, value in row["values"]))

    async def _ask(self, how: str, panel: Panel, place: int, when: dict[str, str]) -> Sequence[_Row]:
        range_, step = (f"{round(seconds * 1000)}ms" for seconds in (self.seconds, self.step))
        durations = {"$__range": range_, "$__interval": step, "$__rate_interval": step}
        query = expanded(hurried(panel.queries[place], self.factor), durations)
        answer = await self.http.get(f"{self.server}/api/v1/{how}", params={"query": query, **when})
        answer.raise_for_status()
        found: Sequence[_Row] = answer.json()["data"]["result"]
        return found


def _values(rows: Sequence[_Row], value: Callable[[_Row], float]) -> Asked:
    values: Asked = {}
    for row in rows:
        values[tuple(label for name, label in sorted(row["metric"].items()) if name != "__name__")] = value(
            row
        )
    return values


async def different(
    claims: Mapping[str, Sequence[Callable[[_Truth], Asked]]],
    ask: Callable[[Panel, int], Awaitable[Asked]],
    told: _Truth,
    graphs: bool = True,
) -> Sequence[str]:
    """What panels show other than the truth, a line each; graphs only where those are wanted."""
    wrong = []
    for panel in panels():
        if panel.json["type"] == "timeseries" and not graphs:
            continue
        for place, claim in enumerate(claims.get(panel.id, ())):
            found, expected = await ask(panel, place), claim(told)
            if not agree(found, expected):
                wrong.append(f"{panel.id}, query {place + 1}: {found} instead of {expected}")
    return wrong
