"""URLs of states on the command line, where every user of the machine may see them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exporter.commands import options
from exporter.config import Secret, SecretSource
from exporter.config.urls import check_state_url, state_at
from exporter.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


def state_url(flag: str, **settings: Any) -> Callable[[F], F]:
    """Return an option for where a state is kept, as `state.url` of a configuration says it; a file is
    relative to the present folder."""

    def convert(
        _context: click.Context, parameter: click.Parameter, value: str | None
    ) -> Path | Secret | None:
        try:
            return None if value is None else _place(value)
        except ValueError as error:  # which never holds the URL, as a type's message would
            raise click.BadParameter(str(error), param=parameter) from None

    return options.option(flag, callback=convert, metavar="URL", **settings)


def state_url_file(flag: str) -> Callable[[F], F]:
    """Return an option for a file that holds such a URL."""
    return options.option(
        flag, type=click.Path(path_type=Path), metavar="FILE", help="A file with that URL in it."
    )


def read_state_url(file: Path) -> Path | Secret:
    """Return where the state is kept whose URL is in a file. Raises ConfigError."""
    try:
        return _place(SecretSource(file=file).read().reveal())
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _place(url: str) -> Path | Secret:
    return state_at(check_state_url(url), Path())
