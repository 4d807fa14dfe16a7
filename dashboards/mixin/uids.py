"""Stable names that addresses, alerts and dashboards refer to."""

OVERVIEW = "vivix-overview"
FAILURES = "vivix-failures"
COST = "vivix-cost"
EXPORTER = "vivix-exporter"
LOADED = "vivix:rules:loaded"
"""Recorded by the rule file itself, so that a dashboard can tell no alerts from no rules."""
