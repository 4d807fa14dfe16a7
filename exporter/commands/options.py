"""Options that several commands share; each is also read from the environment."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")
DEFAULT_ADDRESS = ":9893"


class _Level(click.Choice[str]):
    """A level of logs; `warning` is another name of `warn`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("warn" if value == "warning" else value, param, ctx)


def variable(flag: str) -> str:
    """Return the variable that an option is also read from: VIVIX_EXPORTER_WEB_LISTEN_ADDRESS for
    --web.listen-address."""
    return f"VIVIX_EXPORTER_{_plain(flag).upper()}"


def option(flag: str, *, name: str | None = None, **settings: Any) -> Callable[[F], F]:
    """Return an option that is also read from the environment. `name` is that of the command's argument,
    where it is another."""
    return click.option(
        flag, name or _plain(flag), envvar=variable(flag), show_envvar=True, show_default=True, **settings
    )


def _plain(flag: str) -> str:
    return flag.lstrip("-").replace(".", "_").replace("-", "_")


config_file = option(
    "--config.file",
    type=click.Path(path_type=Path),
    default=Path("config.yaml"),
    metavar="FILE",
    help="Configuration file (YAML).",
)
listen_address = option(
    "--web.listen-address",
    multiple=True,
    default=[DEFAULT_ADDRESS],
    metavar="HOST:PORT",
    help="Address to serve HTTP on; repeatable.",
)
web_config_file = option(
    "--web.config.file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS, users, headers and rate limit, in the format of Prometheus' exporter-toolkit.",
)
log_level = option("--log.level", type=_Level(LEVELS), default="info", help="Minimum log level.")
log_level_of_demo = option(
    "--log.level",
    type=_Level(LEVELS),
    default="warn",
    help="Minimum log level; info has a line for each end.",
)
log_format = option("--log.format", type=click.Choice(FORMATS), default="logfmt", help="Log format.")
speed = click.option(
    "--speed",
    type=click.FloatRange(min=0.01, max=1000),
    default=1.0,
    show_default=True,
    help="Speed of simulated time, as a multiple of real time.",
)
history_folder = option(
    "--history.folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Live the last hours first, and leave in DIR what Prometheus would have scraped, for promtool. "
    "The applications then submit a quarter of what they do otherwise.",
)
history_hours = option(
    "--history.hours",
    type=click.IntRange(min=1, max=168),
    default=24,
    metavar="N",
    help="How many hours to live first.",
)
history_instance = option(
    "--history.instance",
    metavar="HOST:PORT",
    help="The instance that Prometheus will name what it scrapes; where the exporter listens by default.",
)
seed = click.option("--seed", type=int, default=1, show_default=True, help="Random seed.")
seed_of_simulate = click.option(
    "--seed",
    type=int,
    # Whoever has a state of its own remembers the ids of the last start.
    default=lambda: secrets.randbits(32),
    show_default="another one each time",
    help="Random seed; the same one makes the same ids and ends again.",
)
