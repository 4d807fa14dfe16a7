"""What a query says: which metrics it selects, inside which functions, and which labels it names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import promql_parser as promql

DURATIONS = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "30s"}
"""Grafana's variables that stand for durations, and what they may become."""


@dataclass(frozen=True)
class Selector:
    """One selected metric. `functions` are those around it, innermost first; `matchers` as written;
    `grouped` are the labels by which something around it is grouped or matched."""

    name: str
    matchers: tuple[str, ...]
    labels: frozenset[str]
    functions: tuple[str, ...]
    grouped: frozenset[str]
    range: timedelta | None


def filled(query: str, durations: dict[str, str] = DURATIONS) -> str:
    """The query with its durations filled in, as it can be parsed."""
    for name, duration in durations.items():
        query = query.replace(name, duration)
    return query


def parse(query: str) -> promql.Expr:
    """The tree, or ValueError."""
    return promql.parse(filled(query))


def selectors(query: str) -> list[Selector]:
    """Every selector of a query."""
    return list(_selectors(parse(query), (), frozenset()))


def ranges(query: str) -> list[tuple[str, str]]:
    """Function and range, as written, of each call on a range: `rate(x[5m])` is (rate, 5m)."""
    return re.findall(r"(\w+)\s*\(\s*\w+(?:\{[^}]*\})?\[([^\]]+)\]", query)


def _selectors(node: promql.Expr, functions: tuple[str, ...], grouped: frozenset[str]) -> Iterator[Selector]:
    match node:
        case promql.VectorSelector():
            yield _selector(node, functions, grouped, None)
        case promql.MatrixSelector():
            yield _selector(node.vector_selector, functions, grouped, node.range)
        case promql.Call():
            for argument in node.args:
                yield from _selectors(argument, (node.func.name, *functions), grouped)
        case promql.AggregateExpr():
            by = _grouping(node)
            yield from _selectors(node.expr, functions, grouped | frozenset(by))
        case promql.BinaryExpr():
            for side in (node.lhs, node.rhs):
                yield from _selectors(side, functions, grouped)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _selectors(node.expr, functions, grouped)
        case _:
            pass  # numbers and text select nothing


def _grouping(node: promql.AggregateExpr) -> list[str]:
    """The labels that it keeps; none where it names those that it removes."""
    modifier = node.modifier
    by = promql.AggModifierType.By
    return list(modifier.labels) if modifier is not None and modifier.type == by else []


def _selector(
    node: promql.VectorSelector,
    functions: tuple[str, ...],
    grouped: frozenset[str],
    range: timedelta | None,
) -> Selector:
    matchers = node.matchers.matchers
    return Selector(
        node.name or "",
        tuple(str(matcher) for matcher in matchers),
        frozenset(matcher.name for matcher in matchers),
        functions,
        grouped,
        range,
    )
