"""`check`: whether a configuration can be run, as far as that can be seen beforehand, and with `--online`
whether each account's key works."""

import asyncio
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

from exporter import logs
from exporter.clock import MICROS, SystemClock
from exporter.config import Config, LocatedConfig, Secret, locate_config, secret_sources
from exporter.domain.values import AccountName
from exporter.errors import ApiError, ApiErrorKind, ConfigError
from exporter.heartbeat import Heartbeat
from exporter.sources.globs import find
from exporter.sources.idfiles import IdFiles
from exporter.store import open_database
from exporter.tracing import choose, open_sender
from exporter.vivix.client import Client, Endpoint
from exporter.web.lock.tls import checked

_VERSION = version("vivix-exporter")
_PLACEHOLDER = re.compile(
    r"replace|change-?me|your-|example|xxxx|[<>…]|\.\.\.|^(todo|secret)$", re.IGNORECASE
)
"""What stands in templates where a key belongs; keys are random letters and digits."""


def command(config_file: Path, web_config_file: Path | None, online: bool) -> None:
    """Check a configuration; see `usage`."""
    logs.set_up("warn", "logfmt")
    checked(web_config_file)
    located = locate_config(config_file)
    config = located.config
    check_tracing(config)
    check_state(config.state_at)
    in_files = asyncio.run(check_files(config))
    for line in warnings(located):
        click.echo(f"vivix-exporter: warning: {line}", err=True)
    ids = sum(len(account.generations) for account in config.accounts)
    names = ", ".join(account.name for account in config.accounts)
    click.echo(f"{config_file}: valid; accounts: {names}; generations listed: {ids}, in files: {in_files}")
    if web_config_file is not None:
        click.echo(f"{web_config_file}: valid")
    if online:
        for line in asyncio.run(check_online(config)):
            click.echo(line)


def check_tracing(config: Config) -> None:
    """Raise ConfigError where `run` could not open what exports the spans."""
    choice = choose(config.tracing, os.environ)
    if choice.traced:
        open_sender(choice, _VERSION).stop()


def check_state(at: Path | Secret) -> None:
    """Raise ConfigError or StateUnusableError where `run` could not open the state, or create it."""
    if isinstance(at, Path):
        check_state_file(at)
    else:
        database = open_database(at, owner=False, may_be_empty=True)
        try:
            database.check_rights()
        finally:
            database.close()


def check_state_file(path: Path) -> None:
    """As `check_state`, for SQLite. A file that a running exporter has locked is in order."""
    folder = path.parent
    # Not Path.exists, which raises where a name is too long.
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(f"{path}: cannot create the state file: {folder} is not a folder")
    try:
        # What mode bits promise, a read-only file system does not keep.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(f"{path}: cannot write in {folder}: {error.strerror}") from None
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: cannot open the state file: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: cannot open the state file: not a regular file")
    if not os.access(path, os.R_OK | os.W_OK):
        raise ConfigError(f"{path}: cannot write the state file: no permission")
    if status.st_size:
        open_database(path, owner=False).close()


def warnings(located: LocatedConfig) -> Iterator[str]:
    """Return a line for each thing that is probably not meant, although the exporter can run with it."""
    config = located.config
    for named in secret_sources(config):
        if any(_PLACEHOLDER.search(secret.reveal()) for secret in named.source.read_all()):
            yield located.line(named.loc, "this seems to be a placeholder; put your own here")
        if named.source.file is not None and named.source.file.stat().st_mode & stat.S_IROTH:
            yield located.line(named.loc, f"every user of this machine can read {named.source.file}")
        if named.source.value is not None and located.path.stat().st_mode & stat.S_IROTH:
            yield located.line(named.loc, f"every user of this machine can read {located.path}")
    for index, account in enumerate(config.accounts):
        for place, pattern in enumerate(account.generation_files):
            if not any(map(os.path.isfile, find(config.folder, pattern).files)):
                loc = ("accounts", index, "generation_files", place)
                yield located.line(loc, "this pattern matches no file at present")


class _Unmetered:
    """A meter that keeps nothing."""

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None:
        pass

    def api_error(self, account: AccountName, label: str) -> None:
        pass


async def check_files(config: Config) -> int:
    """Return how many ids the files of all accounts list. Logs what is wrong with a file; raises ConfigError
    where any is."""
    clock = SystemClock()
    listed = broken = 0
    for account in config.accounts:
        name = AccountName(account.name)
        files = IdFiles(name, config.folder, account.generation_files, clock, Heartbeat(clock), settle=0.0)
        listed += len(await files.read())
        broken += files.broken
    if broken:
        raise ConfigError(f"{broken} files of ids cannot be used")
    return listed


async def check_online(config: Config) -> list[str]:
    """Call the Vivix API with the key of each account. Returns a line for each; raises ConfigError, with a
    line for each account whose key does not work."""
    well, wrong = [], []
    for account in config.accounts:
        client = Client(
            AccountName(account.name),
            account.base_url,
            config.polling.request_timeout / MICROS,
            SystemClock(),
            _Unmetered(),
            _VERSION,
        )
        client.use_key(account.key_source(config.folder).read().reveal())
        try:
            plan = (await client.plan()).value
        except ApiError as error:
            hint = "; give another key" if error.kind is ApiErrorKind.LOCKED_OUT else ""
            wrong.append(f"account {account.name}: {account.base_url}: {error}{hint}")
        else:
            calls = plan.calls_per_minute or "an unknown number of"
            well.append(f"account {account.name}: tier {plan.tier or 'unknown'}, {calls} calls a minute")
        finally:
            await client.retire()
    if wrong:
        raise ConfigError("\n".join(wrong))
    return well
