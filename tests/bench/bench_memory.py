"""Resident memory of the command `run` that follows nothing, 10,000 and 100,000 generations in flight."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from sqlalchemy import insert

from bench.table import Row, report
from exporter.store import open_database
from exporter.store.schema import generations
from support.running import write_config

COMMAND = str(Path(sys.executable).with_name("vivix-exporter"))
FOLLOWED = {0: 70.0, 10_000: 85.0, 100_000: 150.0}
"""How many, and the most MiB that they may take."""
NOT_OURS = ("rich",)
"""What the tools of development bring along, and libraries of ours then load: users do not have it."""
ACCOUNTS = ("studio", "shop", "lab")


def fill(folder: Path, many: int) -> None:
    """Make a state in which as many are in flight."""
    database = open_database(folder / "vivix-exporter.db", owner=True)
    rows = [
        {
            "account": ACCOUNTS[number % 3],
            "id": f"5b91a581-ee19-4f86-9fea-{number:012x}",
            "source": "api",
            "discovered_us": 1_762_000_000_000_000 + number,
            "listed": False,
            "registered": True,
            "polls": 1,
            "status": "pending",
            "model": f"model-{number % 20}",
            "created_us": 1_762_000_000_000_000 + number,
            "observed_us": 1_762_000_000_000_000 + number,
            "credits_estimate_micro": 4_250_000,
        }
        for number in range(many)
    ]
    if rows:
        with database.begin() as connection:
            connection.execute(insert(generations), rows)
    database.close()


def hide(folder: Path) -> dict[str, str]:
    """Return an environment in which what is not ours cannot be imported."""
    for name in NOT_OURS:
        (folder / f"{name}.py").write_text("raise ImportError")
    return {**os.environ, "PYTHONPATH": str(folder)}


def resident(many: int) -> float:
    """Return the MiB of a process that has started, and was scraped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        accounts = [{"name": a, "api_key": "k" * 40, "base_url": "http://127.0.0.1:9"} for a in ACCOUNTS]
        config = write_config(folder, accounts)
        fill(folder, many)
        process = subprocess.Popen(
            [COMMAND, "run", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0"],
            stderr=subprocess.PIPE,
            env=hide(folder),
            text=True,
        )
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if found := re.search(r"msg=listening.* address=(\S+)", line):
                url = f"http://{found[1]}"
            if "msg=following" in line:
                break
        for _ in range(3):
            httpx.get(f"{url}/metrics", timeout=60)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        process.communicate()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def main() -> None:
    report(
        "memory", [Row(f"{many:,} followed", resident(many), "MiB", most) for many, most in FOLLOWED.items()]
    )


if __name__ == "__main__":
    main()
