"""What takes a file's place between two reads of it is neither waited for nor read."""

import os
from pathlib import Path

import pytest

from exporter.errors import IdFileError
from exporter.sources.stamp import content_of, stamp_of


def test_a_file_is_read_as_it_was_when_it_was_stamped(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    stamp = stamp_of(str(path))
    assert stamp is not None
    assert content_of(str(path), stamp) == b"a\n"
    path.write_text("a\nb\n")
    assert content_of(str(path), stamp) is None


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    stamp = stamp_of(str(path))
    assert stamp is not None
    path.unlink()
    os.mkfifo(path)
    assert content_of(str(path), stamp) is None


@pytest.mark.parametrize("gone", [Path.mkdir, lambda path: path.symlink_to(path), lambda _path: None])
def test_a_file_that_is_replaced_by_something_else_cannot_be_read(tmp_path: Path, gone: object) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n")
    stamp = stamp_of(str(path))
    assert stamp is not None
    path.unlink()
    gone(path)  # type: ignore[operator]
    with pytest.raises(IdFileError, match="cannot be read"):
        content_of(str(path), stamp)
