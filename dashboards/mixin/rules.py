"""Records and alerts as the rule file that Prometheus reads, all durations as they are or divided."""

import re
from collections.abc import Iterable

import yaml

from mixin.alert import Alert
from mixin.alerts import ALERTS
from mixin.records import milliseconds, records

RUNBOOKS = "https://github.com/vivix-exporter/vivix-exporter/blob/main/dashboards/runbooks.md"
"""Where runbooks.md can be read; `make dashboards RUNBOOKS=…` sets another."""
GRAFANA = "http://localhost:3000"
"""Where Grafana is; `make dashboards GRAFANA=…` sets another."""

_HEAD = """\
# Written by `make dashboards` from dashboards/mixin; what may have to fit your place is in mixin/limits.py.
# RUNBOOKS= and GRAFANA= set the addresses that the annotations begin with.
"""
_ACCOUNT = "?var-account={{ $labels.account | urlquery }}"
_DURATION = re.compile(r"(?<=[\[:])\d+[a-z]+(?=[:\]])|(?<=offset )\d+[a-z]+")


def shorter(duration: str, factor: int) -> str:
    """A Prometheus duration such as `30m`, divided."""
    if factor == 1:
        return duration
    return f"{max(milliseconds(duration) // factor, 1)}ms"


def hurried(expr: str, factor: int) -> str:
    """An expression whose windows and offsets are all divided."""
    return _DURATION.sub(lambda found: shorter(found[0], factor), expr)


def _rule(alert: Alert, runbooks: str, grafana: str, factor: int) -> dict[str, object]:
    return {
        "alert": alert.name,
        "expr": hurried(alert.expr, factor),
        "for": shorter(alert.lasting, factor),
        **({"keep_firing_for": shorter(alert.keep_firing, factor)} if alert.keep_firing else {}),
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}#{alert.anchor}",
            "dashboard_url": f"{grafana}/d/{alert.dashboard}{_ACCOUNT if alert.by_account else ''}",
        },
    }


class _Dumper(yaml.SafeDumper):
    """Expressions as blocks, for people to read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def rule_file(
    runbooks: str = RUNBOOKS, grafana: str = GRAFANA, factor: int = 1, alerts: Iterable[Alert] = ALERTS
) -> str:
    """The YAML. `factor` above 1 is for tests that cannot wait for hours."""
    recording = [{"record": one.name, "expr": hurried(one.expr, factor)} for one in records()]
    alerting = [_rule(alert, runbooks, grafana, factor) for alert in alerts]
    # One group: its rules are evaluated in order, so that alerts see what was recorded at the same moment.
    body = {"groups": [{"name": "vivix-exporter", "rules": [*recording, *alerting]}]}
    return _HEAD + yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
