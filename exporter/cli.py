"""The command line: arguments in, exit status out. What a command needs is imported when it is run."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from exporter.commands.usage import COMMANDS
from exporter.errors import ConfigError, ExporterError, StateUnusableError
from exporter.printable import printable
from exporter.signals import EarlySignals

NAME = "vivix-exporter"
SERVERS = ("run", "demo", "simulate")
"""Commands that run until a signal ends them, with status 0."""

DONE, FAILED, WRONG = 0, 1, 2
"""Exit statuses: done; failed while running; wrong usage or configuration."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `vivix-exporter`. Shows no traceback for anything that a user can cause."""
    _open_standard_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = next(iter(given), "")
    signals = EarlySignals()
    signals.install(status=DONE if name in SERVERS else None, reloadable=name == "run")
    try:
        commands.main(given, NAME, standalone_mode=False, obj=signals)
        sys.stdout.flush()
    except click.ClickException as error:
        _fail(f"{error.format_message()}\nsee '{_path(error)} --help'", WRONG)
    except (ConfigError, StateUnusableError) as error:
        _fail(str(error), WRONG)
    except ExporterError as error:
        _fail(str(error), FAILED)
    except BrokenPipeError:
        _abandon_stdout()
        sys.exit(FAILED)
    except OSError as error:
        _fail_for(error)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(FAILED)
    except ExceptionGroup as group:
        known, others = group.split((ExporterError, OSError))
        if known is None or others is not None:
            raise
        first = _first(known)
        if isinstance(first, OSError):
            _fail_for(first)
        _fail(str(first), FAILED)


class _Commands(click.Group):
    """Commands in the order of their declaration."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Commands,
    commands=COMMANDS,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name=NAME, message=f"{NAME} %(version)s")
def commands() -> None:
    """Prometheus metrics for image and video generations of the Vivix API."""


def _open_standard_streams() -> None:
    """Make every text printable, and put /dev/null in place of streams that are closed: the next file that
    is opened would become stderr otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open for the process's life
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _abandon_stdout() -> None:
    """Drop what is still buffered for stdout, which the interpreter would try to write again on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _fail_for(error: OSError) -> NoReturn:
    """Report what the system refuses, such as to write to stdout."""
    _abandon_stdout()
    _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror), FAILED)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _path(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context else NAME


def _fail(text: str, status: int) -> NoReturn:
    """Print an error, each line with the program's name, and exit."""
    try:
        for line in text.splitlines():
            click.echo(f"{NAME}: {printable(line)}", err=True)
    except OSError:
        pass  # Nobody reads stderr; the status remains.
    sys.exit(status)
