"""Whole commands, as a user types them: what they print, and how they end."""

import asyncio
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.models import MODELS
from exporter.simulator.server import serve
from exporter.simulator.world import World
from exporter.store import open_database
from support.commands import COMMAND, found, on_a_free_port, printed, run, started
from support.running import until, write_config
from support.scrape import parse

KEY = f"vvx_live_{'studio':0<32}"
DEAD = "http://127.0.0.1:9"


def assert_refused(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    """It ended with `status` and one readable message that holds these parts."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr
    assert KEY not in done.stderr + done.stdout


def configured(folder: Path, **account: object) -> Path:
    return write_config(folder, [{"name": "studio", "base_url": DEAD, "api_key": KEY, **account}])


def test_the_version_and_the_help_are_printed() -> None:
    assert re.fullmatch(r"vivix-exporter \d+\.\d+\.\d+\n", run("--version").stdout)
    for command in (
        (),
        ("run",),
        ("check",),
        ("demo",),
        ("simulate",),
        ("explain",),
        ("schema",),
        ("migrate-state",),
    ):
        done = run(*command, "--help")
        assert done.returncode == 0
        assert "Usage: vivix-exporter" in done.stdout


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("vivix-exporter ")


@pytest.mark.parametrize(
    ("arguments", "message", "command"),
    [
        ((), "Missing command.", "vivix-exporter"),
        (("fly",), "No such command 'fly'.", "vivix-exporter"),
        (("run", "--no-such-flag"), "No such option", "vivix-exporter run"),
        (("run", "--log.level", "loud"), "'loud' is not one of", "vivix-exporter run"),
        (("demo", "--speed", "fast"), "'fast' is not a valid float", "vivix-exporter demo"),
        (("explain",), "Missing argument 'ID'", "vivix-exporter explain"),
        (("schema", "--state.url", "hunter2"), "expected sqlite:///", "vivix-exporter schema"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_message(
    arguments: tuple[str, ...], message: str, command: str
) -> None:
    done = run(*arguments)
    assert_refused(done, 2, message, f"see '{command} --help'")
    assert all(line.startswith("vivix-exporter: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"), ("WEB_ENABLE_LIFECYCLE", "maybe")],
)
def test_a_variable_with_nonsense_is_wrong_usage_that_names_it(variable: str, value: str) -> None:
    name = f"VIVIX_EXPORTER_{variable}"
    assert_refused(run("run", env={name: value}), 2, name, f"'{value}'")


def test_every_line_of_an_error_names_the_program(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("acounts: []\npoling: {}\n")
    done = run("check", "--config.file", str(tmp_path / "config.yaml"))
    assert_refused(done, 2, "acounts", "poling")
    assert len(done.stderr.splitlines()) > 1
    assert all(line.startswith("vivix-exporter: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("closed", [("--help",), ("check", "--help")])
def test_a_reader_that_has_gone_is_no_traceback(closed: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, *closed], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_traceback(tmp_path: Path, redirection: str) -> None:
    command = f"{COMMAND[0]} check --config.file {configured(tmp_path)} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["--help", "simulate"])
def test_output_that_cannot_be_written_is_a_failure(command: str) -> None:
    arguments = ["--help"] if command == "--help" else [command, "--listen", "127.0.0.1:0"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, "vivix-exporter: No space left on device\n")


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["cannot read", "No such file"]),
        ("", ["empty"]),
        ("accounts:\n\t- name: a\n", [":2:1", "tab"]),
        ("accounts: 5\n", [":1:11", "accounts", "list"]),
        ("acounts: []\n", [":1:1", "did you mean 'accounts'"]),
        ("accounts:\n- {name: a, api_key: k}\n- {name: a, api_key: k}\n", ["two accounts", "'a'"]),
        ("accounts:\n- {name: a, api_key: k, api_key_env: E}\n", ["exactly one of", "api_key_env"]),
        ("accounts:\n- {name: a}\n", ["exactly one of", "api_key_file"]),
        ("accounts:\n- {name: a, api_key: k}\npolling: {target_lag: 2 parsecs}\n", ["2 parsecs", "such as"]),
        ("accounts:\n- {name: a, api_key: k, base_url: nowhere}\n", ["base_url", "expected a URL"]),
        ("accounts:\n- {name: a, api_key_file: gone.key}\n", ["gone.key", "No such file"]),
        ("accounts:\n- {name: a, api_key_env: NOT_SET_ANYWHERE}\n", ["NOT_SET_ANYWHERE", "not set"]),
        ("accounts:\n- {name: a, api_key: !env X}\n", [":2:22", "accounts[0].api_key", "not supported"]),
        ("accounts:\n- {name: a, api_key: k, base_url: 2026-02-30}\n", [":2:35", "base_url", "date"]),
        ("accounts:\n- {name: a, api_key: k, calls_per_minute: 0x_}\n", [":2:43", "calls_per_minute"]),
        ('accounts:\n- {name: a, api_key_file: "a\\0b"}\n', [":2:27", "api_key_file"]),
        ("accounts:\n- {name: a, api_key: !!binary '?'}\n", [":2:22", "api_key"]),
        ("accounts: *nowhere\n", [":1:11", "alias"]),
        ("accounts:\n- {name: a, api_key: k}\nstate: {retention: 999999999d}\n", [":3:20", "36500d"]),
        ("accounts:\n- {name: a, api_key: k, base_url: 'http://foo..bar'}\n", [":2:35", "the host"]),
    ],
)
def test_a_bad_configuration_is_refused_with_its_place(
    tmp_path: Path, command: str, content: str | None, parts: list[str]
) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    assert_refused(run(command, "--config.file", str(path)), 2, "config.yaml", *parts)


def test_a_state_file_in_use_is_refused(tmp_path: Path) -> None:
    path = configured(tmp_path)
    database = open_database(tmp_path / "vivix-exporter.db", owner=True)
    done = run("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    database.close()
    assert_refused(done, 2, "vivix-exporter.db", "in use by another exporter")


def test_a_state_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = configured(tmp_path)
    open_database(tmp_path / "vivix-exporter.db", owner=True).close()
    connection = sqlite3.connect(tmp_path / "vivix-exporter.db")
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    done = run("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    assert_refused(done, 2, "schema version 99")


def test_a_port_in_use_ends_with_1(tmp_path: Path) -> None:
    path = configured(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("run", "--config.file", str(path), "--web.listen-address", address)
    assert_refused(done, 1, address, "Address already in use")


def test_a_malformed_address_is_wrong_usage(tmp_path: Path) -> None:
    done = run("run", "--config.file", str(configured(tmp_path)), "--web.listen-address", "9893")
    assert_refused(done, 2, "9893", "HOST:PORT")


def test_check_reports_what_it_found(tmp_path: Path) -> None:
    done = run("check", "--config.file", str(configured(tmp_path, generations=["a", "b"])))
    assert done.returncode == 0
    assert "valid" in done.stdout
    assert "studio" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_the_example_is_accepted_with_a_warning_about_its_key() -> None:
    example = Path(__file__).parents[2] / "config.example.yaml"
    done = run("check", "--config.file", str(example))
    assert done.returncode == 0
    assert f"warning: {example}:8:14: accounts[0].api_key: this seems to be a placeholder" in done.stderr


def test_check_warns_of_what_is_probably_not_meant(tmp_path: Path) -> None:
    (tmp_path / "studio.key").write_text(KEY)
    (tmp_path / "studio.key").chmod(0o644)
    accounts = [{"name": "studio", "api_key_file": "studio.key", "generation_files": ["ids/*.txt"]}]
    path = write_config(tmp_path, accounts)
    done = run("check", "--config.file", str(path))
    assert done.returncode == 0
    assert "accounts[0].api_key_file: every user of this machine can read" in done.stderr
    assert "accounts[0].generation_files[0]: this pattern matches no file" in done.stderr
    (tmp_path / "studio.key").chmod(0o600)
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "one.txt").write_text("a\n")
    assert run("check", "--config.file", str(path)).stderr == ""


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("config.yaml/state.db", "is not a folder"),
        ("folder", "not a regular file"),
        ("other.db", "file is not a database"),
        ("/proc/state.db", "cannot write in /proc"),
        ("n" * 300, "File name too long"),
    ],
)
def test_check_refuses_a_state_that_run_could_not_use(tmp_path: Path, state: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.db").write_text("no database")
    path = write_config(tmp_path, [{"name": "a", "api_key": KEY}], state={"url": f"sqlite:///{state}"})
    assert_refused(run("check", "--config.file", str(path)), 2, state, message)


def test_check_accepts_a_state_that_a_running_exporter_has_locked(tmp_path: Path) -> None:
    path = configured(tmp_path)
    database = open_database(tmp_path / "vivix-exporter.db", owner=True)
    done = run("check", "--config.file", str(path))
    database.close()
    assert done.returncode == 0, done.stderr


def test_the_url_of_the_state_is_read_from_where_the_configuration_says(tmp_path: Path) -> None:
    accounts = [{"name": "a", "api_key": KEY}]
    (tmp_path / "state.url").write_text("sqlite:///elsewhere.db\n")
    open_database(tmp_path / "elsewhere.db", owner=True).close()
    path = write_config(tmp_path, accounts, state={"url_file": "state.url"})
    assert_refused(run("explain", "x", "--config.file", str(path)), 1, "elsewhere.db", "no generation 'x'")
    path = write_config(tmp_path, accounts, state={"url_env": "STATE_URL"})
    done = run("check", "--config.file", str(path), env={"STATE_URL": "postgresql://u:hunter2@127.0.0.1:1/d"})
    assert_refused(done, 2, "postgresql://127.0.0.1:1/d: cannot open the state: ", "Connection refused")
    assert "hunter2" not in done.stderr
    done = run("check", "--config.file", str(path), env={"STATE_URL": "mysql://u:hunter2@h/d"})
    assert_refused(done, 2, "state.url_env: expected sqlite:///")
    assert "hunter2" not in done.stderr


def test_flags_are_read_from_the_environment(tmp_path: Path) -> None:
    path = configured(tmp_path)
    assert run("check", env={"VIVIX_EXPORTER_CONFIG_FILE": str(path)}).returncode == 0


async def test_check_online_tells_a_good_key_from_a_bad_one(tmp_path: Path) -> None:
    api = SimulatedApi(World(1, [SimulatedAccount("studio", KEY)]), SystemClock())
    async with serve(create_app(api)) as address:
        good = configured(tmp_path, base_url=address.url)
        done = await asyncio.to_thread(run, "check", "--online", "--config.file", str(good))
        assert done.returncode == 0, done.stderr
        assert "240 calls a minute" in done.stdout
        bad = configured(tmp_path, base_url=address.url, api_key=KEY[:-1] + "x")
        done = await asyncio.to_thread(run, "check", "--online", "--config.file", str(bad))
        assert_refused(done, 2, "studio", "KEY_INVALID")


async def test_run_follows_explains_and_stops_on_sigterm(tmp_path: Path) -> None:
    world = World(1, [SimulatedAccount("studio", KEY)])
    clock = SystemClock()
    api = SimulatedApi(world, clock)
    now_us = clock.now_us()
    ended = world.add_ended(
        "studio", MODELS[0], "ended-before", now_us - 60_000_000, 12_420_000, now_us, None, 211
    )
    running = world.submit("studio", MODELS[0], 1, now_us)
    async with serve(create_app(api)) as address:
        path = configured(tmp_path, base_url=address.url, generations=[ended.id, running.id])
        async with started(*on_a_free_port(path)) as (process, lines):
            await until(printed(lines, "generation ended"), "the end is seen")
            url = "http://" + json.loads(next(line for line in lines if "listening" in line))["address"]
            async with httpx.AsyncClient() as http:
                page = parse((await http.get(f"{url}/metrics")).text)
                assert (await http.get(f"{url}/-/healthy")).status_code == 200
                assert (await http.get(f"{url}/-/ready")).status_code == 200
            known = await asyncio.to_thread(run, "explain", ended.id, "--config.file", str(path))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert page.of("vivix_generations_total") == {("studio", MODELS[0].slug, "completed"): 1}
    line = json.loads(next(line for line in lines if "generation ended" in line))
    assert {key: line[key] for key in ("id", "model", "status", "duration", "credits")} == {
        "id": ended.id,
        "model": MODELS[0].slug,
        "status": "completed",
        "duration": 12.42,
        "credits": 211.0,
    }
    assert "completed of" in known.stdout
    assert "211 credits" in known.stdout
    assert KEY not in "\n".join(lines)


async def test_run_reloads_on_sighup(tmp_path: Path) -> None:
    path = configured(tmp_path)
    async with started(*on_a_free_port(path)) as (process, lines):
        await until(printed(lines, "following"), "it follows")
        write_config(
            tmp_path, [{"name": name, "base_url": DEAD, "api_key": KEY} for name in ("studio", "shop")]
        )
        process.send_signal(signal.SIGHUP)
        await until(printed(lines, "the configuration was reloaded"), "it reloads")
        path.write_text("accounts: []\n")
        process.send_signal(signal.SIGHUP)
        await until(printed(lines, "expected at least one account"), "it refuses")
        for broken, place in (
            ("accounts: !env X\n", ":1:11: "),
            ("accounts: [{a: 2026-02-30}]\n", ":1:16: "),
        ):
            path.write_text(broken)
            process.send_signal(signal.SIGHUP)
            await until(printed(lines, re.escape(place)), "it refuses")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    reloaded = json.loads(next(line for line in lines if "was reloaded" in line))
    assert (reloaded["accounts"], reloaded["added"], reloaded["removed"]) == (2, 1, 0)
    refused = json.loads(next(line for line in lines if "is refused" in line))
    assert "expected at least one account" in refused["error"]


def test_check_says_which_files_of_ids_are_broken(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("a\nb\n")
    path = configured(tmp_path, generation_files=["*.txt", "*.json"])
    done = run("check", "--config.file", str(path))
    assert "in files: 2" in done.stdout
    (tmp_path / "bad.json").write_text("[")
    assert_refused(run("check", "--config.file", str(path)), 2, "bad.json", "1 files of ids cannot be used")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--webhook.url", "http://localhost/"), "ACCOUNT=URL"),
        (("--webhook.url", "nobody=http://localhost/"), "there are studio, shop, lab"),
        (("--webhook.url", "studio=localhost"), "not the URL of a webhook"),
        (("--webhook.url", "studio=http://localhost/", "--webhook.secret", ""), "is empty"),
        (("--webhook.url", "studio=http://localhost/") * 6, "more than 5"),
    ],
)
def test_a_webhook_that_makes_no_sense_is_refused(arguments: Sequence[str], part: str) -> None:
    assert_refused(run("simulate", "--listen", "127.0.0.1:0", *arguments), 2, "webhooks", part)


def test_explaining_an_id_that_was_never_registered_says_so(tmp_path: Path) -> None:
    path = configured(tmp_path)
    assert_refused(run("explain", "nobody", "--config.file", str(path)), 2, "no such state file")
    open_database(tmp_path / "vivix-exporter.db", owner=True).close()
    assert_refused(run("explain", "nobody", "--config.file", str(path)), 1, "no generation 'nobody'")


def test_explaining_needs_no_secret(tmp_path: Path) -> None:
    account = {"name": "a", "api_key_env": "NOT_SET", "webhook_secret_file": "gone"}
    path = write_config(tmp_path, [account], web={"registration_token_file": "gone"})
    open_database(tmp_path / "vivix-exporter.db", owner=True).close()
    assert_refused(run("explain", "nobody", "--config.file", str(path)), 1, "no generation 'nobody'")


@pytest.mark.parametrize(
    ("listen", "shown"), [("0.0.0.0:0", r"0\.0\.0\.0:[1-9]\d*"), (":0", r"(\[::\]|0\.0\.0\.0):[1-9]\d*")]
)
async def test_the_address_that_is_listened_on_is_logged(tmp_path: Path, listen: str, shown: str) -> None:
    arguments = ("run", "--config.file", str(configured(tmp_path)), "--web.listen-address", listen)
    async with started(*arguments) as (process, lines):
        await until(printed(lines, f"msg=listening address={shown}$"), "it listens")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_logs_begin_with_time_level_and_message_in_both_formats(tmp_path: Path) -> None:
    path = configured(tmp_path, generation_files=["broken.json"])
    (tmp_path / "broken.json").write_text("[")
    for style, first in (
        ("json", r'{"ts": "\S+", "level": "warn", "msg": "'),
        ("logfmt", r"ts=\S+ level=warn msg="),
    ):
        arguments = (*on_a_free_port(path)[:-1], style, "--log.level", "warning")
        async with started(*arguments) as (process, lines):
            await until(printed(lines, f"^{first}.*broken"), "a warning is logged")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        assert not printed(lines, "listening")()


async def signalled_early(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal as soon as the process handles it, long before it is ready."""
    mask = 1 << (number - 1)
    while (
        not int(re.findall(r"SigCgt:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text())[0], 16) & mask
    ):
        await asyncio.sleep(0)
    process.send_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_end_during_the_start_ends_it_quietly(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with started(*on_a_free_port(configured(tmp_path))) as (process, lines):
        # Python itself handles SIGINT before the command does.
        await signalled_early(process, signal.SIGTERM if number is signal.SIGTERM else signal.SIGHUP)
        if number is signal.SIGINT:
            process.send_signal(number)
        assert await process.wait() == 0
    assert "Traceback" not in "\n".join(lines)


async def test_sighup_during_the_start_reloads_later(tmp_path: Path) -> None:
    async with started(*on_a_free_port(configured(tmp_path))) as (process, lines):
        await signalled_early(process, signal.SIGHUP)
        await until(printed(lines, "the configuration was reloaded"), "it reloads")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_the_demo_has_moving_totals_of_several_models_and_reasons() -> None:
    async with started("demo", "--web.listen-address", "127.0.0.1:0", "--speed", "20") as (process, lines):
        await until(printed(lines, "Metrics at"), "the address is printed")
        url = found(lines, r"Metrics at +(http://\S+)")
        async with httpx.AsyncClient(timeout=30) as http:
            before = 0.0
            async with asyncio.timeout(120):
                while True:
                    answer = await http.get(url)
                    page = parse(answer.text) if answer.status_code == 200 else parse("")
                    models = {labels[1] for labels in page.of("vivix_generations_total")}
                    reasons = {labels[2] for labels in page.of("vivix_generation_failures_total")}
                    total = page.sum("vivix_generations_total")
                    if len(models) > 3 and len(reasons) > 1 and 0 < before < total:
                        break
                    before = before or total
                    await asyncio.sleep(0.1)
                delivered = page.of("vivix_exporter_webhook_deliveries_total")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert {result for _, result in delivered} <= {"accepted", "repeat"}
    assert not [line for line in lines if "level=" in line]


async def test_the_simulator_alone_answers_and_stops() -> None:
    async with started("simulate", "--listen", "127.0.0.1:0") as (process, lines):
        await until(printed(lines, "account lab"), "the accounts are printed")
        url = found(lines, r"API at (http://\S+)")
        key = found(lines, r"account studio .*key (\S+)")
        async with httpx.AsyncClient() as http:
            plan = await http.get(f"{url}/api/v1/credits", headers={"Authorization": f"Bearer {key}"})
            assert plan.json()["tier"] == "ultimate"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_the_simulator_delivers_webhooks_where_it_it_is_asked_to() -> None:
    delivered: list[tuple[str, bytes]] = []

    async def take(request: Request) -> Response:
        delivered.append((request.headers["X-Vivix-Signature"], await request.body()))
        return Response(status_code=204)

    async with serve(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as receiver:
        arguments = ("--webhook.url", f"studio={receiver.url}/hook", "--speed", "200")
        async with started("simulate", "--listen", "127.0.0.1:0", *arguments) as (process, lines):
            await until(printed(lines, "account lab"), "the accounts are printed")
            url, secret = found(lines, r"API at (http://\S+)"), found(lines, r"/hook, signed with (\S+)")
            async with httpx.AsyncClient() as http:
                submitted = await http.post(f"{url}/simulator/submit", json={"account": "studio", "count": 3})
            await until(lambda: len(delivered) == 3, "every end is delivered")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert {json.loads(body)["generation_id"] for _, body in delivered} == set(submitted.json()["ids"])
    for signature, body in delivered:
        assert signature == f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    assert "Traceback" not in "\n".join(lines)


async def test_a_given_webhook_secret_is_not_printed() -> None:
    arguments = ("--webhook.url", f"studio={DEAD}", "--webhook.secret", "whsec_mine")
    async with started("simulate", "--listen", "127.0.0.1:0", *arguments) as (process, lines):
        await until(printed(lines, "account lab"), "the accounts are printed")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert "signed with the given secret" in "\n".join(lines)
    assert "whsec_mine" not in "\n".join(lines)


@pytest.mark.parametrize("command", ["run", "check", "demo"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
    ],
)
def test_a_variable_of_opentelemetry_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, command: str, name: str, value: str
) -> None:
    arguments = [] if command == "demo" else ["--config.file", str(configured(tmp_path))]
    arguments += [] if command == "check" else ["--web.listen-address", "127.0.0.1:0"]
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": DEAD, name: value}
    assert_refused(run(command, *arguments, env=environment), 2, f"{name}: expected")


async def test_a_collector_that_hangs_does_not_keep_the_exporter_from_stopping(tmp_path: Path) -> None:
    clock = SystemClock()
    world = World(1, [SimulatedAccount("studio", KEY)])
    now_us = clock.now_us()
    ended = world.add_ended("studio", MODELS[0], "ended", now_us - 60_000_000, 12_420_000, now_us, None, 211)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        async with serve(create_app(SimulatedApi(world, clock))) as address:
            path = configured(tmp_path, base_url=address.url, generations=[ended.id])
            endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}"
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
            arguments = ("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
            async with started(*arguments, env=environment) as (process, lines):
                await until(printed(lines, "generation ended"), "the end is seen")
                connection, _ = await asyncio.to_thread(hanging.accept)
                with connection:
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0
    assert "Traceback" not in "\n".join(lines)


async def test_a_password_that_is_being_compared_does_not_keep_the_exporter_from_stopping(
    tmp_path: Path,
) -> None:
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users: {{dave: $2b$31${'.' * 53}}}\n")  # 35 hours
    arguments = (*on_a_free_port(configured(tmp_path)), "--web.config.file", str(web))
    async with started(*arguments) as (process, lines):
        await until(printed(lines, "following"), "it runs")
        address = found(lines, '"address": ?"([^"]+)"')
        async with httpx.AsyncClient(timeout=None) as http:
            asked = asyncio.create_task(http.get(f"http://{address}/metrics", auth=("dave", "x")))
            await http.get(f"http://{address}/-/ready")
            process.send_signal(signal.SIGTERM)
            assert (await asked).status_code == 503
            assert await process.wait() == 0
    assert "Traceback" not in "\n".join(lines)


async def test_spans_are_printed_where_that_is_asked_for(tmp_path: Path) -> None:
    environment = {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "pictures"}
    arguments = ("demo", "--web.listen-address", "127.0.0.1:0")
    async with started(*arguments, env=environment) as (process, lines):
        await until(printed(lines, '"name": "generate_content '), "a span is printed")
        await until(printed(lines, '"service.name": "pictures"'), "with its resource")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--web.config.file", "nowhere.yml"), "nowhere.yml: cannot read the web configuration"),
        (("--web.config.file", "WRONG"), "did you mean 'basic_auth_users'?"),
        (("--web.external-url", "ftp://example.org/"), "is not a URL"),
        (("--web.external-url", "https://example.org/?q=1"), "is not a URL"),
        (("--web.webhook-listen-address", "9894"), "is not an address"),
    ],
)
def test_flags_of_the_server_that_make_no_sense_are_refused_at_the_start(
    tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    wrong = tmp_path / "web.yml"
    wrong.write_text("basic_auth_user: {}\n")
    given = [str(wrong) if flag == "WRONG" else flag for flag in flags]
    assert_refused(run(*on_a_free_port(configured(tmp_path)), *given), 2, message)


def test_check_reads_the_web_configuration_too(tmp_path: Path) -> None:
    config, web = configured(tmp_path), tmp_path / "web.yml"
    web.write_text("basic_auth_users: {}\n")
    well = run("check", "--config.file", str(config), "--web.config.file", str(web))
    assert well.returncode == 0
    assert f"{web}: valid" in well.stdout
    web.write_text("basic_auth_users: {dave: secret}\n")
    wrong = run("check", "--config.file", str(config), "--web.config.file", str(web))
    assert_refused(wrong, 2, f"{web}: basic_auth_users.dave: expected a bcrypt hash")


async def test_a_simulation_gives_no_id_of_an_earlier_one() -> None:
    given: set[str] = set()
    for _ in range(2):
        async with started("simulate", "--listen", "127.0.0.1:0") as (_, lines), httpx.AsyncClient() as http:
            await until(printed(lines, "account lab"), "the accounts are printed")
            url = found(lines, r"API at (http://\S+)")
            submitted = await http.post(f"{url}/simulator/submit", json={"account": "studio", "count": 3})
            given |= set(submitted.json()["ids"])
    assert len(given) == 6
