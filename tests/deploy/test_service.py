"""The unit of systemd: nothing in it that systemd does not know, and little that a break-in could reach."""

import subprocess
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy/systemd/vivix-exporter.service"
_PLACES = "/opt/vivix-exporter/bin/vivix-exporter", "man:vivix-exporter(1)"


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_systemd_knows_every_word_of_the_unit(tmp_path: Path) -> None:
    # What the unit starts is not installed here.
    text = UNIT.read_text().replace(_PLACES[0], "/bin/true").replace(_PLACES[1], "man:sh(1)")
    (tmp_path / UNIT.name).write_text(text.replace("Documentation=man:sh(1)\n", ""))
    done = analyze("verify", str(tmp_path / UNIT.name))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_exposed_to_less_than_two_of_ten() -> None:
    done = analyze("security", "--offline=true", "--threshold=19", str(UNIT))
    assert done.returncode == 0, done.stdout
