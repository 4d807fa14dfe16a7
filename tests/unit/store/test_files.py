"""The files of a state: one owner by whatever name, private, and writable or refused."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from exporter.errors import StateUnusableError, StoreError, UnstorableError
from exporter.store import open_database

WITHOUT_PRIVILEGES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Modes of files mean nothing to root, until it gives up being exempt from them."""
OPEN = """
import sys
from pathlib import Path
from exporter.errors import StateUnusableError
from exporter.store import Database, open_database
try:
    open_database(Path(sys.argv[1]), owner=True).close()
except StateUnusableError as error:
    print(error)
"""


@contextmanager
def umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


PRIVATE = {f"state.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}


def open_without_privileges(path: Path) -> str:
    """Open a state as its owner in a process that file modes apply to, and return why it is refused."""
    command = [*WITHOUT_PRIVILEGES, sys.executable, "-c", OPEN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["link.db", "folder/../state.db", "linked folder/state.db"])
@pytest.mark.parametrize("first", ["state.db", None])
def test_a_state_has_one_owner_by_whatever_name(tmp_path: Path, name: str, first: str | None) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to("state.db")
    (tmp_path / "linked folder").symlink_to(tmp_path)
    second = name if first else "state.db"
    in_use = pytest.raises(StateUnusableError, match="in use by another exporter")
    with closing(open_database(tmp_path / (first or name), owner=True)), in_use:
        open_database(tmp_path / second, owner=True)
    assert not (tmp_path / "link.db.lock").exists()


def test_a_state_with_a_second_name_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "state.db", owner=True).close()
    (tmp_path / "other.db").hardlink_to(tmp_path / "state.db")
    with pytest.raises(StateUnusableError, match="hard links"):
        open_database(tmp_path / "other.db", owner=True)


def test_symbolic_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").symlink_to("state.db")
    with pytest.raises(StateUnusableError, match="cannot open the state"):
        open_database(tmp_path / "state.db", owner=True)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_only_the_owner_may_read_a_state_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask), closing(open_database(tmp_path / "state.db", owner=True)) as database, database.begin():
        assert modes(tmp_path) == PRIVATE


def test_a_state_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    with umask(0):
        open_database(tmp_path / "state.db", owner=True).close()
        for suffix in ("", "-wal", "-shm", ".lock"):
            (tmp_path / f"state.db{suffix}").touch()
            (tmp_path / f"state.db{suffix}").chmod(0o644)
        with closing(open_database(tmp_path / "state.db", owner=True)):
            assert modes(tmp_path) == PRIVATE


def test_the_mode_of_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("this is no database, just text " * 100)
    path.chmod(0o644)
    with pytest.raises(StateUnusableError):
        open_database(path, owner=True)
    assert modes(tmp_path)["state.db"] == 0o644


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_read_only_file_is_refused_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    open_database(tmp_path / "state.db", owner=True).close()
    (tmp_path / f"state.db{suffix}").chmod(0o400)
    refused = open_without_privileges(tmp_path / "state.db")
    assert refused.startswith(f"{tmp_path}/state.db{suffix}: the state file cannot be written by the user of")
    assert "chmod" in refused


@pytest.mark.parametrize("existing", [True, False])
def test_a_read_only_folder_is_refused_with_what_to_do(tmp_path: Path, existing: bool) -> None:
    if existing:
        open_database(tmp_path / "state.db", owner=True).close()
    tmp_path.chmod(0o500)
    try:
        refused = open_without_privileges(tmp_path / "state.db")
    finally:
        tmp_path.chmod(0o700)
    assert refused.startswith(f"{tmp_path}: the folder of the state file cannot be written by the user of")
    assert "give state.url another place" in refused


def test_a_folder_that_cannot_be_entered_is_refused_for_reading_too(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o000)
    command = OPEN.replace("owner=True", "owner=False")
    done = subprocess.run(
        [*WITHOUT_PRIVILEGES, sys.executable, "-c", command, str(tmp_path / "folder" / "state.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot open the state: Permission denied" in done.stdout


@pytest.mark.parametrize("replaced", [False, True])
def test_a_state_that_was_removed_or_replaced_is_not_written_until_it_is_back(
    tmp_path: Path, replaced: bool
) -> None:
    path = tmp_path / "state.db"
    with closing(open_database(path, owner=True)) as database:
        path.rename(tmp_path / "elsewhere.db")
        if replaced:
            path.touch()
        with pytest.raises(StoreError, match="removed or replaced") as raised, database.begin():
            pass
        assert not isinstance(raised.value, UnstorableError)
        (tmp_path / "elsewhere.db").rename(path)
        with database.begin():
            pass
