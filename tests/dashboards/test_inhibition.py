"""What the shipped Alertmanager configuration mutes: symptoms of what is told, of no other account."""

import asyncio
from pathlib import Path

import httpx
import pytest
import yaml

from support.boards import FOLDER
from support.prometheus import alertmanager

SHIPPED = FOLDER / "provisioning" / "alertmanager" / "alertmanager.yml"

CAUSES = {
    "VivixKeyInvalid": (
        "VivixNothingFinishes",
        "VivixGenerationStuck",
        "VivixPollingBehind",
        "VivixApiErrors",
    ),
    "VivixAccountDown": ("VivixNothingFinishes", "VivixGenerationStuck", "VivixPollingBehind"),
    "VivixWalletEmpty": ("VivixCreditsLow", "VivixFailureRatioHigh"),
    "VivixFailureRatioHigh": ("VivixFailureRatioRaised", "VivixFailuresTrickle", "VivixEverythingFails"),
    "VivixCreditsRunOutSoon": ("VivixCreditsRunOutBeforeReset", "VivixCreditsLow"),
}
"""Symptoms by what causes them."""


def alert(name: str, account: str = "", job: str = "vivix") -> dict[str, object]:
    labels = {"alertname": name, "job": job, "severity": "warning"}
    return {"labels": labels | ({"account": account} if account else {})}


async def muted(folder: Path, *alerts: dict[str, object]) -> set[tuple[str, str]]:
    """Which of these, by name and account, are not told."""
    config = yaml.safe_load(SHIPPED.read_text())
    async with alertmanager(folder, config) as url, httpx.AsyncClient() as http, asyncio.timeout(60):
        (await http.post(f"{url}/api/v2/alerts", json=list(alerts))).raise_for_status()
        while True:
            told = (await http.get(f"{url}/api/v2/alerts")).json()
            if len(told) == len(alerts) and all(one["status"]["state"] != "unprocessed" for one in told):
                return {
                    (one["labels"]["alertname"], one["labels"].get("account", ""))
                    for one in told
                    if one["status"]["inhibitedBy"]
                }
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("cause", CAUSES)
async def test_symptoms_are_muted_for_the_account_of_the_cause_alone(tmp_path: Path, cause: str) -> None:
    symptoms = [alert(name, account) for name in CAUSES[cause] for account in ("ill", "well")]
    found = await muted(tmp_path, alert(cause, "ill"), *symptoms)
    assert found == {(name, "ill") for name in CAUSES[cause]}


async def test_what_no_exporter_can_tell_is_muted_for_its_job_alone(tmp_path: Path) -> None:
    found = await muted(
        tmp_path,
        alert("VivixExporterDown"),
        alert("VivixAccountDown", "a"),
        alert("VivixAccountDown", "b", job="another"),
    )
    assert found == {("VivixAccountDown", "a")}


async def test_one_of_two_exporters_mutes_nothing(tmp_path: Path) -> None:
    assert not await muted(tmp_path, alert("VivixInstanceDown"), alert("VivixAccountDown", "a"))
