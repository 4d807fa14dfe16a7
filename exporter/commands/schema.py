"""`schema`: the SQL by which an administrator makes a state's tables where the exporter may not."""

from pathlib import Path

import click

from exporter.commands.stateurls import place
from exporter.store.script import schema_script


def command(state_url: str | None) -> None:
    """Print the script; see `usage`."""
    at = None if state_url is None else place("--state.url", state_url)
    click.echo(schema_script("sqlite" if isinstance(at, Path) else "postgresql"), nl=False)
