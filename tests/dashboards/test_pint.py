"""What cloudflare's pint holds of rules, where it applies: it cannot be had from the registries used here."""

import re
from datetime import timedelta

import pytest

from mixin import limits
from mixin.alert import Alert
from mixin.alerts import ALERTS
from mixin.records import RECORDED, Record, records
from support.metrics import known
from support.promql import parse, selectors

METRICS = known()
RECORDS = records()
LONGEST = timedelta(hours=1)
"""The longest range that a rule may read sample by sample; longer ones in steps, or by two instants."""

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
each_rule = pytest.mark.parametrize(
    "expr", [*(record.expr for record in RECORDS), *(alert.expr for alert in ALERTS)]
)


@each_record
def test_a_record_is_named_level_metric_operation(record: Record) -> None:
    """pint: rule/name."""
    parse(record.expr)
    assert re.fullmatch(r"[a-z_]+:vivix_\w+:[a-z]+(\d+[mhd])?|vivix:rules:loaded", record.name)


def test_nothing_is_recorded_twice_or_before_what_it_stands_on() -> None:
    """pint: rule/duplicate, and the order within a group."""
    seen: set[str] = set()
    for record in RECORDS:
        assert record.name not in seen
        asked = {one.name for one in selectors(record.expr)}
        seen.add(record.name)  # one may hand itself on
        assert {name for name in asked if ":" in name} <= seen, record.name


@each_alert
def test_alerts_ask_for_records_where_an_account_may_move(alert: Alert) -> None:
    """pint: promql/counter and promql/fragile: no durable series by instance, no sum that a move splits."""
    assert not {one.name for one in selectors(alert.expr)} & RECORDED.keys()


@each_rule
def test_counters_are_looked_at_by_their_growth(expr: str) -> None:
    """pint: promql/counter, promql/rate."""
    for one in selectors(expr):
        if one.name in METRICS and METRICS[one.name].kind == "counter":
            durable = one.name in RECORDED
            assert durable or set(one.functions) & {"rate", "increase", "changes"}, expr
            assert not durable or "max without" in expr


@each_rule
def test_no_rule_reads_a_long_range(expr: str) -> None:
    """pint: query/cost."""
    for one in selectors(expr):
        assert one.range is None or one.range <= LONGEST, expr


@each_alert
def test_an_alert_waits_and_compares(alert: Alert) -> None:
    """pint: alerts/for, alerts/comparison."""
    assert re.fullmatch(r"\d+[mh]", alert.lasting)
    assert re.search(r"[<>]=? |== ", alert.expr)


@each_alert
def test_what_a_text_shows_is_there(alert: Alert) -> None:
    """pint: alerts/template: no label that an aggregation has removed."""
    removed = set()
    for labels in re.findall(r"(?:sum|max|min) without \(([^)]*)\)", alert.expr.split("\nand")[0]):
        removed |= {label.strip() for label in labels.split(",")}
    named = set(re.findall(r"\$labels\.(\w+)", alert.description))
    assert not named & removed - {"reason"}


def test_windows_do_not_fall_short_of_a_rollouts_pause() -> None:
    """pint: promql/range_query."""
    assert limits.GAP == "5m"
