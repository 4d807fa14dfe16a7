"""`migrate-state`: everything that one state holds, copied into another kind of database."""

from pathlib import Path

import click

from exporter import logs
from exporter.commands.stateurls import place, read_state_url
from exporter.config import Secret
from exporter.store import open_database
from exporter.store.moving import move


def command(
    source: str | None, from_url_file: Path | None, target: str | None, to_url_file: Path | None
) -> None:
    """Copy a state; see `usage`."""
    logs.set_up("warn", "logfmt")
    come_from = _place("from", source, from_url_file)
    go_to = _place("to", target, to_url_file)
    if isinstance(come_from, Path) and isinstance(go_to, Path):
        raise click.UsageError("both are SQLite files: copy the file, while no exporter uses it")
    if isinstance(come_from, Secret) and isinstance(go_to, Secret):
        raise click.UsageError("both are PostgreSQL databases: use pg_dump and pg_restore")
    _migrate(come_from, go_to)


def _migrate(come_from: Path | Secret, go_to: Path | Secret) -> None:
    source = open_database(come_from, owner=False, migrating=True)
    try:
        target = open_database(go_to, owner=True, migrating=True)
        try:
            moved = move(source, target, click.echo)
        finally:
            target.close()
    finally:
        source.close()
    if moved.replaced:
        click.echo(f"{moved.replaced} texts held what PostgreSQL cannot hold; U+FFFD stands in its place")
    click.echo(f"{target.name} holds all {sum(moved.rows.values())} rows of {source.name}")


def _place(flag: str, url: str | None, file: Path | None) -> Path | Secret:
    match url, file:
        case None, Path():
            return read_state_url(file)
        case str(), None:
            return place(f"--{flag}", url)
        case _:
            raise click.UsageError(f"give exactly one of --{flag} and --{flag}.url-file")
