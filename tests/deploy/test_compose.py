"""The compose file and the Dockerfile, by the programs that read them."""

import subprocess
import sys
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose"
PROVISIONING = DEPLOY.parent / "dashboards/provisioning"


def run(program: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_compose_knows_every_key_and_finds_every_file() -> None:
    done = run("docker-compose", "--file", COMPOSE / "compose.yaml", "config")
    assert done.returncode == 0, done.stderr
    mounted = [
        Path(volume["source"])
        for service in yaml.safe_load(done.stdout)["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert mounted
    assert [str(path) for path in mounted if not path.exists()] == []


def test_images_are_named_with_a_version() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    tags = {one["image"]: one["image"].rpartition(":")[2] for one in services.values()}
    assert all(tag not in ("", "latest") for tag in tags.values()), tags


def test_its_prometheus_loads_the_configuration_and_the_rules() -> None:
    config = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    assert config["scrape_configs"][0]["job_name"] == "vivix"
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(COMPOSE / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_data_sources_differ_from_the_provisioned_ones_only_in_where_they_are() -> None:
    here = yaml.safe_load((COMPOSE / "datasources.yaml").read_text())["datasources"]
    there = yaml.safe_load((PROVISIONING / "grafana/datasources/vivix.yaml").read_text())["datasources"]
    for one, other in zip(here, there, strict=True):
        one.pop("url"), other.pop("url")
        one.get("jsonData", {}).pop("timeInterval", None), other.get("jsonData", {}).pop("timeInterval", None)
        assert one == other


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run("hadolint", DEPLOY / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")
