"""`migrate-state`: everything that one state holds, copied into another kind of database."""

from pathlib import Path

import click

from exporter import logs
from exporter.commands.stateurls import read_state_url, state_url, state_url_file
from exporter.config import Secret
from exporter.store import open_database
from exporter.store.moving import move


@click.command("migrate-state")
@state_url("--from", name="source", help="The state to copy; it is left as it is.")
@state_url_file("--from.url-file")
@state_url("--to", name="target", help="The empty database to copy to.")
@state_url_file("--to.url-file")
def command(
    source: Path | Secret | None,
    from_url_file: Path | None,
    target: Path | Secret | None,
    to_url_file: Path | None,
) -> None:
    """Copy a state from SQLite to PostgreSQL, or back.

    Stop the exporters that use either before. Everything is copied and compared, and the exporter refuses the
    copy until that is done. A migration that was interrupted goes on when the same command is run again.

    \b
    vivix-exporter migrate-state --from sqlite:///vivix-exporter.db --to postgresql://user@host/database

    A relative file is one of the present folder. Every user of the machine can see the arguments of a
    command: give a password in ~/.pgpass, in PGPASSWORD, in the variables below, or in a file with the URL.
    """
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


def _place(flag: str, url: Path | Secret | None, file: Path | None) -> Path | Secret:
    match url, file:
        case None, Path():
            return read_state_url(file)
        case ((Path() | Secret()), None):
            return url
        case _:
            raise click.UsageError(f"give exactly one of --{flag} and --{flag}.url-file")
