"""What has to fit a place is set once: in `limits.py` before rendering, or by a command in the rule file."""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from mixin.render import RULES
from support.boards import FOLDER
from support.prometheus import tool
from support.promql import selectors

COMMANDS = {
    "JOB": ("images", 'job="images"'),
    "SELECTOR": ('cluster="eu"', 'cluster="eu"'),
    "INSTANCE_LABELS": (("instance", "pod", "node"), "without (instance, pod, node"),
}
"""What may be set, to what, and what then stands in the rule file."""


def rendered(**settings: object) -> str:
    """The rule file as a process renders it that finds other limits."""
    setting = "".join(f"limits.{name} = {value!r}\n" for name, value in settings.items())
    code = f"from mixin import limits\n{setting}from mixin.rules import rule_file\nprint(rule_file(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    return done.stdout


def rules(text: str) -> list[Mapping[str, object]]:
    [group] = yaml.safe_load(text)["groups"]
    return list(group["rules"])


def check(folder: Path, text: str) -> None:
    """Ask promtool whether it takes the rules."""
    path = folder / "checked.yaml"
    path.write_text(text)
    done = subprocess.run(
        [tool("promtool"), "check", "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_sets_in_the_rule_file_alone_what_the_source_would(name: str, tmp_path: Path) -> None:
    value, sign = COMMANDS[name]
    commands = re.findall(r"^sed .*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    [command] = [one for one in commands if sign in one]
    (tmp_path / RULES).parent.mkdir()
    (tmp_path / RULES).write_text((FOLDER / RULES).read_text())
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    edited = (tmp_path / RULES).read_text()
    assert rules(edited) == rules(rendered(**{name: value}))
    assert sign in edited
    check(tmp_path, edited)


def test_a_selector_narrows_everything_that_is_scraped() -> None:
    for rule in rules(rendered(SELECTOR='cluster="eu"')):
        for one in selectors(str(rule["expr"])):
            assert ":" in one.name or 'cluster="eu"' in one.matchers, rule


def test_windows_can_be_others(tmp_path: Path) -> None:
    text = rendered(
        FAST_WINDOWS=("2h", "10m"),
        NONE_WINDOW="12h",
        REASON_WINDOW="20m",
        FORMER_WINDOW="2d",
        USUAL_WINDOW="14d",
        STANDSTILL_WINDOW="15m",
        PACE_WINDOW="4h",
        DAY_WINDOW="3d",
        DROPPED_WINDOW="2h",
        SPEND_WINDOW="2h",
    )
    check(tmp_path, text)
    every = rules(text)
    names = {rule["record"] for rule in every if "record" in rule}
    asked = {one.name for rule in every for one in selectors(str(rule["expr"])) if ":" in one.name}
    assert asked <= names, "an alert asks for a window that is not recorded"
    [fast] = [rule for rule in every if rule.get("alert") == "VivixFailureRatioHigh"]
    assert "ratio2h" in str(fast["expr"])
    assert "in the last 2 hours" in str(fast["annotations"])
