"""What a shell knows of the commands: completion and manual pages, generated from their help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cli import NAME, commands
from support.commands import COMMAND
from support.prometheus import tool

WRITE_MAN = Path(__file__).parents[2] / "deploy/write-man"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes_commands_and_options(shell: str) -> None:
    def completed(words: str, incomplete: str, number: int) -> str:
        asked = {f"_{NAME.upper().replace('-', '_')}_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
        # fish gives the word that is incomplete, the others its number.
        asked["COMP_CWORD"] = incomplete if shell == "fish" else str(number)
        return subprocess.run(
            COMMAND, env=os.environ | asked, capture_output=True, text=True, check=True
        ).stdout

    assert "migrate-state" in completed(f"{NAME} mig", "mig", 1)
    assert "--web.listen-address" in completed(f"{NAME} run --web", "--web", 2)


def test_the_manual_pages_are_what_man_expects(tmp_path: Path) -> None:
    subprocess.run([WRITE_MAN, Path(sys.executable).parent, tmp_path], check=True)
    pages = sorted(tmp_path.iterdir())
    assert {page.name for page in pages} == {f"{NAME}.1", *(f"{NAME}-{name}.1" for name in commands.commands)}
    checked = subprocess.run(
        [tool("mandoc"), "-T", "lint", "-W", "error", *pages], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
