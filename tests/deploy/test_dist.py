"""What is released: the same bytes wherever they are built."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BUILT = ("exporter", "pyproject.toml", "constraints.txt", "config.example.yaml", "README.md", "LICENSE")
LAST_COMMIT = 1_790_000_000
"""Seconds since 1970."""


def build(folder: Path, files: list[Path], *, umask: int, changed: int) -> dict[str, bytes]:
    """Wheel and sdist by their names, built from a copy of these files as somebody has checked it out."""
    for file in files:
        copy = folder / "somewhere" / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        copy.chmod(0o666 & ~umask)
        os.utime(copy, (changed, changed))
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "out", folder / "somewhere"],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(LAST_COMMIT)},
        check=True,
        capture_output=True,
        timeout=600,
    )
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.mark.long(50)
def test_the_bill_of_materials_names_each_dependency(tmp_path: Path) -> None:
    subprocess.run(["make", "sbom", f"INTO={tmp_path}"], cwd=REPOSITORY, check=True, timeout=600)
    bill = json.loads((tmp_path / "sbom.json").read_text())
    named = {component["name"].lower().replace("_", "-") for component in bill["components"]}
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[^\w.-]", one)[0].lower() for one in wanted} <= named
    assert named.isdisjoint({"pip", "pytest", "ruff"})
    assert bill["metadata"]["component"]["name"] == "vivix-exporter"
    assert str(REPOSITORY) not in json.dumps(bill)


def test_two_builds_in_different_folders_are_the_same_to_the_byte(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *BUILT, "CHANGELOG.md"], cwd=REPOSITORY, capture_output=True, check=True
    )
    files = [REPOSITORY / name.decode() for name in listed.stdout.split(b"\0") if name]
    one = build(tmp_path / "one", files, umask=0o022, changed=1_000_000_000)
    other = build(tmp_path / "the" / "other", files[::-1], umask=0o077, changed=1_100_000_000)
    assert sorted(name.rpartition(".")[2] for name in one) == ["gz", "whl"]
    assert one == other
    [wheel] = (tmp_path / "one" / "out").glob("*.whl")
    [sdist] = (tmp_path / "one" / "out").glob("*.tar.gz")
    package = {file.relative_to(REPOSITORY).as_posix() for file in files if "exporter" in file.parts}
    with zipfile.ZipFile(wheel) as archive:
        assert package == {name for name in archive.namelist() if name.startswith("exporter/")}
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.mtime for member in archive} == {LAST_COMMIT}
    assert package | set(BUILT[1:]) <= inside
