"""URLs of states on the command line, where every user of the machine may see them."""

from pathlib import Path

import click

from exporter.config import Secret, SecretSource
from exporter.config.urls import check_state_url, state_at
from exporter.errors import ConfigError


def place(flag: str, url: str) -> Path | Secret:
    """Return where a state is kept that the option `flag` names, as `state.url` of a configuration says it; a
    file is relative to the present folder. Raises click.BadParameter."""
    try:
        return _place(url)
    except ValueError as error:  # which never holds the URL, as a type's message would
        raise click.BadParameter(str(error), click.get_current_context(), param_hint=f"'{flag}'") from None


def read_state_url(file: Path) -> Path | Secret:
    """Return where the state is kept whose URL is in a file. Raises ConfigError."""
    try:
        return _place(SecretSource(file=file).read().reveal())
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _place(url: str) -> Path | Secret:
    return state_at(check_state_url(url), Path())
