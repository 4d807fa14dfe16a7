"""`run` on a state that it cannot use, or that an earlier version left."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.running import write_config

COMMAND = str(Path(sys.executable).with_name("vivix-exporter"))
WITHOUT_PRIVILEGES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Modes of files mean nothing to root, until it gives up being exempt from them."""
VERSION_1 = Path(__file__).parents[1] / "testdata" / "state" / "version-1.sql"


def configure(folder: Path) -> Path:
    account: dict[str, object] = {
        "name": "studio",
        "base_url": "http://127.0.0.1:9",
        "api_key": f"vvx_live_{'studio':0<32}",
    }
    return write_config(folder, [account])


def begin(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WITHOUT_PRIVILEGES, COMMAND, "run", "--config.file", path, "--web.listen-address", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )


def version_1(folder: Path) -> Path:
    """A state as version 0.1 left it."""
    state = folder / "vivix-exporter.db"
    with closing(sqlite3.connect(state)) as connection:
        connection.executescript(VERSION_1.read_text())
    return state


@pytest.mark.parametrize("read_only", ["vivix-exporter.db", "."])
def test_a_state_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path, read_only: str) -> None:
    version_1(tmp_path)
    path = configure(tmp_path)
    (tmp_path / read_only).chmod(0o500)
    process = begin(path)
    try:
        _, text = process.communicate(timeout=60)
    finally:
        tmp_path.chmod(0o700)
    assert process.returncode == 2, text
    assert "cannot be written by the user of this process" in text
    assert "chown" in text
    assert "Traceback" not in text


def test_a_state_of_an_earlier_version_is_upgraded_at_the_start(tmp_path: Path) -> None:
    state = version_1(tmp_path)
    with begin(configure(tmp_path)) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while "following" not in lines[-1]:
            lines.append(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert any("the state was upgraded" in line and "version=2" in line for line in lines)
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("SELECT count(*) FROM generations").fetchone() == (16,)
