"""How each command is called: its options and its help. What it does is in the module that has its name,
which is imported when the command is run: all of them together take a second."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import click

from exporter.commands import options
from exporter.commands.options import option

WEBHOOK_SECRET = "whsec_of_the_vivix_exporter_demo"  # noqa: S105
"""Signs the simulated vendor's deliveries where no other secret is given. Public, and so no secret at all."""
WAYS = MappingProxyType(
    {
        "http": "your application registers them over HTTP",
        "files": "something writes them into files",
        "webhooks": "the vendor delivers ends to a webhook",
    }
)
"""How ids come in, as `init` asks."""


class _Module(Protocol):
    """A module of a command: `command` takes what its options say."""

    def command(self, **given: Any) -> None: ...


_Option = Callable[[Callable[..., None]], Callable[..., None]]


def _command(name: str, help: str, *declared: _Option) -> click.Command:
    def run(**given: Any) -> None:
        module = import_module(f"exporter.commands.{name.replace('-', '_')}")
        cast(_Module, module).command(**given)

    function: Callable[..., None] = run
    for one in reversed(declared):
        function = one(function)
    return click.command(name, help=help)(function)


def _state_url(flag: str, **settings: Any) -> _Option:
    return option(flag, metavar="URL", **settings)


def _state_url_file(flag: str) -> _Option:
    path = click.Path(path_type=Path)
    return option(flag, type=path, metavar="FILE", help="A file with that URL in it.")


COMMANDS = MappingProxyType(
    {
        command.name: command
        for command in (
            _command(
                "run",
                "Run the exporter in the foreground until SIGTERM or SIGINT. "
                "SIGHUP reloads the configuration.",
                options.config_file,
                options.listen_address,
                option(
                    "--web.webhook-listen-address",
                    multiple=True,
                    metavar="HOST:PORT",
                    help="Address that webhooks come in at, and nothing else; repeatable. "
                    "Elsewhere there are none then.",
                ),
                options.web_config_file,
                option(
                    "--web.external-url",
                    default="",
                    metavar="URL",
                    help="URL under which the exporter is reached, for links on its pages, such as behind a "
                    "reverse proxy.",
                ),
                option(
                    "--web.route-prefix",
                    metavar="PATH",
                    help="Prefix of all paths that are served; that of --web.external-url by default.",
                ),
                option("--web.enable-lifecycle", is_flag=True, help="Enable POST /-/reload."),
                options.log_level,
                options.log_format,
            ),
            _command(
                "init",
                "Write a first configuration from a few answers; asks for those that are not given.",
                options.config_file,
                click.option("--account", metavar="NAME", help="Name of the account."),
                click.option("--api-key-env", metavar="NAME", help="Variable that holds its API key."),
                click.option("--api-key-file", metavar="FILE", help="File that holds its API key."),
                click.option(
                    "--ids",
                    type=click.Choice(list(WAYS)),
                    multiple=True,
                    help="How ids come in; repeatable.",
                ),
            ),
            _command(
                "check",
                "Validate the configuration and report what is wrong with it.",
                options.config_file,
                options.web_config_file,
                click.option(
                    "--online", is_flag=True, help="Also call the Vivix API with each account's key."
                ),
            ),
            _command(
                "explain",
                "Show everything known about one generation. Reads the state only: no key need be readable.",
                options.config_file,
                click.argument("id"),
            ),
            _command(
                "schema",
                """Print the SQL that creates the tables of a state, for users who may not create them.

                Nothing is connected to. An administrator runs it, as often as they like:

                \b
                vivix-exporter schema | psql -v ON_ERROR_STOP=1 -1 -f - DATABASE
                """,
                _state_url(
                    "--state.url",
                    help="Where the state is to be kept: it tells the dialect, PostgreSQL's without it.",
                ),
            ),
            _command(
                "migrate-state",
                """Copy a state from SQLite to PostgreSQL, or back.

                Stop the exporters that use either before. Everything is copied and compared, and the exporter
                refuses the copy until that is done. A migration that was interrupted goes on when the same
                command is run again.

                \b
                vivix-exporter migrate-state --from sqlite:///vivix-exporter.db --to postgresql://user@host/database

                A relative file is one of the present folder. Every user of the machine can see the arguments
                of a command: give a password in ~/.pgpass, in PGPASSWORD, in the variables below, or in a
                file with the URL.
                """,
                _state_url("--from", name="source", help="The state to copy; it is left as it is."),
                _state_url_file("--from.url-file"),
                _state_url("--to", name="target", help="The empty database to copy to."),
                _state_url_file("--to.url-file"),
            ),
            _command(
                "demo",
                "Run a simulated API, an application that submits to it, and the exporter.",
                options.listen_address,
                options.speed,
                options.seed,
                options.history_folder,
                options.history_hours,
                options.history_instance,
                options.log_level_of_demo,
                options.log_format,
            ),
            _command(
                "simulate",
                "Run the simulated Vivix API alone, with faults on request.",
                option(
                    "--listen",
                    default="127.0.0.1:9894",
                    metavar="HOST:PORT",
                    help="Address to serve HTTP on.",
                ),
                option(
                    "--faults",
                    type=click.Choice(["none", "everything"]),
                    default="none",
                    help="Faults to inject.",
                ),
                option(
                    "--webhook.url",
                    multiple=True,
                    metavar="ACCOUNT=URL",
                    help="Webhook of an account; repeatable.",
                ),
                option(
                    "--webhook.secret", default=WEBHOOK_SECRET, help="Secret that signs webhook deliveries."
                ),
                options.speed,
                options.seed_of_simulate,
            ),
        )
    }
)
"""The commands by name, in the order of the help."""
