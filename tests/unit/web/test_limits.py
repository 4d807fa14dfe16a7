"""What clients may take, of what the system gives."""

import resource

import pytest

from exporter.web.limits import raise_file_limit, usual_limits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """The limits of this process' files, as the system would say, and as they are set."""
    now = {"files": (1_024, 4_096)}

    def set_limits(_which: int, limits: tuple[int, int]) -> None:
        now["files"] = limits

    monkeypatch.setattr(resource, "getrlimit", lambda _which: now["files"])
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    return now


def test_as_many_files_may_be_open_as_the_system_allows(limits: dict[str, tuple[int, int]]) -> None:
    raise_file_limit()
    assert limits["files"] == (4_096, 4_096)


@pytest.mark.parametrize(
    ("files", "connections"), [(64, 32), (4, 8), (1_024, 512), (10**6, 512), (resource.RLIM_INFINITY, 512)]
)
def test_at_most_half_of_the_files_are_for_clients(
    limits: dict[str, tuple[int, int]], files: int, connections: int
) -> None:
    limits["files"] = (files, files)
    assert usual_limits().connections == connections
