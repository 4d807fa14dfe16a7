"""What holds for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from exporter.config import Secret
from support.order import long_first
from support.postgresql import Server
from support.states import States, new_file

# How fast the machine is says nothing about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("project"), max_examples=15)
settings.load_profile("project")

# Whoever runs the tests may have a collector of their own, which is not to hear of them.
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]


@pytest.hookimpl(trylast=True)  # after pytest has put together what shares a fixture
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the long tests, in each of the processes that `-n` makes."""
    items[:] = long_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server for all tests of this process: none of them stops it."""
    with Server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_state(request: pytest.FixtureRequest) -> States:
    """For tests that need many states: makes places for them, in each kind of database in turn."""
    if request.param == "sqlite":
        return new_file
    server: Server = request.getfixturevalue("postgresql")
    return server.database


@pytest.fixture
def state_at(new_state: States) -> Iterator[Path | Secret]:
    """Where a state may be kept, in each kind of database in turn; there is nothing yet."""
    with new_state() as at:
        yield at
