"""`schema`: the SQL by which an administrator makes a state's tables where the exporter may not."""

from pathlib import Path

import click

from exporter.commands.stateurls import state_url as state_url_option
from exporter.config import Secret
from exporter.store.script import schema_script


@click.command("schema")
@state_url_option(
    "--state.url", help="Where the state is to be kept: it tells the dialect, PostgreSQL's without it."
)
def command(state_url: Path | Secret | None) -> None:
    """Print the SQL that creates the tables of a state, for users who may not create them.

    Nothing is connected to. An administrator runs it, as often as they like:

    \b
    vivix-exporter schema | psql -v ON_ERROR_STOP=1 -1 -f - DATABASE
    """
    click.echo(schema_script("sqlite" if isinstance(state_url, Path) else "postgresql"), nl=False)
