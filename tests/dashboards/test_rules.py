"""Alerts that can be acted on: complete, documented, and tested by promtool one by one."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mixin.alert import Alert
from mixin.alerts import ALERTS
from mixin.records import records
from mixin.rules import hurried, rule_file, shorter
from support.boards import FOLDER, boards
from support.metrics import known
from support.prometheus import tool
from support.promql import parse, selectors

RUNBOOKS = FOLDER / "runbooks.md"
TESTS = sorted((FOLDER / "rules").glob("*_test.yaml"))
PROVISIONING = FOLDER / "provisioning"
METRICS = known()
RECORDED = len(records())
"""Rules beside the alerts."""

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def run(*arguments: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    program, *rest = arguments
    return subprocess.run(
        [tool(program), *rest], capture_output=True, text=True, check=False, timeout=900, cwd=cwd
    )


def test_promtool_accepts_the_rules() -> None:
    done = run("promtool", "check", "rules", "rules/vivix.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(ALERTS) + RECORDED} rules found" in done.stdout


# One by one, for tests side by side: each evaluates all rules.
@pytest.mark.parametrize(
    ("path", "number"),
    [
        pytest.param(path, number, id=f"{one['name']}-{path.stem}-{number}")
        for path in TESTS
        for number, one in enumerate(yaml.safe_load(path.read_text())["tests"])
    ],
)
def test_every_alert_fires_does_not_just_below_and_resolves(path: Path, number: int, tmp_path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    content["rule_files"] = [str(path.parent / name) for name in content["rule_files"]]
    content["tests"] = [content["tests"][number]]
    single = tmp_path / path.name
    single.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    done = run("promtool", "test", "rules", str(single))
    assert done.returncode == 0, done.stdout + done.stderr


@each_alert
def test_promtool_is_asked_about_every_alert(alert: Alert) -> None:
    tests = [one for path in TESTS for one in yaml.safe_load(path.read_text())["tests"]]
    [test, *_] = [one for one in tests if one["name"] == alert.name]
    before, firing, after = test["promql_expr_test"]
    assert before["exp_samples"] == after["exp_samples"] == []
    labels = [sample["labels"] for sample in firing["exp_samples"]]
    assert labels
    assert all(f'severity="{alert.severity}"' in one for one in labels)
    asked = re.compile(f"{alert.name}|VivixFailure\\.\\+")
    assert all(asked.search(one["expr"]) for one in (before, firing, after))
    series = " ".join(one["series"] for one in test["input_series"])
    for name in ("above", "below"):
        assert f'="{name}"' in series
    assert not any('"below"' in one for one in labels)


@each_alert
def test_an_alert_says_what_is_wrong_for_whom_and_what_to_do(alert: Alert) -> None:
    assert re.fullmatch(r"Vivix([A-Z][a-z]+)+", alert.name)
    assert alert.severity in ("critical", "warning", "info")
    assert alert.summary.endswith(".")
    assert "{{" not in alert.summary, "the summary is the same for all, so that they can be grouped"
    assert "{{ $labels." in alert.description
    assert alert.dashboard in boards()


@each_alert
def test_an_alert_asks_for_what_the_exporter_has(alert: Alert) -> None:
    parse(alert.expr)
    found = selectors(alert.expr)
    has = frozenset().union(*(METRICS[one.name].labels for one in found)) | {"job", "instance"}
    for selector in found:
        assert selector.labels <= METRICS[selector.name].labels | {"job", "instance"}
        assert selector.grouped <= has
    named = set(re.findall(r"\$labels\.(\w+)", alert.description))
    assert named <= has


@each_alert
def test_an_alert_has_a_runbook_with_its_four_parts(alert: Alert) -> None:
    sections = dict(
        re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.DOTALL | re.MULTILINE)
    )
    assert re.findall(r"^\*\*(.+?)\.\*\*", sections[alert.name], re.MULTILINE) == [
        "Means",
        "Look first",
        "Usually",
        "Fix",
    ]
    [group] = yaml.safe_load(rule_file())["groups"]
    [rule] = [one for one in group["rules"] if one.get("alert") == alert.name]
    heading = rule["annotations"]["runbook_url"].split("#")[1]
    assert heading == alert.name.lower(), "a heading's link is its text in lower case"


def test_there_is_no_runbook_without_an_alert() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]


def test_panels_that_runbooks_name_exist() -> None:
    titles = {panel["title"] for board in boards().values() for panel in board["panels"]}
    columns = {"Lasts", "Left then"}
    named = set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", RUNBOOKS.read_text())) - columns
    for name in named - {"Status, Targets"}:
        assert any(title.startswith(name) for title in titles), name


def test_durations_are_divided_and_nothing_else() -> None:
    assert shorter("15m", 300) == "3000ms"
    assert shorter("15m", 1) == "15m"
    expr = 'increase(x{a="5m"}[1d] offset 30m) / 300 > 1800'
    assert hurried(expr, 300) == 'increase(x{a="5m"}[288000ms] offset 6000ms) / 300 > 1800'


def test_the_example_configurations_are_accepted(tmp_path: Path) -> None:
    config = (PROVISIONING / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "vivix.yaml").write_text((FOLDER / "rules" / "vivix.yaml").read_text())
    (tmp_path / "prometheus.yml").write_text(config)
    done = run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + RECORDED} rules found" in done.stdout
    done = run("amtool", "check-config", "provisioning/alertmanager/alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanagers_example_names_alerts_that_exist() -> None:
    text = (PROVISIONING / "alertmanager" / "alertmanager.yml").read_text()
    names = [alert.name for alert in ALERTS]
    for named in re.findall(r"Vivix[A-Z][\w.+]*", text):
        assert any(re.fullmatch(named, name) for name in names), named


def test_grafana_is_told_where_exemplars_lead() -> None:
    text = (PROVISIONING / "grafana" / "datasources" / "vivix.yaml").read_text()
    prometheus, tempo = yaml.safe_load(text)["datasources"]
    [destination] = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert (destination["name"], destination["datasourceUid"]) == ("trace_id", tempo["uid"])
    scraped = yaml.safe_load((PROVISIONING / "prometheus" / "prometheus.yml").read_text())
    assert prometheus["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
