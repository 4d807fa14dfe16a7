"""What only prints how it is used imports nothing of what the commands need to do their work."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *("asyncio", "httpx", "opentelemetry", "prometheus_client", "pydantic", "sqlalchemy", "starlette"),
    *("structlog", "uvicorn", "watchfiles", "yaml"),
}


def imported(*arguments: str) -> tuple[int, set[str]]:
    """The status of a command, and the top-level packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "exporter", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return done.returncode, {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        *(
            ([command, "--help"], 0)
            for command in ("run", "init", "check", "explain", "schema", "migrate-state", "demo", "simulate")
        ),
        ([], 2),
        (["no-such-command"], 2),
        (["run", "--no-such-option"], 2),
        (["explain"], 2),
        (["simulate", "--speed", "0"], 2),
        (["run", "--log.level", "loud"], 2),
    ],
)
def test_usage_imports_nothing_heavy(arguments: list[str], status: int) -> None:
    exited, modules = imported(*arguments)
    assert exited == status
    assert "click" in modules
    assert modules & HEAVY == set()


def test_a_command_imports_what_it_needs() -> None:
    _, modules = imported("schema")
    assert "sqlalchemy" in modules


STARTED = """
import sys
from pathlib import Path
from exporter.commands import run
from exporter.store import open_database

open_database(Path(sys.argv[1]), owner=True).close()
print(*sys.modules)
"""


def test_an_exporter_loads_what_few_need_only_for_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path / "state.db")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(done.stdout.split())
    assert "sqlalchemy.dialects.sqlite" in modules
    assert modules & {"jinja2", "opentelemetry", "sqlalchemy.dialects.postgresql"} == set()
