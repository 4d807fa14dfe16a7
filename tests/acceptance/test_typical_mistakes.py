"""What people get wrong in their first hour: each ends in one line that says what to do."""

import json
import os
from pathlib import Path

import httpx
import pytest
import yaml

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.webhooks import signature
from exporter.simulator.world import World
from support.commands import found, on_a_free_port, printed, run, started
from support.running import until

KEY = f"vvx_live_{'studio':0<32}"
API = "http://127.0.0.1:9"
ID = "5B91A581-EE19-4F86-9FEA-BD29471D69D5"


def config(folder: Path, state: str | None = None, **account: object) -> Path:
    """A configuration of one account, whose key nobody else can read."""
    (folder / "key").write_text(KEY)
    (folder / "key").chmod(0o600)
    keys = {"name": "studio", "base_url": API, "api_key_file": "key", **account}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"accounts": [keys], **({"state": {"url": state}} if state else {})}))
    return path


def said(*arguments: str, status: int = 2, prefix: tuple[str, ...] = ()) -> str:
    """The one line that a command ends with."""
    done = run(*arguments, prefix=prefix)
    assert done.returncode == status, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("vivix-exporter: ")]
    assert KEY not in line
    return line


def checked(path: Path, *more: str) -> str:
    return said("check", "--config.file", str(path), *more)


def test_a_path_in_the_base_url(tmp_path: Path) -> None:
    assert "base_url: leave off /api/v1 at the end" in checked(config(tmp_path, base_url=f"{API}/api/v1"))


def test_a_variable_that_is_missing(tmp_path: Path) -> None:
    path = config(tmp_path, api_key_env="NOT_SET_ANYWHERE", api_key_file=None)
    path.write_text(path.read_text().replace("  api_key_file: null\n", ""))
    line = checked(path)
    assert "api_key_env: the environment variable NOT_SET_ANYWHERE is not set; set it where" in line


@pytest.mark.parametrize(
    ("text", "what_to_do"),
    [
        ("accounts:\n  - name: studio\n   api_key: k\n", "3:4: not YAML: "),
        ("accounts:\n- name: studio\napi_key_file: key\n", "api_key_file: unknown key here; it belongs at "),
        ("accounts:\n\t- name: studio\n", "2:1: a tab cannot indent YAML; use spaces"),
    ],
)
def test_wrong_indentation(tmp_path: Path, text: str, what_to_do: str) -> None:
    path = config(tmp_path)
    path.write_text(text)
    done = run("check", "--config.file", str(path))
    assert done.returncode == 2
    assert what_to_do in done.stderr
    assert "not YAML" not in done.stderr or "is the line indented as those beside it?" in done.stderr


def test_one_slash_too_few(tmp_path: Path) -> None:
    assert "expected sqlite:///RELATIVE/FILE" in checked(config(tmp_path, "sqlite://vivix.db"))
    line = checked(config(tmp_path, "sqlite:///var/lib/vivix.db"))
    assert line.endswith("an absolute path takes four slashes: sqlite:////var/lib/vivix.db")


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_folder_with_a_name_that_none_can_have(tmp_path: Path, command: str) -> None:
    path = config(tmp_path, f"sqlite:///{'n' * 300}/vivix.db")
    assert "File name too long" in said(command, "--config.file", str(path))


def test_a_folder_that_the_user_may_not_write(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = config(tmp_path, f"sqlite:///{folder.relative_to(tmp_path)}/vivix.db")
    folder.chmod(0o555)
    # root may write everywhere, unless it gives that up.
    drop = "-dac_override,-dac_read_search"
    prefix = ("setpriv", "--inh-caps", drop, "--bounding-set", drop) if os.geteuid() == 0 else ()
    line = said("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0", prefix=prefix)
    assert line.startswith(f"vivix-exporter: {folder}: the folder of the state file cannot be written by")
    assert "chown" in line


async def test_two_copies_on_one_state(tmp_path: Path) -> None:
    path = config(tmp_path)
    async with started(*on_a_free_port(path)) as (_, lines):
        await until(printed(lines, '"following"'), "it runs")
        line = said("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    assert "in use by another exporter" in line


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    path = config(tmp_path)
    async with started(*on_a_free_port(path)) as (_, lines):
        await until(printed(lines, '"listening"'), "it listens")
        address = found(lines, r'"listening".*?"address": ?"([^"]+)"')
        line = said("demo", "--web.listen-address", address, status=1)
    assert line.endswith("choose another with --web.listen-address or VIVIX_EXPORTER_WEB_LISTEN_ADDRESS")


@pytest.mark.parametrize(
    ("scheme", "what_to_do"),
    [
        ("http:", "KEY_INVALID: "),
        ("http:", "; give another key"),
        ("https:", "does not speak TLS; is http:// meant?"),
    ],
)
async def test_a_wrong_key_and_https_where_there_is_none(
    tmp_path: Path, scheme: str, what_to_do: str
) -> None:
    world = World(1, [SimulatedAccount("studio", "vvx_live_another")])
    async with serve(create_app(SimulatedApi(world, SystemClock()))) as address:
        path = config(tmp_path, base_url=address.url.replace("http:", scheme))
        async with started("check", "--online", "--config.file", str(path)) as (process, lines):
            assert await process.wait() == 2
            await until(lambda: any(what_to_do in line for line in lines), what_to_do)


async def test_a_webhook_secret_that_does_not_match(tmp_path: Path) -> None:
    (tmp_path / "webhook").write_text("whsec_of_the_exporter")
    path = config(tmp_path, webhook_secret_file="webhook")
    body = json.dumps({"generation_id": ID.lower(), "status": "completed"}).encode()
    async with started(*on_a_free_port(path)) as (_, lines), httpx.AsyncClient() as http:
        await until(printed(lines, '"following"'), "it runs")
        address = found(lines, r'"listening".*?"address": ?"([^"]+)"')
        headers = {"X-Vivix-Signature": signature("whsec_of_the_vendor", body)}
        answer = await http.post(f"http://{address}/webhooks/studio", content=body, headers=headers)
        assert answer.status_code == 401
        await until(printed(lines, "webhook_secret"), "a line says what to check")


async def test_an_id_in_upper_case_is_the_same_one(tmp_path: Path) -> None:
    path = config(tmp_path, generations=[ID])
    async with started(*on_a_free_port(path)) as (_, lines):
        await until(printed(lines, '"following"'), "it runs")
        async with started("explain", ID, "--config.file", str(path)) as (process, told):
            assert await process.wait() == 0
            await until(printed(told, ID.lower()), "it is found")
