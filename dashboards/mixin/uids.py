"""The dashboards' stable ids, which addresses and alerts refer to."""

OVERVIEW = "vivix-overview"
FAILURES = "vivix-failures"
COST = "vivix-cost"
EXPORTER = "vivix-exporter"
