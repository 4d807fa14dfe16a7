"""A first configuration, from a few answers."""

import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from support.commands import run

KEY = f"vvx_live_{'studio':0<32}"
WAYS = ("http", "files", "webhooks")
SECRETS = {"VIVIX_API_KEY": KEY, "VIVIX_EXPORTER_TOKEN": "token", "VIVIX_WEBHOOK_SECRET": "whsec_x"}


def init(folder: Path, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
    return run("init", *arguments, cwd=folder, answers=answers)


def check(folder: Path) -> None:
    done = run("check", cwd=folder, env=SECRETS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ids", [ids for n in (1, 2, 3) for ids in combinations(WAYS, n)])
def test_what_is_written_from_options_passes_check(tmp_path: Path, ids: tuple[str, ...]) -> None:
    options = [option for way in ids for option in ("--ids", way)]
    done = init(tmp_path, "--account", "studio", "--api-key-env", "VIVIX_API_KEY", *options)
    assert done.returncode == 0, done.stderr
    assert "vivix-exporter check --config.file config.yaml --online" in done.stdout
    check(tmp_path)


def test_what_is_written_from_answers_passes_check(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    done = init(tmp_path, answers="shop\nfile\nkey\nmail\nfiles, webhooks\n")
    assert done.returncode == 0, done.stderr
    assert "Expected some of http, files, webhooks." in done.stdout
    [account] = yaml.safe_load((tmp_path / "config.yaml").read_text())["accounts"]
    assert account == {
        "name": "shop",
        "api_key_file": "key",
        "generation_files": ["ids/*.txt"],
        "webhook_secret_env": "VIVIX_WEBHOOK_SECRET",
    }
    check(tmp_path)


@pytest.mark.parametrize("name", ["on", "123", "null", "1e3", "a.b-c_d"])
def test_a_name_stays_what_it_is(tmp_path: Path, name: str) -> None:
    assert (
        init(tmp_path, "--account", name, "--api-key-env", "VIVIX_API_KEY", "--ids", "http").returncode == 0
    )
    check(tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["accounts"][0]["name"] == name


@pytest.mark.parametrize(
    ("arguments", "answers", "what_to_do"),
    [
        (
            ("--account", "studio", "--api-key-env", KEY, "--ids", "http"),
            "",
            "put it into a variable or a file",
        ),
        ((), f"studio\nenvironment\n{KEY}\nhttp\n", "put it into a variable or a file"),
        ((), "studio\n", "answers are missing: give --account, --api-key-env or --api-key-file, and --ids"),
        (("--api-key-env", "A", "--api-key-file", "b"), "", "not both"),
        (
            ("--account", "a b", "--api-key-env", "A", "--ids", "http"),
            "",
            "accounts[0].name: expected a name of",
        ),
        (("--account", "a", "--api-key-env", "5A", "--ids", "http"), "", "begins with no digit"),
        (("--account", "a", "--api-key-file", "b\nc", "--ids", "http"), "", "expected text of one line"),
        (
            ("--config.file", "no/config.yaml", "--account", "a", "--api-key-env", "A", "--ids", "http"),
            "",
            "cannot write no/config.yaml: No such file or directory",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_writes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], answers: str, what_to_do: str
) -> None:
    done = init(tmp_path, *arguments, answers=answers)
    assert done.returncode == 2
    assert what_to_do in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    done = init(tmp_path, "--account", "studio", "--api-key-env", "VIVIX_API_KEY", "--ids", "http")
    assert done.returncode == 2
    assert "config.yaml is there already" in done.stderr
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    options = ("--account", "studio", "--api-key-env", "VIVIX_API_KEY", "--ids", "http")
    no_room = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
    done = run("init", *options, cwd=tmp_path, prefix=no_room)
    assert (done.returncode, done.stderr) == (
        2,
        "vivix-exporter: cannot write config.yaml: File too large\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_without_a_stdin_answers_are_missing(tmp_path: Path) -> None:
    done = run("init", cwd=tmp_path, prefix=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert done.returncode == 2
    assert "answers are missing" in done.stderr
    assert "Traceback" not in done.stderr
