"""`migrate-state` as users run it: ended in the middle, run again, refused; and what an exporter finds."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from exporter.config import Secret
from exporter.domain.values import AccountName, GenerationId, NewGeneration
from exporter.store import open_database
from exporter.store.inbox import Inbox
from exporter.store.letters import registration
from support.postgresql import LOCKED, Server
from support.running import PATIENCE, exporter, until, write_config
from support.scrape import Scrape
from support.states import contents, state_url

COMMAND = str(Path(sys.executable).with_name("vivix-exporter"))
VERSION_1 = Path(__file__).parents[1] / "testdata" / "state" / "version-1.sql"
MORE = 4_000
"""Generations besides those of the state of version 1, which are of all kinds."""
MIDDLE = f"more-{MORE // 2}"
WAITING = (
    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE NOT granted AND datname = current_database()"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "vivix-exporter.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())
    open_database(path, owner=True).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(generations)")]
        copied = ", ".join("'more-' || value" if name == "id" else name for name in columns)
        connection.execute(
            f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {MORE}) "
            f"INSERT INTO generations SELECT {copied} FROM n, generations WHERE id = 'listed-completed'"
        )
    return path


@pytest.fixture
def target(postgresql: Server) -> Iterator[Secret]:
    with postgresql.database() as url:
        yield url


def command(*arguments: str) -> list[str]:
    return [COMMAND, *arguments]


def migrating(source: Path, target: Secret) -> list[str]:
    return command("migrate-state", "--from", f"sqlite:///{source}", "--to", target.reveal())


def run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr
    return done


def configure(folder: Path, target: Secret) -> Path:
    account: dict[str, object] = {"name": "studio", "base_url": "http://127.0.0.1:9", "api_key": "k" * 41}
    return write_config(folder, [account], state={"url": target.reveal()})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_a_migration_that_was_ended_in_the_middle_goes_on_when_it_is_run_again(
    source: Path, target: Secret, tmp_path: Path, number: signal.Signals
) -> None:
    before, held = source.read_bytes(), contents(source)
    open_database(target, owner=True).close()
    blocking = psycopg.connect(target.reveal())
    asking = psycopg.connect(target.reveal(), autocommit=True)
    with closing(blocking), closing(asking):
        # Whoever inserts the same key waits for the end of this transaction.
        blocking.execute(
            "INSERT INTO generations (account, id, source, discovered_us, listed, registered, polls) "
            f"VALUES ('studio', '{MIDDLE}', 'api', 1, false, true, 0)"
        )
        process = await asyncio.create_subprocess_exec(
            *migrating(source, target), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        await until(lambda: asking.execute(WAITING).fetchone() != (0,), "it waits in the middle")
        process.send_signal(number)
        _, said = await process.communicate()
    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
    assert said == b""
    config = str(configure(tmp_path, target))
    for refused in (
        run(command("run", "--config.file", config, "--web.listen-address", "127.0.0.1:0")),
        run(command("check", "--config.file", config)),
    ):
        assert refused.returncode == 2
        assert "a migration into this state has not finished" in refused.stderr
    done = run(migrating(source, target))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"generations: goes on behind row {MORE // 2 // 1000 * 1000}" in done.stdout
    assert contents(target) == held
    assert source.read_bytes() == before
    assert run(command("check", "--config.file", config)).returncode == 0
    explained = run(command("explain", "ended-after-drop", "--config.file", config))
    assert "dropped: gave_up" in explained.stdout


async def counted(folder: Path, at: Path | Secret) -> Scrape:
    """The metrics of an exporter that has begun with a state, without those that time alone changes."""
    names = ("studio", "lab")
    accounts = [{"name": name, "base_url": "http://127.0.0.1:9", "api_key": "k" * 41} for name in names]
    path = write_config(folder, accounts, state={"url": state_url(at)})
    async with exporter(path) as running, asyncio.timeout(PATIENCE):
        while (page := await running.scrape()).sum("vivix_exporter_accounts_owned") < len(names):
            await asyncio.sleep(0.01)
    samples = {
        key: value
        for key, value in page.samples.items()
        if key[0].startswith(("vivix_generation", "vivix_credits")) and "oldest" not in key[0]
    }
    return Scrape(samples)


async def test_an_exporter_counts_on_from_the_copy(source: Path, target: Secret, tmp_path: Path) -> None:
    done = await asyncio.to_thread(run, migrating(source, target))
    assert done.returncode == 0
    copy, original = await counted(tmp_path, target), await counted(tmp_path, source)
    assert copy == original
    assert copy.sum("vivix_generations_total", account="lab") == 1
    assert copy.sum("vivix_generation_failures_total") == 3


def test_what_was_replaced_is_told(source: Path, target: Secret) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE generations SET end_message = char(0) WHERE id = 'from-file-failed'")
    done = run(migrating(source, target))
    assert done.returncode == 0
    assert "1 texts held what PostgreSQL cannot hold" in done.stdout


def test_a_migration_goes_back_to_a_file(source: Path, target: Secret, tmp_path: Path) -> None:
    held = contents(source)
    assert run(migrating(source, target)).returncode == 0
    back = tmp_path / "back.db"
    done = run(command("migrate-state", "--from", target.reveal(), "--to", f"sqlite:///{back}"))
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(back) == held


async def test_what_replicas_had_acknowledged_is_followed_where_the_state_is_a_file_then(
    target: Secret, tmp_path: Path
) -> None:
    letter = registration(AccountName("studio"), [NewGeneration(GenerationId("waiting"))], 1)
    with closing(open_database(target, owner=True)) as database, database.begin() as connection:
        Inbox(connection).put(letter)
    back = tmp_path / "back.db"
    arguments = command("migrate-state", "--from", target.reveal(), "--to", f"sqlite:///{back}")
    assert (await asyncio.to_thread(run, arguments)).returncode == 0
    account: dict[str, object] = {"name": "studio", "base_url": "http://127.0.0.1:9", "api_key": "k" * 41}
    async with exporter(write_config(tmp_path, [account], state={"url": state_url(back)})) as running:
        await until(lambda: running.app.followed() == {"studio": 1}, "it is followed")
        page = await running.scrape()
    assert page.sum("vivix_generations_discovered_total", source="api") == 1
    assert contents(back)["inbox"] == []


def test_urls_with_passwords_need_not_be_on_the_command_line(
    source: Path, postgresql: Server, target: Secret, tmp_path: Path
) -> None:
    name = target.reveal().rpartition("/")[2]
    postgresql.execute(f"CREATE ROLE mover LOGIN PASSWORD 'hunter2' IN ROLE {LOCKED}")
    try:
        postgresql.execute("GRANT ALL ON SCHEMA public TO mover", name)
        mover = postgresql.url(name, user="mover")
        refused = run(migrating(source, mover), PGPASSWORD="hunter3")
        assert refused.returncode == 2
        assert "password authentication failed" in refused.stderr
        assert "hunter" not in refused.stdout + refused.stderr
        file = tmp_path / "url"
        file.write_text(mover.reveal().replace("mover@", "mover:hunter2@") + "\n")
        place = f"sqlite:///{source}"
        done = run(command("migrate-state", "--to.url-file", str(file)), VIVIX_EXPORTER_FROM=place)
        assert (done.returncode, done.stderr) == (0, "")
        assert "hunter" not in done.stdout
        assert contents(target) == contents(source)
    finally:
        postgresql.execute("DROP OWNED BY mover CASCADE; DROP ROLE mover", name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "sqlite:///a"], "exactly one of --to and --to.url-file"),
        (["--to", "postgresql://h/d"], "exactly one of --from and --from.url-file"),
        (["--from", "sqlite:///a", "--from.url-file", "b"], "exactly one of --from and --from.url-file"),
        (["--from", "sqlite:///a", "--to", "sqlite:///b"], "copy the file"),
        (["--from", "postgresql://h/a", "--to", "postgresql://h/b"], "use pg_dump"),
        (["--from", "sqlite:///a", "--to", "mysql://u:hunter2@h/d"], "--to"),
        (["--from", "sqlite:///a", "--to.url-file", "none"], "none: No such file"),
        (["--from", "sqlite:///none.db", "--to", "postgresql://127.0.0.1:1/d"], "no such state file"),
    ],
)
def test_what_cannot_be_done_is_refused_with_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(["env", f"--chdir={tmp_path}", *command("migrate-state", *arguments)])
    assert done.returncode == 2
    assert message in done.stderr
    assert "hunter2" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_reached_is_refused_and_the_source_stays(source: Path) -> None:
    before = source.read_bytes()
    done = run(migrating(source, Secret("postgresql://127.0.0.1:1/d")))
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr
    assert source.read_bytes() == before
